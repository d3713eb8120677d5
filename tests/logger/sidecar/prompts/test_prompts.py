"""Prompts of chats are vLLM's: its recorded answers, over templates and conversations that try it in many ways."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from benchmarks.prompt_agreement.agreement import Question, ask_sidecar
from benchmarks.prompt_agreement.conversations import CONVERSATIONS, EXCEPTIONS, LONG, OWN_TEMPLATES
from benchmarks.prompt_agreement.recorded import digest, read_recorded
from benchmarks.prompt_agreement.templates import SHA256, public_templates
from benchmarks.recording.registry_packages import PackageUnavailable
from weightwarden.logger.sidecar.model.served_model import ServedModel
from weightwarden.logger.text.special_tokens import SpecialTokens

PUBLIC = 10
"""Public templates of which every test run takes an even choice; the benchmark takes all."""


@pytest.fixture(scope="module")
def recorded() -> Any:
    return read_recorded()


def questions(templates: dict[str, str]) -> list[Question]:
    return [
        Question(template=name, text=text, chat=chat, body=body)
        for name, text in templates.items()
        for chat, body in CONVERSATIONS.items()
        if chat not in EXCEPTIONS
    ]


def test_prompts_of_our_own_templates_are_the_engines(recorded: Any, model_folder: Path) -> None:
    asked = [question for question in questions(dict(OWN_TEMPLATES)) if question.chat != LONG]
    model = ServedModel.load(model_folder, name="any")
    ours = asyncio.run(ask_sidecar(model_folder, asked))
    for question, prompt in zip(asked, ours, strict=True):
        wanted = recorded["texts"][question.template][question.chat]
        special = bool(question.body.get("add_special_tokens"))
        ids = wanted and list(model.tokenize(wanted, add_special_tokens=special))
        assert prompt.get("ids") == (ids or None), (question.template, question.chat, wanted, prompt)


def test_prompts_of_public_templates_are_the_engines(recorded: Any, model_folder: Path) -> None:
    assert recorded["sha256"] == SHA256
    try:
        public = public_templates()
    except PackageUnavailable as error:
        if os.environ.get("WEIGHTWARDEN_REQUIRE_REGISTRY"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    names = sorted(recorded["digests"])
    chosen = {name: public[name] for name in names[:: len(names) // PUBLIC]}
    asked = questions(chosen)
    ours = asyncio.run(ask_sidecar(model_folder, asked))
    for name in chosen:
        prompts = ((q.chat, prompt) for q, prompt in zip(asked, ours, strict=True) if q.template == name)
        assert digest(prompts) == recorded["digests"][name], f"{name}: see benchmarks.prompt_agreement compare --only"


def test_both_forms_of_content_and_both_answers_of_the_engine_are_among_them(recorded: Any) -> None:
    texts = [text for template in recorded["texts"].values() for text in template.values()]
    assert None in texts
    assert recorded["texts"]["parts"]["two parts"] == "[user]<One><Two>[assistant]"
    assert recorded["texts"]["text"]["two parts"] == "[user]One\nTwo[assistant]"
    assert len(recorded["digests"]) > 30


@pytest.mark.parametrize(
    "config",
    [
        {"bos_token": "<|new|>", "image_token": "<image>", "extra_special_tokens": {"boi": "<|boi|>"}},
        {"additional_special_tokens": ["<|new|>", {"__type": "AddedToken", "content": "<|b|>", "lstrip": True}]},
        {"added_tokens_decoder": {"600": {"content": "<|new|>"}, "0": {"content": "<|end|>", "special": True}}},
        {"eos_token": None, "unk_token": {"__type": "AddedToken", "content": "<|new|>", "rstrip": True}},
        {"bos_token": "<|boi|>"},
    ],
)
def test_special_tokens_of_a_configuration_are_special_here_too(tmp_path: Path, config: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers")
    alphabet = ["<|end|>", *sorted(ByteLevel.alphabet())]
    ours = Tokenizer(BPE({piece: i for i, piece in enumerate(alphabet)}, []))
    ours.pre_tokenizer = ByteLevel(add_prefix_space=False)
    ours.save(str(tmp_path / "tokenizer.json"))
    files = {
        "tokenizer_config.json": {**config, "tokenizer_class": "TokenizersBackend"},
        "special_tokens_map.json": {"pad_token": {"content": "<|b|>"}, "additional_special_tokens": ["<|boi|>"]},
        "config.json": {"model_type": "llama"},
    }
    for name, value in files.items():
        (tmp_path / name).write_text(json.dumps(value))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    special = SpecialTokens(tmp_path)
    special.add_to(ours)
    text = "a<|new|> b <image>c <|boi|>\n <|b|>d<|end|>"
    assert special.named == theirs.special_tokens_map
    assert ours.encode(text).ids == theirs.encode(text, add_special_tokens=False)
