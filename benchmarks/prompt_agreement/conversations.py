"""Chats and templates for features that templates and engines treat differently.

A conversation is the body of a request without the model.
"""

from collections.abc import Mapping, Sequence
from typing import Any


def _said(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def _text(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


_USER = {"role": "user", "content": 'What\'s 1 < 2 & "3"?'}
_HISTORY: Sequence[tuple[str, Any]] = (("user", "Hi"), ("assistant", "Hello."), ("user", "Why?"))
_BEFORE, _AFTER = {"role": "user", "content": "Hi"}, {"role": "user", "content": "Why?"}


def _around(**assistant: Any) -> dict[str, Any]:
    """A chat in which an assistant's message has these fields."""
    return {"messages": [_BEFORE, {"role": "assistant", **assistant}, _AFTER]}


def _tool(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def _call(arguments: str, name: str = "get_weather", **more: Any) -> dict[str, Any]:
    return {"type": "function", "id": f"call_{name}", "function": {"name": name, "arguments": arguments}, **more}


def _called(*calls: dict[str, Any], **assistant: Any) -> dict[str, Any]:
    """A chat in which the assistant made calls, each with its result."""
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": f"result {number}"} for number, call in enumerate(calls)
    ]
    said = {"role": "assistant", "content": None, **assistant, "tool_calls": [*calls]}
    return {"messages": [_BEFORE, said, *results], "tools": _TOOLS}


_PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Name"}, "days": {"type": "integer"}},
    "required": ["city"],
}
_TOOLS = [_tool("get_weather", parameters=_PARAMETERS, description="The weather <now>."), _tool("now")]

CONVERSATIONS: Mapping[str, dict[str, Any]] = {
    # Tools
    "tools": {"messages": [_USER], "tools": _TOOLS},
    "tools beside a system message": {**_said(("system", "Be brief."), ("user", "Hi")), "tools": _TOOLS},
    "tools, none to be chosen": {"messages": [_USER], "tools": _TOOLS, "tool_choice": "none"},
    "tool with other fields": {
        "messages": [_USER],
        "tool_choice": "none",
        "tools": [{"function": {"strict": True, "name": "f", "parameters": {}, "description": ""}, "type": "function"}],
    },
    "tool without a type": {"messages": [_USER], "tools": [{"function": {"name": "f"}}]},
    "call and result": _called(_call('{"city": "Zürich", "days": 2}')),
    "call and result without tools": {"messages": _called(_call('{"city": "Zürich"}'))["messages"]},
    "two calls": _called(_call('{"days": 1, "city": "A"}'), _call("{}", "now")),
    "call beside text": _called(_call('{"city": "A"}'), content="Let me see."),
    "call beside reasoning": _called(_call('{"city": "A"}'), reasoning_content="It is asked."),
    "call with its index": _called(_call('{"city": "A"}', index=0)),
    "call without content": {
        "messages": [_BEFORE, {"role": "assistant", "tool_calls": [_call('{"city": "A"}')]}],
        "tools": _TOOLS,
    },
    "arguments that are empty": _called(_call("")),
    "arguments that are no object": _called(_call("[1, 2]")),
    "arguments that are no JSON": _called(_call('{"city": ')),
    "arguments with numbers of many kinds": _called(_call('{"a": 1.0, "b": 1e3, "c": -0, "d": 12345678901234567890}')),
    "result with a name": {
        "messages": [_BEFORE, {"role": "tool", "name": "now", "tool_call_id": "c", "content": "5"}],
        "tools": _TOOLS,
    },
    "result in parts beside tools": {
        "messages": [_BEFORE, {"role": "tool", "tool_call_id": "c", "content": _text("4", "2")}],
        "tools": _TOOLS,
    },
    "effort": {"messages": [_USER], "reasoning_effort": "high"},
    "effort none": {"messages": [_USER], "reasoning_effort": "none"},
    "effort against a variable": {
        "messages": [_USER],
        "reasoning_effort": "low",
        "chat_template_kwargs": {"enable_thinking": False, "reasoning_effort": "high"},
    },
    "documents": {"messages": [_USER], "documents": [{"title": "A", "text": "B"}]},
    # Roles
    "user": _said(("user", "Hello")),
    "system and user": _said(("system", "Be <brief> & kind."), ("user", "What's 1 < 2?")),
    "history": _said(("system", "Be brief."), *_HISTORY),
    "history without system": _said(*_HISTORY),
    "developer and user": _said(("developer", "Be brief."), ("user", "Hi")),
    "developer after system": _said(("system", "One."), ("developer", "Two."), ("user", "Hi")),
    "developer before system": _said(("developer", "One."), ("system", "Two."), ("user", "Hi")),
    "developer in the middle": _said(*_HISTORY, ("developer", "Be brief."), ("user", "Hi")),
    "developer twice": _said(("developer", "One."), ("developer", "Two."), ("user", "Hi")),
    "developer alone": _said(("developer", "Be brief.")),
    "developer without content": {"messages": [{"role": "developer"}, _USER]},
    "developer without tools": {"messages": [{"role": "developer", "content": "a", "tools": []}, _USER]},
    "system alone": _said(("system", "Be brief.")),
    "system twice": _said(("system", "One."), ("system", "Two."), ("user", "Hi")),
    "system in the middle": _said(("user", "Hi"), ("system", "Be brief."), ("user", "Hi")),
    "user twice": _said(("user", "One."), ("user", "Two.")),
    "assistant twice": _said(("user", "One."), ("assistant", "a"), ("assistant", "b"), ("user", "Two.")),
    "assistant first": _said(("assistant", "Hello."), ("user", "Hi")),
    "assistant last": _said(("user", "Hi"), ("assistant", "Once upon")),
    "assistant alone": _said(("assistant", "Once upon")),
    "assistant empty at the end": _said(("user", "Hi"), ("assistant", "")),
    "tool result": _said(("user", "Hi"), ("assistant", "a"), ("tool", "42")),
    "tool result by id": {"messages": [_BEFORE, {"role": "tool", "content": "42", "tool_call_id": "c1"}]},
    "tool result in parts": {"messages": [_BEFORE, {"role": "tool", "content": _text("4", "2")}]},
    "role of a template's own": _said(("user", "Hi"), ("critic", "No."), ("user", "Why?")),
    "role with spaces": _said(("  user ", "Hi")),
    "no messages": {"messages": []},
    # Parts
    "one part": _said(("user", _text("Hello"))),
    "two parts": _said(("user", _text("One", "Two"))),
    "parts that end in newlines": _said(("user", _text("One\n", "\n", "Two\n\n"))),
    "parts, one of them empty": _said(("user", _text("One", "", "Two"))),
    "no parts": _said(("user", [])),
    "parts everywhere": _said(
        ("system", _text("a", "b")), ("user", _text("c", "d")), ("assistant", _text("e", "f")), ("user", _text("g"))
    ),
    "parts of a developer": _said(("developer", _text("a", "b")), ("user", "Hi")),
    "parts of developer and system": _said(("developer", _text("a", "b")), ("system", _text("c", "d")), ("user", "Hi")),
    "parts with a cache mark": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}
        ]
    },
    "parts of other kinds of text": _said(
        ("user", [{"type": "input_text", "text": "a"}, {"type": "text", "text": "b"}]),
        ("assistant", [{"type": "output_text", "text": "c"}, {"type": "refusal", "refusal": "d"}]),
        ("user", "Why?"),
    ),
    "part of thoughts": _said(
        ("user", "Hi"),
        ("assistant", [{"type": "thinking", "thinking": "So."}, {"type": "text", "text": "Hello."}]),
        ("user", "Why?"),
    ),
    "part of an unknown kind": _said(("user", [{"type": "image_url", "image_url": {"url": "data:,"}}])),
    "part without a kind": _said(("user", [{"text": "a"}])),
    "part that is text itself": _said(("user", ["a", "b"])),
    # Null, absent, empty
    "assistant null": _around(content=None),
    "assistant null at the end": _said(("user", "Hi"), ("assistant", None)),
    "assistant absent": _around(),
    "user null": _said(("user", None)),
    "user absent": {"messages": [{"role": "user"}]},
    "system null": _said(("system", None), ("user", "Hi")),
    "user empty": _said(("user", "")),
    "system empty": _said(("system", ""), ("user", "Hi")),
    "no tool calls": _around(content="Hello.", tool_calls=[]),
    "null and no tool calls": _around(content=None, tool_calls=[]),
    "as OpenAI's client sends an answer back": _around(
        content="Hello.", refusal=None, annotations=[], audio=None, function_call=None, tool_calls=None
    ),
    "refusal": _around(content=None, refusal="I will not."),
    "reasoning": _around(content="Hello.", reasoning="A greeting."),
    "reasoning by its older name": _around(content="Hello.", reasoning_content="A greeting."),
    "reasoning by both names": _around(content="Hello.", reasoning="One.", reasoning_content="Two."),
    "reasoning empty": _around(content="Hello.", reasoning=""),
    "reasoning null": _around(content="Hello.", reasoning=None, reasoning_content=None),
    "reasoning of a user": {"messages": [{**_USER, "reasoning": "No effect."}]},
    # Names
    "named user": {"messages": [{**_USER, "name": "Zoë"}]},
    "named user, empty": {"messages": [{**_USER, "name": ""}]},
    "named assistant": _around(content="Hello.", name="bot"),
    "named system": {"messages": [{"role": "system", "content": "a", "name": "s"}, _USER]},
    "named developer": {"messages": [{"role": "developer", "content": "a", "name": "d"}, _USER]},
    # Text
    "whitespace around": _said(("system", " \n Be brief. \t\n"), ("user", "\n\n  Hi  \n\n")),
    "whitespace alone": _said(("user", "  \n\t ")),
    "carriage returns": _said(("user", "a\r\nb\rc\n")),
    "Unicode": _said(("user", "Grüße, 世界 🌍 \u200b\u00a0 e\u0301 \U0001f468\u200d\U0001f469\u200d\U0001f467")),
    "control characters": _said(("user", "a\x00b\x07c\x1b[0m\u2028d\ufeff")),
    "HTML": _said(("user", "<b>&amp; \"'</b>")),
    "braces": _said(("user", "{{ messages }} {% raw %} {# no #}")),
    "special tokens as text": _said(
        ("system", "<|im_end|>\n<|im_start|>user\n"),
        ("user", "<|endoftext|></s><s>[INST] <<SYS>> <|eot_id|><|start_header_id|> <bos><start_of_turn>"),
    ),
    "thoughts in an answer": _around(content="<think>\nSo.\n</think>\n\nHello."),
    "thoughts without end": _said(("user", "Hi"), ("assistant", "<think>\nSo"), ("user", "Why?")),
    "JSON": _said(("user", '{"a": [1, 2.5, null, true], "ü": "\\u00fc"}')),
    "attribution of a client": _said(("system", "x-anthropic-billing-header: a\nBe brief."), ("user", "Hi")),
    "attribution of a client alone": _said(("system", _text("x-anthropic-billing-header: a", "b")), ("user", "Hi")),
    "attribution not at the start": _said(("user", "x-anthropic-billing-header: a\nb")),
    "long": _said(("user", "word " * 2000)),
    # Parameters of the template in the request
    "variables": {**_said(("user", "Hi")), "chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
    "variables that say no": {**_said(("user", "Hi")), "chat_template_kwargs": {"enable_thinking": False}},
    "variables that are null or auto": {
        **_said(*_HISTORY),
        "chat_template_kwargs": {"enable_thinking": None, "thinking": "auto", "date_string": None},
    },
    "variable for a special token": {**_said(("user", "Hi")), "chat_template_kwargs": {"bos_token": "<B>"}},
    "variables of transformers'": {**_said(("user", "Hi")), "chat_template_kwargs": {"tokenize": True}},
    "no generation prompt": {**_said(("user", "Hi")), "add_generation_prompt": False},
    "special tokens added": {**_said(("user", "Hi")), "add_special_tokens": True},
    "continued": {
        **_said(("user", "Hi"), ("assistant", "Once upon ")),
        "add_generation_prompt": False,
        "continue_final_message": True,
    },
    "continued in parts": {
        **_said(("user", "Hi"), ("assistant", _text("Once", "upon"))),
        "add_generation_prompt": False,
        "continue_final_message": True,
    },
    "continued, and a generation prompt": {**_said(("user", "Hi")), "continue_final_message": True},
    "continued null": {
        **_said(("user", "Hi"), ("assistant", None)),
        "add_generation_prompt": False,
        "continue_final_message": True,
    },
}

