"""What a model folder's files hold that chats or defaults cannot use is said at start, with file and field."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from weightwarden.logger.errors import ModelError
from weightwarden.logger.sidecar.model.served_model import ServedModel
from weightwarden.logger.sidecar.prompts.template_files import find_template

CONFIG = "tokenizer_config.json"


@pytest.fixture
def folder(tmp_path: Path, model_folder: Path) -> Path:
    """A model folder with a tokenizer, a token that ends answers, and nothing about chats."""
    for name in ("tokenizer.json", "config.json"):
        (tmp_path / name).symlink_to(model_folder / name)
    write(tmp_path / "special_tokens_map.json", {"eos_token": "<|im_end|>"})
    return tmp_path


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def test_the_template_is_taken_from_the_place_where_the_engine_takes_it(folder: Path) -> None:
    """From the last place to the first; each is written beside those before it."""
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "named"}]
    for path, value, found in (
        (CONFIG, {"chat_template": "one"}, "one"),
        (CONFIG, {"chat_template": named}, "named"),
        (CONFIG, {"chat_template": {"default": "by name", "rag": "r"}}, "by name"),
        ("chat_template.json", {"chat_template": "no processor"}, "by name"),
        ("chat_template.jinja", "file", "file"),
        ("additional_chat_templates/tool_use.jinja", "t", "file"),
        ("preprocessor_config.json", {}, "no processor"),
        ("processor_config.json", {"chat_template": "processor"}, "processor"),
        ("processor_config.json", {"chat_template": None}, "no processor"),
    ):
        write(folder / path, value)
        assert find_template(folder).text == found, path
    write(folder / "mine", "4")
    assert find_template(folder, folder / "mine").text == "4"


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, "neither chat_template.jinja nor tokenizer_config.json holds a template"),
        ({CONFIG: {"chat_template": ""}}, "neither chat_template.jinja nor"),
        ({CONFIG: {"chat_template": [{"name": "rag", "template": "r"}]}}, r"named templates \(rag\) and none of them"),
        ({"additional_chat_templates/tool_use.jinja": "t"}, r"named templates \(tool_use\) and none of them"),
    ],
)
def test_a_folder_without_a_template_for_chats_serves_completions_and_says_so(
    folder: Path, files: dict[str, Any], wanted: str
) -> None:
    for name, value in files.items():
        write(folder / name, value)
    model = ServedModel.load(folder, name="m")
    assert model.chat is None
    (notice,) = model.notices
    assert re.search(wanted, notice)
    assert "--chat-template" in notice


@pytest.mark.parametrize(
    "value", [5, ["t"], [{"name": "default"}], [{"template": "t"}], {"default": 5}, {"default": None}]
)
def test_what_is_no_template_is_refused(folder: Path, value: Any) -> None:
    write(folder / CONFIG, {"chat_template": value})
    with pytest.raises(ModelError, match=r"tokenizer_config\.json: chat_template: "):
        ServedModel.load(folder, name="m")


def test_a_malformed_template_is_refused_by_the_file_that_holds_it(folder: Path) -> None:
    write(folder / CONFIG, {"chat_template": "{% for %}"})
    with pytest.raises(ModelError, match=r"tokenizer_config\.json: the chat template is malformed"):
        ServedModel.load(folder, name="m")


@pytest.mark.parametrize(
    ("config", "chats"),
    [
        ({"bos_token": "<|new|>", "chat_template": "{{ bos_token }}"}, "all chats are refused"),
        ({"extra_special_tokens": ["<|new|>", "<|b|>"], "chat_template": "a"}, "prompts that hold them are refused"),
        ({"added_tokens_decoder": {"49152": {"content": "<|new|>"}}}, "prompts that hold them are refused"),
    ],
)
def test_special_tokens_beyond_the_vocabulary_are_said_at_start(
    folder: Path, config: dict[str, Any], chats: str
) -> None:
    write(folder / CONFIG, {"eos_token": "<|im_end|>", "chat_template": "a", **config})
    (notice,) = ServedModel.load(folder, name="m").notices
    assert "the token <|new|> has id 49152" in notice
    assert "vocab_size" in notice
    assert chats in notice


def test_a_token_that_the_template_reads_and_no_file_names_is_said_at_start(folder: Path) -> None:
    write(folder / CONFIG, {"bos_token": None, "chat_template": "{{ bos_token }}{{ pad_token }}a"})
    (notice,) = ServedModel.load(folder, name="m").notices
    assert "tokenizer_config.json: pad_token: missing" in notice


def test_a_model_whose_chats_the_engine_renders_itself_is_said_at_start(folder: Path, model_folder: Path) -> None:
    config = json.loads((model_folder / "config.json").read_text())
    (folder / "config.json").unlink()
    write(folder / "config.json", {**config, "model_type": "gpt_oss"})
    write(folder / CONFIG, {"chat_template": "a"})
    (notice,) = ServedModel.load(folder, name="m").notices
    assert "Harmony" in notice


@pytest.mark.parametrize(
    "value",
    [
        *[{"bos_token": token} for token in (5, ["<s>"], {"text": "<s>"}, True)],
        {"added_tokens_decoder": {"a": {"content": "b"}}},
        {"added_tokens_decoder": ["a"]},
        {"added_tokens_decoder": {"5": {"text": "b"}}},
        {"extra_special_tokens": {"boi": 5}},
        {"extra_special_tokens": [5]},
    ],
)
def test_what_is_no_token_is_refused(folder: Path, value: dict[str, Any]) -> None:
    write(folder / CONFIG, {"chat_template": "a", **value})
    with pytest.raises(ModelError, match=rf"tokenizer_config\.json: {next(iter(value))}|boi"):
        ServedModel.load(folder, name="m")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("top_k", value) for value in (20.5, "20", -2, 2**40, 1e20, True, [20])],
        *[("temperature", value) for value in (-1, 3.0, "0.7", [0.7], True)],
        *[("top_p", value) for value in (0, 1.5, "1")],
        *[("min_p", value) for value in (-0.1, 2, "0")],
        *[("repetition_penalty", value) for value in (0, -1, "1.1")],
        *[("presence_penalty", value) for value in (5, "1")],
        ("frequency_penalty", -3),
        *[("max_new_tokens", value) for value in (0, -1, 8.5, "8")],
    ],
)
def test_defaults_that_no_request_could_have_are_refused_at_start(folder: Path, field: str, value: Any) -> None:
    write(folder / "generation_config.json", {field: value})
    with pytest.raises(ModelError, match=rf"generation_config\.json: {field}: .*--sampling-defaults neutral"):
        ServedModel.load(folder, name="m")
    assert ServedModel.load(folder, name="m", neutral_defaults=True).defaults.sampling == {}


@pytest.mark.parametrize(
    ("said", "sampling"),
    [
        ({"temperature": 0, "do_sample": False}, {"temperature": 0}),
        ({"do_sample": False, "temperature": 0.7}, {"temperature": 0.7}),
        ({"temperature": None, "top_k": None, "top_p": 1}, {"top_p": 1}),
        ({"top_k": -1, "min_p": 0}, {"top_k": -1, "min_p": 0}),
        ({"top_k": 20.0}, {"top_k": 20}),
        ({"presence_penalty": 1.5, "frequency_penalty": 0.3}, {"presence_penalty": 1.5, "frequency_penalty": 0.3}),
        ({"num_beams": 4, "typical_p": 0.5, "suppress_tokens": [1]}, {}),
    ],
)
def test_defaults_are_taken_as_the_engine_takes_them(
    folder: Path, said: dict[str, Any], sampling: dict[str, Any]
) -> None:
    write(folder / "generation_config.json", {**said, "max_new_tokens": 7})
    defaults = ServedModel.load(folder, name="m").defaults
    assert defaults.sampling == sampling
    assert defaults.answer_length == 7


def test_chats_with_tools_take_the_tokenizers_template_and_of_named_ones_tool_use(folder: Path) -> None:
    named = [{"name": "tool_use", "template": "with"}, {"name": "default", "template": "plain"}]
    write(folder / CONFIG, {"chat_template": named})
    assert find_template(folder, tools=True).text == "with"
    model = ServedModel.load(folder, name="m")
    assert model.chat is not None
    assert model.chat_with_tools is not None
    user = [{"role": "user", "content": "a"}]
    assert (model.chat.render(user), model.chat_with_tools.render(user, tools=[])) == ("plain", "with")
    write(folder / "processor_config.json", {"chat_template": "processor"})
    assert find_template(folder).text == "processor"
    assert find_template(folder, tools=True).text == "with"


def test_the_form_of_answers_is_guessed_from_the_template_unless_it_is_named(folder: Path) -> None:
    write(folder / CONFIG, {"chat_template": "<tool_call> {{ tools }} <think></think>"})
    model = ServedModel.load(folder, name="m")
    assert (model.shape.family, model.shape.reasoning and model.shape.reasoning.name) == ("hermes", "think")
    assert [re.findall(r"--\w+-parser", guess) for guess in model.guesses] == [
        ["--tool-parser"],
        ["--reasoning-parser"],
    ]
    named = ServedModel.load(folder, name="m", tool_parser="glm", reasoning_parser="none")
    assert (named.shape.family, named.shape.reasoning, named.guesses) == ("glm", None, ())
    assert "<|im_start|>" in model.shape.special_ids
