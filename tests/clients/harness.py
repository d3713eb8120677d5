"""A small task of lm-evaluation-harness: run by the harness over HTTP, and computed on the model directly."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from tests.places import ROOT

CLIENTS = ROOT / "tests" / "clients"
TASKS, TASK = CLIENTS / "tasks", "capitals"
TIMEOUT = 600


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
    return Path(os.environ.get("WEIGHTWARDEN_CLIENTS_PYTHON", ROOT / ".venv-clients" / "bin" / "python"))


def harness_scores(python: Path, url: str, model_folder: Path, work: Path, key: str = "none") -> TaskScores:
    """The scores that the harness finds through an API.

    Args:
        python: interpreter of the clients' environment.
        url: URL of the API, without /v1.
        model_folder: folder with the tokenizer.
        work: a folder for the harness's caches.
        key: API key.
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
        [python, program, f"{url}/v1/completions", model_folder, TASKS, TASK],
        cwd=TASKS,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    values = [[(logprob, greedy) for logprob, greedy in item] for item in found["values"]]
    return TaskScores(found["acc"], found["acc_norm"], values)


class DirectModel:
    """A model with its tokenizer, asked directly: transformers, float32."""

    def __init__(self, model_folder: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(model_folder / "tokenizer.json"))
        self._model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def log_probabilities(self, token_ids: list[int]) -> "torch.Tensor":
        """Log probabilities [positions, vocabulary], of the token after each position."""
        return torch.log_softmax(self._model(torch.tensor([token_ids])).logits[0].float(), dim=-1)

    def scores(self) -> TaskScores:
        """The scores of the task."""
        right = right_per_character = 0
        values = []
        items = [json.loads(line) for line in (TASKS / f"{TASK}.jsonl").read_text(encoding="utf-8").splitlines()]
        for item in items:
            item_values = [self._likelihood(item["question"], f" {choice}") for choice in item["choices"]]
            likelihoods = [value for value, _ in item_values]
            shares = [value / len(choice) for value, choice in zip(likelihoods, item["choices"], strict=True)]
            right += _best(likelihoods) == item["answer"]
            right_per_character += _best(shares) == item["answer"]
            values.append(item_values)
        return TaskScores(right / len(items), right_per_character / len(items), values)

    def _likelihood(self, context: str, continuation: str) -> tuple[float, bool]:
        context_ids = self.tokenizer.encode(context).ids
        ids = self.tokenizer.encode(context + continuation).ids
        assert ids[: len(context_ids)] == context_ids
        rows = self.log_probabilities(ids)[len(context_ids) - 1 : -1]
        own = torch.tensor(ids[len(context_ids) :])
        return float(rows.gather(1, own[:, None]).sum()), bool((rows.argmax(dim=1) == own).all())

    def prompt_logprobs(self, body: dict[str, Any]) -> list[dict[str, Any] | None]:
        """Rows of `prompt_logprobs` as vLLM gives them."""
        rows: list[dict[str, Any] | None] = [None]
        for token, row in zip(body["prompt"][1:], self.log_probabilities(body["prompt"]), strict=False):
            values, ids = row.topk(body["prompt_logprobs"])
            found = {str(token): {"logprob": float(row[token]), "rank": int((row >= row[token]).sum())}}
            for rank, (value, one) in enumerate(zip(values.tolist(), ids.tolist(), strict=True), 1):
                found.setdefault(str(one), {"logprob": value, "rank": rank})
            rows.append(found)
        return rows


def _best(values: list[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def require_harness() -> None:
    """Skip the test unless the harness is wanted: it has 38 packages of its own, and needs minutes."""
    if "WEIGHTWARDEN_HARNESS" not in os.environ:
        pytest.skip(
            "WEIGHTWARDEN_HARNESS is not set: .venv-clients needs tests/clients/harness-requirements.txt for it"
        )
