"""The forms of the families: names at once, arguments piece by piece, and text that is none."""

from random import Random

import pytest

from benchmarks.reading.parsed import Parsed, parsed, read_parts, split
from weightwarden.logger.sidecar.reading.families import FAMILIES, guess_family
from weightwarden.logger.sidecar.reading.parts import CallArguments, CallBegin, ContentText
from weightwarden.logger.sidecar.reading.reader import reader_of

TOOLS = [
    {
        "type": "function",
        "function": {"name": "f", "parameters": {"properties": {"a": {"type": "string"}, "n": {"type": "integer"}}}},
    }
]
CALLS = {
    "hermes": '<tool_call>\n{"name": "f", "arguments": {"a": "b c", "n": 1}}\n</tool_call>',
    "llama3_json": '<|python_tag|>{"name": "f", "parameters": {"a": "b c", "n": 1}}',
    "qwen3_coder": (
        "<tool_call>\n<function=f>\n<parameter=a>\nb c\n</parameter>\n<parameter=n>\n1\n</parameter>\n</function>\n"
        "</tool_call>"
    ),
    "mistral": '[TOOL_CALLS]f[ARGS]{"a": "b c", "n": 1}',
    "deepseek_v31": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>"
        '{"a": "b c", "n": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
    ),
    "deepseek_v32": (
        '\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name="f">\n<｜DSML｜parameter name="a" string="true">b c'
        '</｜DSML｜parameter>\n<｜DSML｜parameter name="n" string="false">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
        "</｜DSML｜function_calls>"
    ),
    "kimi_k2": (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>"
        '{"a": "b c", "n": 1}<|tool_call_end|><|tool_calls_section_end|>'
    ),
    "glm": (
        "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>b c</arg_value>\n"
        "<arg_key>n</arg_key>\n<arg_value>1</arg_value>\n</tool_call>"
    ),
    "harmony": (
        "<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>"
        '{"a": "b c", "n": 1}<|call|>'
    ),
}
ARGUMENTS = '{"a": "b c", "n": 1}'


def read(family: str, text: str, *, whole_calls: bool = False) -> Parsed:
    """The result, which is the same for every split."""
    results = [
        read_parts(reader_of(family, None, TOOLS, whole_calls=whole_calls), pieces)
        for pieces in ([text], list(text), *(split(text, Random(seed)) for seed in range(3)))
    ]
    assert all(result == results[0] for result in results)
    return parsed(results[0])


@pytest.mark.parametrize("whole_calls", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_content_and_two_calls(family: str, whole_calls: bool) -> None:
    found = read(family, f"Look.{CALLS[family]}{CALLS[family]}", whole_calls=whole_calls)
    assert found.content == "Look."
    assert found.calls == (("f", ARGUMENTS), ("f", ARGUMENTS))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_name_comes_before_the_arguments_and_these_piece_by_piece(family: str) -> None:
    reader = reader_of(family, None, TOOLS)
    parts = [part for char in CALLS[family] for part in reader.add(char)]
    assert isinstance(parts[0], CallBegin)
    assert {type(part) for part in parts[1:]} == {CallArguments}
    assert len(parts) > 5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_call_begins_as_soon_as_its_envelope_is_certain(family: str) -> None:
    reader = reader_of(family, None, TOOLS)
    text = CALLS[family]
    begun = next(at for at in range(len(text)) if reader.add(text[at]))
    ends = {"qwen3_coder": "<function=f>", "glm": "<arg_key>", "deepseek_v32": '<｜DSML｜invoke name="f">'}
    assert text[: begun + 1].endswith(ends.get(family, "{"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_call_that_the_answer_cuts_stays_open(family: str) -> None:
    text = CALLS[family]
    for length in range(len(text)):
        found = read(family, text[:length])
        if found.calls:
            assert found.content == ""
            ((name, arguments),) = found.calls
            assert name == "f"
            if family in ("qwen3_coder", "glm", "deepseek_v32"):  # a value may end with what begins its end marker
                arguments = arguments.split("<")[0].removesuffix("\\n").removesuffix("\n")
            assert ARGUMENTS.startswith(arguments)


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"harmony"}))
def test_a_call_that_the_answer_cuts_is_text_if_it_begins_when_complete(family: str) -> None:
    """A marker alone is no text. (In harmony, the envelope of a message is none either.)"""
    text = CALLS[family].strip()
    for length in range(len(text)):
        found = read(family, text[:length], whole_calls=True)
        if not found.calls:
            assert found.content == text[:length] or (found.content == "" and length <= 30)
        else:
            assert found == Parsed("", "", (("f", ARGUMENTS),))


