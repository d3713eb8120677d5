"""The `openai` package: chat, completions and responses."""

import json
from typing import Any

import openai
from _features import KEY, MODEL, QUESTION, URL, WEATHER, feature, main, weather
from pydantic import BaseModel

client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
TOOLS: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]
RESPONSE_TOOLS: Any = [{"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": False}]


class Person(BaseModel):
    name: str
    age: int


@feature("chat")
def chat() -> Any:
    return (
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hi"}])
        .choices[0]
        .message.content
    )


@feature("chat stream with usage")
def stream() -> Any:
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens > 0
    return text


@feature("completion")
def completion() -> Any:
    return client.completions.create(model=MODEL, prompt="Hi", max_tokens=50).choices[0].text


@feature("tools in a loop of three turns")
def loop() -> Any:
    messages: list[Any] = []
    calls = []
    for _ in range(3):
        messages.append({"role": "user", "content": QUESTION})
        while True:
            choice = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS).choices[0]
            messages.append(choice.message)
            if choice.finish_reason != "tool_calls":
                break
            for call in choice.message.tool_calls or []:
                arguments = json.loads(call.function.arguments)
                calls.append(call.id)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": weather(**arguments)})
    assert len(set(calls)) == 3
    return messages[-1].content


@feature("tools streamed")
def tools_streamed() -> Any:
    with client.chat.completions.stream(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}], tools=TOOLS
    ) as events:
        for _ in events:
            pass
        [call] = events.get_final_completion().choices[0].message.tool_calls or []
    return [call.function.name, json.loads(call.function.arguments)]


@feature("tool required, and by name")
def forced() -> Any:
    named = {"type": "function", "function": {"name": "get_weather"}}
    found = []
    for choice in ("required", named):
        answer = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": QUESTION}],
            tools=TOOLS,
            tool_choice=choice,
        )
        found.append((answer.choices[0].message.tool_calls or [])[0].function.name)
    return found


@feature("parse")
def parse() -> Any:
    answer = client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": "Who?"}], response_format=Person
    )
    parsed = answer.choices[0].message.parsed
    assert parsed is not None
    return parsed.model_dump()


@feature("responses")
def responses() -> Any:
    return client.responses.create(model=MODEL, input="Hi").output_text


@feature("responses stream")
def responses_stream() -> Any:
    with client.responses.stream(model=MODEL, input="Hi", instructions="Be kind.") as events:
        for _ in events:
            pass
        return events.get_final_response().output_text


@feature("responses parse")
def responses_parse() -> Any:
    parsed = client.responses.parse(model=MODEL, input="Who?", text_format=Person).output_parsed
    assert parsed is not None
    return parsed.model_dump()


@feature("responses with tools")
def responses_tools() -> Any:
    items: list[Any] = [{"role": "user", "content": QUESTION}]
    answer = client.responses.create(model=MODEL, input=items, tools=RESPONSE_TOOLS)
    items += answer.output
    for item in answer.output:
        if item.type == "function_call":
            result = weather(**json.loads(item.arguments))
            items.append({"type": "function_call_output", "call_id": item.call_id, "output": result})
    return client.responses.create(model=MODEL, input=items, tools=RESPONSE_TOOLS).output_text


@feature("errors")
def errors() -> Any:
    try:
        client.chat.completions.create(model="other", messages=[{"role": "user", "content": "Hi"}])
    except openai.NotFoundError as error:
        return error.code
    raise AssertionError("no error")


@feature("models")
def models() -> Any:
    return [client.models.retrieve(MODEL).id, *(one.id for one in client.models.list())]


main()