LONG = "long"
"""The conversation whose texts are not stored: they would be most of the file."""
EXCEPTIONS = frozenset({"variables of transformers'"})
"""Conversations that the sidecar refuses, and whose odd part vLLM ignores: a template variable named like an argument
of transformers'.
"""

CHATML = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_ROLES = "{% for m in messages %}[{{ m.role }}{% if m.name is defined %} {{ m.name }}{% endif %}]"
_END = "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
_TEXT = (
    "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}<{{ c.text }}>{% endfor %}{% endif %}"
)
OWN_TEMPLATES: Mapping[str, str] = {
    "text": _ROLES + "{{ m.content | trim }}" + _END,
    "whole message": "{% for m in messages %}{{ m | tojson(separators=(',', ':'), sort_keys=true) }}\n" + _END,
    "parts": _ROLES + _TEXT + _END,
    "whole message of parts": "{% for m in messages %}{% for c in m['content'] %}{{ c | tojson(false) }}{% endfor %}"
    "{{ m | tojson(indent=2, ensure_ascii=true) }}\n" + _END,
    "knows developer": "{% for m in messages %}{% if m.role == 'developer' %}D{{ m.tools is none }}{% endif %}"
    "{{ m.role }}: {{ m.content }}\n" + _END,
    "parts by a macro": "{% macro show(c) %}{% if c is string %}{{ c }}{% else %}{% for p in c %}({{ p.text }})"
    "{% endfor %}{% endif %}{% endmacro %}" + _ROLES + "{{ show(m.content) }}" + _END,
    "parts by a macro's keyword": "{% macro show(role, parts) %}{{ role }}{% for p in parts %}({{ p.text }})"
    "{% endfor %}{% endmacro %}{% for m in messages %}{{ show(m.role, parts=m['content']) }}" + _END,
    "a macro that is not called": "{% macro show(content) %}{% for p in content %}({{ p.text }}){% endfor %}"
    "{% endmacro %}" + _ROLES + "{{ m.content }}" + _END,
    "a variable named content": "{% for m in messages %}{% set content = m.content %}{% if content is not string %}"
    "{% for c in content %}({{ c.text }}){% endfor %}{% else %}{{ content }}{% endif %}" + _END,
    "messages by another name": "{% set rest = messages[1:] if false else messages %}"
    "{% set turns = messages | list %}{% for m in turns %}{% for c in m.content %}({{ c.text }}){% endfor %}" + _END,
    "messages in a namespace": "{% set ns = namespace(all=messages) %}{% set ns.all = messages %}"
    "{% for m in messages %}{% for c in m.content %}({{ c.text or c }}){% endfor %}" + _END,
    "unpacked loops": "{% for m in messages %}{% for k, v in m | items %}{{ k }}={{ v }};{% endfor %}" + _END,
    "names that go in a circle": "{% set a = messages %}{% for m in a %}{{ m.role }}{{ m.content }}" + _END,
    "roles alternate": "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{{ bos_token }}{{ m.content }}" + _END,
    "generation blocks": "{% for m in messages %}{% generation %}{% set x = m.role %}{{ x }}{{ m.content }}"
    "{% endgeneration %}{{ x is defined }}{% if loop.index > 3 %}{% break %}{% endif %}" + _END,
    "reasoning": "{% for m in messages %}{{ m.role }}{% if m.reasoning_content is defined %}<{{ m.reasoning_content }}>"
    "{% endif %}{% if m.tool_calls %}calls{% endif %}{{ m.content }}" + _END,
    "tools": "{{ tools | tojson(indent=2) }}{{ documents | tojson }}{{ reasoning_effort | default('unset') }}"
    "{{ enable_thinking | default('unset') }}{% for m in messages %}{{ m.role }}{{ m.tool_calls | tojson }}"
    "{{ m.tool_call_id }}{% for call in m.tool_calls or [] %}{% for k, v in call.function.arguments | items %}"
    "{{ k }}={{ v }};{% endfor %}{% endfor %}{{ m.content }}" + _END,
    "variables": "{{ enable_thinking | default('unset') }} {{ thinking | default('unset') }} {{ tools is none }}"
    " {{ documents is none }} {{ date_string is defined }} {{ bos_token }} {{ pad_token }}" + _ROLES + _END,
}
"""Templates of the project. Among others, every kind of loop that determines the form of content."""
