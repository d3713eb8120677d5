"""Answers that say a text, and the official clients of a sidecar."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
from tokenizers import Tokenizer

from tests.logger.sidecar.running import MODEL
from tests.logger.sidecar.scripted_upstream import EOS, HEAD, Answer, event

PROMPT = "Tell me a story."


def says(tokenizer: Tokenizer, text: str) -> Answer:
    """An answer of a text, as long as the request allows, and then the end of sequence."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids

    async def answer(body: dict[str, Any]) -> AsyncIterator[bytes]:
        yield HEAD
        for at, token in enumerate([*ids, EOS][: body["max_tokens"]], 1):
            finish = "stop" if token == EOS else "length" if at == body["max_tokens"] else None
            yield event([token], finish)
        yield b"data: [DONE]\n\n"

    return answer


def openai_client(url: str) -> openai.OpenAI:
    """OpenAI's client of a sidecar, a context manager that closes its connections."""
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=300)


def anthropic_client(url: str) -> anthropic.Anthropic:
    """Anthropic's client of a sidecar, a context manager that closes its connections."""
    return anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, timeout=300)


def asked(claude: anthropic.Anthropic, **more: Any) -> tuple[anthropic.types.Message, anthropic.types.Message]:
    """A message of the same request, whole and streamed."""
    given: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 20,
        "messages": [{"role": "user", "content": PROMPT}],
        **more,
    }
    with claude.messages.stream(**given) as stream:
        return claude.messages.create(**given), stream.get_final_message()
