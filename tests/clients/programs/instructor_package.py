"""The `instructor` package, in its modes."""

from typing import Any

import anthropic
import instructor
import openai
from _features import KEY, MODEL, URL, feature, main
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int


for mode in ("TOOLS", "TOOLS_STRICT", "JSON", "JSON_SCHEMA"):

    @feature(f"openai: {mode}")
    def structured(mode: str = mode) -> Any:
        client = instructor.from_openai(
            openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0), mode=getattr(instructor.Mode, mode)
        )
        asked = [{"role": "user", "content": "Who?"}]
        return client.chat.completions.create(
            model=MODEL, response_model=Person, messages=asked, max_retries=0
        ).model_dump()


@feature("anthropic: TOOLS")
def messages() -> Any:
    client = instructor.from_anthropic(anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0))
    return client.messages.create(
        model=MODEL,
        max_tokens=200,
        response_model=Person,
        messages=[{"role": "user", "content": "Who?"}],
        max_retries=0,
    ).model_dump()


main()
