"""Prompts of vLLM's own request classes and renderer. Run by vLLM's Python, without this project.

    python engine.py QUESTIONS ANSWERS

QUESTIONS is a file of JSON lines: a model folder, then `[template or null, body]`. For each of the latter, ANSWERS has
a line: the token ids and the text, or the reason of the engine's refusal.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from vllm.config import ModelConfig, VllmConfig
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.renderers.online_renderer import OnlineRenderer
from vllm.renderers.registry import renderer_from_config


async def answer(lines: Iterator[str], out: TextIO) -> None:
    """Answer every line."""
    config = ModelConfig(model=json.loads(next(lines)))
    renderer = renderer_from_config(VllmConfig(model_config=config))
    renderers: dict[str | None, OnlineRenderer] = {}
    for line in lines:
        template, body = json.loads(line)
        if template not in renderers:
            renderers[template] = OnlineRenderer(
                config,
                renderer,
                request_logger=None,
                chat_template=template,
                chat_template_content_format="auto",
                enable_auto_tools=True,
                tool_parser="hermes",
            )
        try:
            request = ChatCompletionRequest.model_validate({"model": "any", **body})
            made = await renderers[template].render_chat(request)
            if not isinstance(made, tuple):
                raise ValueError(made.error.message)
            said = {"ids": list(made[1][0]["prompt_token_ids"]), "text": made[1][0].get("prompt")}
        except Exception as error:
            said = {"refused": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(said), file=out)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with Path(sys.argv[1]).open() as questions, Path(sys.argv[2]).open("w") as answers:
        asyncio.run(answer(iter(questions), answers))
