"""A small task of lm-evaluation-harness: run by the harness over HTTP, and computed on the model directly."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from tests.places import ROOT

CLIENTS = ROOT / "tests" / "clients"
TASKS, TASK = CLIENTS / "tasks", "capitals"
TIMEOUT = 300
"""Seconds within which the harness has its scores; then it ends by itself, and shows where it was."""


@dataclass(frozen=True)
class TaskScores:
    """The scores of a task.

    Attributes:
        accuracy: share of items whose likeliest choice is the right one.
        per_character: the same, with log-likelihoods divided by the choice's length.
        values: log-likelihood of each choice of each item, and whether it is the greedy continuation.
    """

    accuracy: float
    per_character: float
    values: list[list[tuple[float, bool]]]


def clients_python() -> Path:
    """The Python of the clients' environment (`make test-clients`), whether it is there or not."""
    return ROOT / os.environ.get("WEIGHTWARDEN_CLIENTS_PYTHON", ".venv-clients/bin/python")  # used in other folders


def harness_scores(python: Path, url: str, model_folder: Path, work: Path, key: str = "none") -> TaskScores:
    """The scores that the harness finds through an API.

    Args:
        python: interpreter of the clients' environment.
        url: URL of the API, without /v1.
        model_folder: folder with the tokenizer.
        work: a folder for the harness's caches.
        key: API key.

    Raises:
        AssertionError: the harness failed, or took longer than TIMEOUT; with what it said.
    """
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(work),
        "OPENAI_API_KEY": key,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    program = CLIENTS / "programs" / "lm_eval_task.py"
    done = subprocess.run(
        [python, program, f"{url}/v1/completions", model_folder, TASKS, TASK, str(TIMEOUT)],
        cwd=TASKS,
        capture_output=True,
        text=True,
        timeout=TIMEOUT + 60,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    values = [[(logprob, greedy) for logprob, greedy in item] for item in found["values"]]
    return TaskScores(found["acc"], found["acc_norm"], values)


class DirectModel:
    """A model with its tokenizer, asked directly: transformers, float32.

    It computes each sequence once: on busy cores, each pass of a model waits for all threads at every layer.
    """

    def __init__(self, model_folder: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
        self._model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
        self._found: dict[tuple[int, ...], torch.Tensor] = {}

    @torch.inference_mode()
    def log_probabilities(self, sequences: list[list[int]]) -> "list[torch.Tensor]":
        """Log probabilities [positions, vocabulary] of each sequence, of the token after each position."""
        new = [ids for ids in sequences if tuple(ids) not in self._found]
        if new:
            longest = max(map(len, new))
            # No position sees those after it, so what fills a sequence up changes nothing before.
            padded = torch.tensor([ids + [0] * (longest - len(ids)) for ids in new])
            for ids, rows in zip(new, self._model(padded).logits, strict=True):
                self._found[tuple(ids)] = torch.log_softmax(rows[: len(ids)].float(), dim=-1)
        return [self._found[tuple(ids)] for ids in sequences]

    def scores(self) -> TaskScores:
        """The scores of the task."""
        right = right_per_character = 0
        values = []
        items = [json.loads(line) for line in (TASKS / f"{TASK}.jsonl").read_text(encoding="utf-8").splitlines()]
        for item in items:
            item_values = self._likelihoods(item["question"], [f" {choice}" for choice in item["choices"]])
            likelihoods = [value for value, _ in item_values]
            shares = [value / len(choice) for value, choice in zip(likelihoods, item["choices"], strict=True)]
            right += _best(likelihoods) == item["answer"]
            right_per_character += _best(shares) == item["answer"]
            values.append(item_values)
        return TaskScores(right / len(items), right_per_character / len(items), values)

    def _likelihoods(self, context: str, continuations: list[str]) -> list[tuple[float, bool]]:
        context_ids = self.tokenizer.encode(context).ids
        sequences = [self.tokenizer.encode(context + continuation).ids for continuation in continuations]
        values = []
        for ids, log_probabilities in zip(sequences, self.log_probabilities(sequences), strict=True):
            assert ids[: len(context_ids)] == context_ids
            rows = log_probabilities[len(context_ids) - 1 : -1]
            own = torch.tensor(ids[len(context_ids) :])
            values.append((float(rows.gather(1, own[:, None]).sum()), bool((rows.argmax(dim=1) == own).all())))
        return values

    def prompt_logprobs(self, body: dict[str, Any]) -> list[dict[str, Any] | None]:
        """Rows of `prompt_logprobs` as vLLM gives them."""
        rows: list[dict[str, Any] | None] = [None]
        [found_rows] = self.log_probabilities([body["prompt"]])
        for token, row in zip(body["prompt"][1:], found_rows, strict=False):
            values, ids = row.topk(body["prompt_logprobs"])
            found = {str(token): {"logprob": float(row[token]), "rank": int((row >= row[token]).sum())}}
            for rank, (value, one) in enumerate(zip(values.tolist(), ids.tolist(), strict=True), 1):
                found.setdefault(str(one), {"logprob": value, "rank": rank})
            rows.append(found)
        return rows


def _best(values: list[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
