"""The `anthropic` package: messages."""

from typing import Any

import anthropic
from _features import KEY, MODEL, QUESTION, URL, WEATHER, feature, main, weather

client = anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)
TOOLS: Any = [{"name": "get_weather", "description": "The weather.", "input_schema": WEATHER}]


def asked(text: str = "Hi", **more: Any) -> Any:
    return {"model": MODEL, "max_tokens": 200, "messages": [{"role": "user", "content": text}], **more}


@feature("messages")
def messages() -> Any:
    return client.messages.create(**asked(system="Be kind.")).content[0].text


@feature("messages stream")
def stream() -> Any:
    with client.messages.stream(**asked()) as events:
        text = "".join(events.text_stream)
        assert events.get_final_message().usage.output_tokens > 0
    return text


@feature("tools in a loop of three turns")
def loop() -> Any:
    history: list[Any] = []
    calls = []
    for _ in range(3):
        history.append({"role": "user", "content": QUESTION})
        while True:
            answer = client.messages.create(model=MODEL, max_tokens=200, messages=history, tools=TOOLS)
            history.append({"role": "assistant", "content": answer.content})
            if answer.stop_reason != "tool_use":
                break
            results = [
                {"type": "tool_result", "tool_use_id": block.id, "content": weather(**block.input)}
                for block in answer.content
                if block.type == "tool_use"
            ]
            calls += [result["tool_use_id"] for result in results]
            history.append({"role": "user", "content": results})
    assert len(set(calls)) == 3
    return answer.content[0].text


@feature("tools streamed")
def tools_streamed() -> Any:
    with client.messages.stream(**asked(QUESTION, tools=TOOLS)) as events:
        final = events.get_final_message()
    [block] = [one for one in final.content if one.type == "tool_use"]
    return [block.name, block.input]


@feature("tool any, and by name")
def forced() -> Any:
    found = []
    for choice in ({"type": "any"}, {"type": "tool", "name": "get_weather"}):
        answer = client.messages.create(**asked(QUESTION, tools=TOOLS, tool_choice=choice))
        found.append(next(block.name for block in answer.content if block.type == "tool_use"))
    return found


@feature("structured output")
def structured() -> Any:
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
    answer = client.messages.create(**asked(output_config={"format": {"type": "json_schema", "schema": schema}}))
    return answer.content[0].text


@feature("count of tokens")
def count() -> Any:
    counted = client.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "Hi"}]).input_tokens
    assert counted == client.messages.create(**asked()).usage.input_tokens
    return "equal"


@feature("errors")
def errors() -> Any:
    try:
        client.messages.create(**asked(model="other"))
    except anthropic.NotFoundError as error:
        return error.body["error"]["type"]
    raise AssertionError("no error")


main()
