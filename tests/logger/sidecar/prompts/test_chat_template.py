import json
from pathlib import Path
from typing import Any

import pytest

from weightwarden.logger.errors import ModelError
from weightwarden.logger.sidecar.prompts.chat_template import ChatTemplate, TemplateRefusal
from weightwarden.logger.sidecar.prompts.template_files import find_template

MESSAGES = [
    {"role": "system", "content": "Be <brief> & kind."},
    {"role": "user", "content": "What's 1 < 2?"},
    {"role": "assistant", "content": "true"},
    {"role": "user", "content": "Thanks."},
]
TEMPLATES = {
    "chatml": "{% for m in messages %}<|{{ m['role'] }}|>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "trimmed blocks": "{{ bos_token }}\n{%- for m in messages %}\n    {% if m.role == 'user' %}\n"
    "U: {{ m.content | trim }}\n    {% endif %}\n{% endfor %}",
    "json and controls": "{% for m in messages %}{% if m.role == 'assistant' %}{% continue %}{% endif %}"
    "{{ m | tojson }}{% if loop.index > 3 %}{% break %}{% endif %}{% endfor %}",
    "generation blocks": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "variables": "{% if enable_thinking %}think{% else %}{{ messages | length }}{% endif %}",
    "tools": "{% if tools is none and not documents %}{{ eos_token }}{% endif %}",
}


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
@pytest.mark.parametrize("variables", [{}, {"enable_thinking": True}], ids=["plain", "thinking"])
def test_templates_render_as_transformers_render_them(
    model_folder: Path, template: str, variables: dict[str, Any]
) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(model_folder).apply_chat_template(
        MESSAGES, chat_template=template, tokenize=False, add_generation_prompt=True, **variables
    )
    special = json.loads((model_folder / "tokenizer_config.json").read_text())
    ours = ChatTemplate(template, {key: value for key, value in special.items() if key.endswith("_token")})
    assert ours.render(MESSAGES, variables=variables) == theirs


def test_a_template_that_refuses_is_the_clients_affair() -> None:
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}", {})
    with pytest.raises(TemplateRefusal, match="roles must alternate"):
        template.render(MESSAGES)
    with pytest.raises(TemplateRefusal):
        ChatTemplate("{{ messages[0].content + 1 }}", {}).render(MESSAGES)
    with pytest.raises(TemplateRefusal):
        ChatTemplate("{{ messages[9].content }}", {}).render(MESSAGES)


@pytest.mark.parametrize(
    "attack",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__.__base__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ messages.append(1) }}",
        "{{ range(10**9) | list }}",
    ],
)
def test_a_template_reaches_nothing_beyond_its_messages(attack: str) -> None:
    with pytest.raises(TemplateRefusal):
        ChatTemplate(attack, {}).render(MESSAGES)


def test_what_a_generation_block_sets_ends_with_it() -> None:
    template = "{% generation %}{% set x = 1 %}{{ x }}{% endgeneration %}{{ x is defined }}"
    assert ChatTemplate(template, {}).render(MESSAGES) == "1False"


def test_json_takes_every_argument_of_transformers_filter() -> None:
    content = [{"role": "user", "content": "é"}]
    for call, wanted in {
        "tojson": '{"role": "user", "content": "é"}',
        "tojson(true)": '{"role": "user", "content": "\\u00e9"}',
        "tojson(false)": '{"role": "user", "content": "é"}',
        "tojson(separators=(',', ':'))": '{"role":"user","content":"é"}',
        "tojson(ensure_ascii=false, indent=1, sort_keys=true)": '{\n "content": "é",\n "role": "user"\n}',
        "tojson(false, none, (';', '='))": '{"role"="user";"content"="é"}',
    }.items():
        assert ChatTemplate("{{ messages[0] | " + call + " }}", {}).render(content) == wanted, call


def test_an_answer_goes_on_from_the_last_message() -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Once upon "}]
    plain = "{% for m in messages %}[{{ m.role }}]{{ m.content }}</s>{% endfor %}"
    assert ChatTemplate(plain, {}).render(messages, continue_final_message=True) == "[user]Hi</s>[assistant]Once upon "
    trims = plain.replace("m.content", "m.content | trim")
    assert ChatTemplate(trims, {}).render(messages, continue_final_message=True) == "[user]Hi</s>[assistant]Once upon"
    with pytest.raises(TemplateRefusal, match="to be continued"):
        ChatTemplate("{% for m in messages[:1] %}{{ m.content }}{% endfor %}", {}).render(
            messages, continue_final_message=True
        )
    assert messages[1]["content"] == "Once upon "


def test_whatever_a_template_raises_refuses_the_messages() -> None:
    for template in ("{{ '{}'.format() }}", "{{ 1 / 0 }}", "{{ messages | tojson(separators=5) }}", "{{ [][0].x.y }}"):
        with pytest.raises(TemplateRefusal):
            ChatTemplate(template, {}).render(MESSAGES)


def test_a_malformed_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"a\.jinja: the chat template is malformed"):
        ChatTemplate("{% for %}", {}, path=Path("a.jinja"))
    with pytest.raises(ModelError, match="cannot be read"):
        find_template(tmp_path, tmp_path / "missing")