@pytest.mark.parametrize("family", FAMILIES)
def test_text_is_held_back_only_while_it_may_begin_a_marker(family: str) -> None:
    reader = reader_of(family, None, TOOLS)
    released = ""
    text = "a <b> [c] {d} < e"
    for char in text:
        released += "".join(part.text for part in reader.add(char) if isinstance(part, ContentText))
    assert released == text
    assert reader.end() == []


@pytest.mark.parametrize("family", ["hermes", "mistral", "deepseek_v31", "kimi_k2", "harmony", "llama3_json"])
@pytest.mark.parametrize("fault", ['{"a": True}', '{"a": "b\nc"}', "{'a': 1}", '{"a": 1,}'])
def test_faulty_json_goes_to_the_client_as_the_model_wrote_it(family: str, fault: str) -> None:
    text = CALLS[family].replace(ARGUMENTS, fault)
    ((name, arguments),) = read(family, text).calls
    assert name == "f"
    assert arguments.startswith(fault)
    assert read(family, text, whole_calls=True).calls == ()
    assert fault in read(family, text, whole_calls=True).content


FAULTS = {
    **dict.fromkeys(("hermes", "deepseek_v31", "kimi_k2", "harmony"), (ARGUMENTS, '{"a": flase}')),
    "glm": ("</arg_key>", "</arg_key>and"),
    "qwen3_coder": ("<function=f>", "<function=f>and"),
    "deepseek_v32": ('string="false"', "string"),
}


@pytest.mark.parametrize("family", FAULTS)
def test_a_call_after_a_faulty_one_is_read(family: str) -> None:
    text = CALLS[family].replace(*FAULTS[family]) + CALLS[family]
    first, second = read(family, text).calls
    assert (first[0], second) == ("f", ("f", ARGUMENTS))
    assert FAULTS[family][1].split("<")[0] in text
    whole = read(family, text, whole_calls=True)
    assert whole.calls == (second,)
    assert FAULTS[family][1] in whole.content


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("hermes", "Write <tool_call> before and </tool_call> after it."),
        ("hermes", '<tool_call>\n{"name": "f"}\n</tool_call>'),
        ("hermes", '<tool_call>\n{"name": "f", "arguments": "{}"}\n</tool_call>'),
        ("hermes", '<tool_call>\n{"name": "f", "arguments": null}\n</tool_call>'),
        ("hermes", '<tool_call>\n{"name": "a b", "arguments": {}}\n</tool_call>'),
        ("hermes", '<tool_call>\n{"name": "f", "name": "g", "arguments": {}}\n</tool_call>'),
        ("hermes", '<tool_call>\n{"function": "f", "arguments": {}}\n</tool_call>'),
        ("llama3_json", '{"name": "unknown", "parameters": {}}'),
        ("llama3_json", '{"name": "f", "age": 3}'),
        ("llama3_json", '{"capital": "Paris"}'),
        ("llama3_json", 'As JSON: {"name": "f", "parameters": {}}'),
        ("qwen3_coder", "<function=unknown>\n</function>"),
        ("qwen3_coder", "Use <function=f to call."),
        ("mistral", "[TOOL_CALLS] not json at all"),
        ("mistral", '[TOOL_CALLS]f[ARGS]["a"]'),
        ("deepseek_v31", "<｜tool▁calls▁begin｜>f<｜tool▁sep｜>{}"),
        ("kimi_k2", "<|tool_calls_section_begin|><|tool_call_begin|>::<|tool_call_argument_begin|>{}"),
        ("glm", "Write <tool_call> and </tool_call>."),
        ("glm", "<tool_call>f and more</tool_call>"),
        ("harmony", "final <|message|> hello"),
        ("harmony", '{"a": "an answer without a channel"}'),
        ("hermes", f'<tool_call>\n{{"name": "{"f" * 257}", "arguments": {{}}}}\n</tool_call>'),
    ],
)
def test_what_is_no_call_stays_text(family: str, text: str) -> None:
    for whole_calls in (False, True):
        found = read(family, text, whole_calls=whole_calls)
        assert found == Parsed("", text, ())


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("qwen3_coder", "<function=unknown>"),
        ("hermes", '<tool_call>{"function"'),
        ("hermes", '<tool_call>{"name": "a b"'),
        ("hermes", '<tool_call>{"name": "f"}'),
        ("hermes", f'<tool_call>{{"name": "{"f" * 257}"'),
        ("kimi_k2", f"<|tool_calls_section_begin|><|tool_call_begin|>{'f' * 257}"),
    ],
)
def test_what_is_no_call_is_text_after_a_call_also_if_no_token_completes_it(family: str, text: str) -> None:
    for whole_calls in (False, True):
        readers = [reader_of(family, None, TOOLS, whole_calls=whole_calls) for _ in range(2)]
        parts = [
            read_parts(readers[0], [CALLS[family], text]),
            read_parts(readers[1], [CALLS[family]], text),
        ]
        assert parts[0] == parts[1]
        assert parsed(parts[0]).content == text


