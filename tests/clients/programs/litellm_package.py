"""The `litellm` package, over chat and messages."""

import json
from typing import Any

import litellm
from _features import KEY, MODEL, QUESTION, URL, WEATHER, feature, main
from pydantic import BaseModel

TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]
ROUTES: dict[str, dict[str, Any]] = {
    "chat": {"model": f"openai/{MODEL}", "api_base": f"{URL}/v1", "api_key": KEY},
    "messages": {"model": f"anthropic/{MODEL}", "api_base": URL, "api_key": KEY, "max_tokens": 200},
}


class Person(BaseModel):
    name: str
    age: int


for name, route in ROUTES.items():

    @feature(f"{name}: completion")
    def completion(route: Any = route) -> Any:
        return litellm.completion(messages=[{"role": "user", "content": "Hi"}], **route).choices[0].message.content

    @feature(f"{name}: stream")
    def stream(route: Any = route) -> Any:
        chunks = litellm.completion(messages=[{"role": "user", "content": "Hi"}], stream=True, **route)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    @feature(f"{name}: tools")
    def tools(route: Any = route) -> Any:
        answer = litellm.completion(messages=[{"role": "user", "content": QUESTION}], tools=TOOLS, **route)
        [call] = answer.choices[0].message.tool_calls
        return [call.function.name, json.loads(call.function.arguments)]


@feature("chat: structured output")
def structured() -> Any:
    answer = litellm.completion(
        messages=[{"role": "user", "content": "Who?"}], response_format=Person, **ROUTES["chat"]
    )
    return json.loads(answer.choices[0].message.content)


@feature("responses")
def responses() -> Any:
    answer = litellm.responses(input="Hi", **ROUTES["chat"])
    return answer.output[-1].content[0].text


main()
