"""The `langchain-openai` and `langchain-anthropic` packages."""

from typing import Any

from _features import KEY, MODEL, QUESTION, URL, feature, main
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

chat = ChatOpenAI(model=MODEL, base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
responses = ChatOpenAI(model=MODEL, base_url=f"{URL}/v1", api_key=KEY, max_retries=0, use_responses_api=True)
messages = ChatAnthropic(model_name=MODEL, base_url=URL, api_key=KEY, max_retries=0, max_tokens=200)
MODELS: dict[str, Any] = {"chat": chat, "responses": responses, "messages": messages}


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 21 degrees"


def text_of(message: Any) -> str:
    return str(message.text if isinstance(message.text, str) else message.text())


for name, model in MODELS.items():

    @feature(f"{name}: invoke")
    def invoke(model: Any = model) -> Any:
        return text_of(model.invoke("Hi"))

    @feature(f"{name}: stream")
    def stream(model: Any = model) -> Any:
        return "".join(text_of(chunk) for chunk in model.stream("Hi"))

    @feature(f"{name}: bind_tools")
    def bound(model: Any = model) -> Any:
        offered = model.bind_tools([get_weather])
        history: list[Any] = [HumanMessage(QUESTION)]
        history.append(offered.invoke(history))
        calls = history[-1].tool_calls
        history += [ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in calls]
        return text_of(offered.invoke(history))


for name, model, methods in (
    ("chat", chat, ("json_schema", "function_calling", "json_mode")),
    ("responses", responses, ("json_schema", "function_calling")),
    ("messages", messages, ("function_calling", "json_schema")),
):
    for method in methods:

        @feature(f"{name}: with_structured_output {method}")
        def structured(model: Any = model, method: Any = method) -> Any:
            return model.with_structured_output(Person, method=method).invoke("Who? Answer in JSON.").model_dump()


main()
