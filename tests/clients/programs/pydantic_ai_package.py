"""The `pydantic-ai` package, over chat, responses and messages."""

from typing import Any

from _features import KEY, MODEL, QUESTION, URL, feature, main
from anthropic import AsyncAnthropic
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

openai = OpenAIProvider(base_url=f"{URL}/v1", api_key=KEY)
anthropic = AnthropicProvider(anthropic_client=AsyncAnthropic(base_url=URL, api_key=KEY, max_retries=0))
MODELS: dict[str, Any] = {
    "chat": OpenAIChatModel(MODEL, provider=openai),
    "responses": OpenAIResponsesModel(MODEL, provider=openai),
    "messages": AnthropicModel(MODEL, provider=anthropic),
}


class Person(BaseModel):
    name: str
    age: int


def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 21 degrees"


for name, model in MODELS.items():

    @feature(f"{name}: agent")
    def agent(model: Any = model) -> Any:
        return Agent(model).run_sync("Hi").output

    @feature(f"{name}: agent with a tool")
    def tool(model: Any = model) -> Any:
        return Agent(model, tools=[get_weather]).run_sync(QUESTION).output

    @feature(f"{name}: output by a tool")
    def output(model: Any = model) -> Any:
        return Agent(model, output_type=Person).run_sync("Who?").output.model_dump()


@feature("chat: native output")
def native() -> Any:
    return Agent(MODELS["chat"], output_type=NativeOutput(Person)).run_sync("Who?").output.model_dump()


main()
