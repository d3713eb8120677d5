"""Prompts of chats, as vLLM's own request classes and renderer make them here and now."""

import asyncio
import os
from pathlib import Path

import pytest

from benchmarks.prompt_agreement.agreement import Question, ask_engine, ask_sidecar, compared
from benchmarks.prompt_agreement.conversations import CONVERSATIONS, EXCEPTIONS, OWN_TEMPLATES

pytestmark = pytest.mark.vllm


def test_the_sidecar_makes_the_engines_prompts(model_folder: Path) -> None:
    python = os.environ["WEIGHTWARDEN_VLLM_PYTHON"]
    questions = [
        Question(template=name, text=text, chat=chat, body=body)
        for name, text in [("the model's own", None), *OWN_TEMPLATES.items()]
        for chat, body in CONVERSATIONS.items()
        if chat not in EXCEPTIONS
    ]
    engine = ask_engine(python, model_folder, questions)
    for one in compared(questions, engine, asyncio.run(ask_sidecar(model_folder, questions))):
        assert one.outcome in ("equal", "both refuse"), one