def test_the_order_of_a_calls_keys_does_not_matter() -> None:
    text = '<tool_call>{"arguments": {"name": "x"}, "type": "function", "name": "f"}</tool_call>'
    assert read("hermes", text).calls == (("f", '{"name": "x"}'),)


def test_ids_that_the_model_wrote() -> None:
    def ids(family: str, text: str) -> list[str | None]:
        return [p.own_id for p in read_parts(reader_of(family, None, TOOLS), [text]) if isinstance(p, CallBegin)]

    assert ids("kimi_k2", CALLS["kimi_k2"]) == ["functions.f:0"]
    assert ids("mistral", "[TOOL_CALLS]f[CALL_ID]abc123XYZ[ARGS]{}") == ["abc123XYZ"]
    assert ids("mistral", CALLS["mistral"]) == ids("hermes", CALLS["hermes"]) == [None]


def test_white_space_between_content_and_calls_is_no_content_where_the_form_has_it() -> None:
    assert read("hermes", f"Look.\n{CALLS['hermes']}\n{CALLS['hermes']}\n").content == "Look."
    assert read("hermes", f"{CALLS['hermes']}\nDone.").content == "\nDone."
    assert read("kimi_k2", f"Look. {CALLS['kimi_k2']} Done.").content == "Look.  Done."
    assert read("kimi_k2", f" {CALLS['kimi_k2']}").content == ""


def test_messages_of_harmony_for_others_than_the_client_are_left_out() -> None:
    assert read("harmony", "<|channel|>commentary to=python <|constrain|>code<|message|>print(1)<|call|>") == Parsed(
        "", "", ()
    )
    assert read("harmony", "<|channel|>commentary to=functions.<|message|>{}<|call|>") == Parsed("", "{}", ())
    assert read("harmony", "<|channel|>commentary<|message|>Wait.<|end|>").content == "Wait."


def test_special_tokens_that_mark_nothing_are_no_content() -> None:
    reader = reader_of("hermes", "think", TOOLS, "<think>", dropped=("<|im_end|>", "<|fim|>"))
    parts = read_parts(reader, list(f"a<|fim|>b</think>c<|im_end|>d{CALLS['hermes']}<|im_end|>"))
    assert parsed(parts) == Parsed("a<|fim|>b", "cd", (("f", ARGUMENTS),))


TEMPLATES = {
    "hermes": '<tool_call>\\n{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call>',
    "llama3_json": (
        '<|start_header_id|>system<|end_header_id|> {"name": function name, "parameters": dictionary of argument name'
        " and its value}. {{- '\"parameters\": ' }}"
    ),
    "qwen3_coder": "<tool_call>\\n<function=example_function_name>\\n<parameter=example_parameter_1>",
    "mistral": '{{- "[TOOL_CALLS] [" }} [AVAILABLE_TOOLS]',
    "deepseek_v31": "'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>'+ tool['function']['name'] + '<｜tool▁sep｜>'",
    "deepseek_v32": "<｜DSML｜function_calls>",
    "kimi_k2": "<|tool_calls_section_begin|>{%- for tool_call in message['tool_calls'] -%}<|tool_call_begin|>",
    "glm": "<tool_call>{function-name}\\n<arg_key>{arg-key-1}</arg_key>\\n<arg_value>{arg-value-1}</arg_value>",
    "harmony": "<|start|>assistant<|channel|>commentary to=functions.",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_family_of_a_template_is_guessed(family: str) -> None:
    assert guess_family(TEMPLATES[family]) == family


@pytest.mark.parametrize(
    "template",
    [
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] }}{% endfor %}",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + name + '\\n' + '```json'",
        "<|header_start|>system<|header_end|> [func_name1(params_name1=params_value1)]",
    ],
)
def test_a_template_of_another_form_is_of_no_family(template: str) -> None:
    assert guess_family(template) is None
