"""Prompts of the sidecar beside those of the engine."""

import json
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weightwarden.logger.errors import ModelError
from weightwarden.logger.sidecar.constraints.constraint import AnswerShape
from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.interpretation import RequestInterpreter
from weightwarden.logger.sidecar.limits import Limits
from weightwarden.logger.sidecar.model.served_model import ServedModel
from weightwarden.logger.sidecar.prepare_pool import PreparePool
from weightwarden.logger.sidecar.prompts.chat_template import ChatTemplate
from weightwarden.logger.sidecar.wire.requests import ChatRequest, parse
from weightwarden.logger.text.special_tokens import SpecialTokens

_ANY_SHAPE = AnswerShape(family="hermes", envelope=None, reasoning=None, special_ids={})
"""A form of answers, so that tools are let pass. Prompts do not depend on it."""
ENGINE = Path(__file__).with_name("engine.py")
Prompt = Mapping[str, Any]
"""`ids` of a prompt, perhaps its `text`; or the reason why it is `refused`."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A chat under a template.

    Attributes:
        template: name of the template.
        text: text of the template, or None for the model's own.
        chat: name of the conversation.
        body: the request without its model.
    """

    template: str
    text: str | None
    chat: str
    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Prompts of both for one chat."""

    question: Question
    engine: Prompt
    sidecar: Prompt

    @property
    def outcome(self) -> str:
        """`equal`, `both refuse`, `sidecar refuses`, `engine refuses`, or `differ`.

        The engine renders a prompt without tokens, and refuses it afterwards.
        """
        match not self.engine.get("ids"), "refused" in self.sidecar:
            case True, True:
                return "both refuse"
            case True, False:
                return "engine refuses"
            case False, True:
                return "sidecar refuses"
        return "equal" if self.engine["ids"] == self.sidecar["ids"] else "differ"


def ask_engine(python: str, folder: Path, questions: Iterable[Question]) -> list[Prompt]:
    """vLLM's prompts of the chats.

    Args:
        python: an interpreter that has vLLM.
        folder: a model folder; its weights are not needed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        asked, answered = Path(scratch) / "questions.jsonl", Path(scratch) / "answers.jsonl"
        lines: list[object] = [str(folder), *([question.text, question.body] for question in questions)]
        asked.write_text("".join(json.dumps(line) + "\n" for line in lines))
        environment = {"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HOME": str(Path.home())}
        command = [python, str(ENGINE), str(asked), str(answered)]
        subprocess.run(command, check=True, env=environment, capture_output=True)  # noqa: S603
        return [json.loads(line) for line in answered.read_text().splitlines()]


async def ask_sidecar(folder: Path, questions: Iterable[Question]) -> list[Prompt]:
    """The sidecar's prompts of the chats."""
    model = ServedModel.load(folder, name="any")
    special = SpecialTokens(folder).named
    workers, chats, prompts = PreparePool(), dict[str | None, ChatTemplate | str | None](), list[Prompt]()
    try:
        for question in questions:
            if question.text not in chats:
                chats[question.text] = model.chat if question.text is None else _template(question.text, special)
            chat = chats[question.text]
            if isinstance(chat, str):
                prompts.append({"refused": chat})
                continue
            interpreter = RequestInterpreter(
                model=replace(model, chat=chat, chat_with_tools=chat, shape=_ANY_SHAPE),
                limits=Limits(),
                client_seeds=False,
                workers=workers,
            )
            try:
                body = json.dumps({"model": "any", **question.body}).encode()
                asked = await interpreter.of_chat(parse(ChatRequest, body))
                prompts.append({"ids": asked.prompts[0]})
            except ApiError as error:
                prompts.append({"refused": str(error)})
    finally:
        workers.close()
    return prompts


def compared(questions: Sequence[Question], engine: Sequence[Prompt], sidecar: Sequence[Prompt]) -> list[Compared]:
    """The prompts of both for each chat."""
    return [
        Compared(question=one, engine=theirs, sidecar=ours)
        for one, theirs, ours in zip(questions, engine, sidecar, strict=True)
    ]


def _template(text: str, special: Mapping[str, str]) -> ChatTemplate | str:
    try:
        return ChatTemplate(text, special)
    except ModelError as error:
        return str(error)
