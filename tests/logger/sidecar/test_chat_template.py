import json
from pathlib import Path
from typing import Any

import pytest

from logger.errors import ModelError
from logger.sidecar.chat_template import ChatTemplate, TemplateRefusal

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


def test_a_folders_template_is_found_in_any_of_its_places(tmp_path: Path) -> None:
    assert ChatTemplate.of_folder(tmp_path) is None
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"bos_token": {"content": "<s>"}, "chat_template": "{{ bos_token }}1"}))
    found = ChatTemplate.of_folder(tmp_path)
    assert found is not None
    assert found.render(MESSAGES) == "<s>1"
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "2"}]
    config.write_text(json.dumps({"chat_template": named}))
    found = ChatTemplate.of_folder(tmp_path)
    assert found is not None
    assert found.render(MESSAGES) == "2"
    (tmp_path / "chat_template.jinja").write_text("3")
    found = ChatTemplate.of_folder(tmp_path)
    assert found is not None
    assert found.render(MESSAGES) == "3"
    (tmp_path / "other").write_text("4")
    found = ChatTemplate.of_folder(tmp_path, tmp_path / "other")
    assert found is not None
    assert found.render(MESSAGES) == "4"


def test_a_malformed_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="malformed"):
        ChatTemplate("{% for %}", {})
    with pytest.raises(ModelError, match="cannot be read"):
        ChatTemplate.of_folder(tmp_path, tmp_path / "missing")
