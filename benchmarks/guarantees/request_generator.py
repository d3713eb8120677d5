"""Bodies of requests to the completions, random and plain, and the records of their answers."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from weightwarden.logger.record import Record
from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.wire.requests import MAX_IDS, MAX_STOP_IDS, CompletionRequest, parse
from weightwarden.sampler.defined import undefined_field
from weightwarden.verifier.model.identity import ModelIdentity

MODEL = "source"
PLAIN = {"temperature": 1.0, "top_p": 0.95, "top_k": 50, "max_tokens": 48}
LENGTHS = (1, 2, 8, 16, 24)


def random_request(rng: np.random.Generator, prompts: Sequence[Sequence[int]], vocabulary: int) -> dict[str, Any]:
    """The body of one request to /v1/completions. The sidecar may refuse its combination of parameters."""
    prompt = list(prompts[int(rng.integers(len(prompts)))])
    if rng.random() < 0.3:
        prompt = rng.integers(0, vocabulary, rng.choice([1, 2, 40])).tolist()

    def ids(most: int) -> list[int]:
        """Token ids, of the prompt or any."""
        count = int(rng.choice([1, 2, 8, 64, most]))
        source = np.array(prompt) if rng.random() < 0.5 else np.arange(vocabulary)
        found: list[int] = np.unique(rng.choice(source, count)).tolist()
        return found

    def one_of(*ends: Any, between: float, to: float) -> Any:
        """One of the ends of a range, or a number within it."""
        return ends[rng.integers(len(ends))] if rng.random() < 0.5 else float(rng.uniform(between, to))

    asked: dict[str, Any] = {
        "temperature": one_of(0.0, 1e-9, 0.01, 0.05, 0.3, 1.0, 2.0, between=0.0, to=2.0),
        "top_p": one_of(1e-9, 0.5, 1.0, between=0.01, to=1.0),
        "top_k": int(rng.choice([-1, 0, 1, 2, 50, 1000, vocabulary - 1, vocabulary, 2**31 - 1])),
        "min_p": one_of(0.0, 1e-9, 1.0, between=0.0, to=1.0),
        "repetition_penalty": one_of(0.5, 2.0, 1.05, between=0.5, to=2.0),
        "presence_penalty": one_of(-2.0, 2.0, between=-2.0, to=2.0),
        "frequency_penalty": one_of(-2.0, 2.0, between=-2.0, to=2.0),
        "min_tokens": int(rng.choice([1, 4, 24])),
        "ignore_eos": True,
        "stop_token_ids": ids(MAX_STOP_IDS - 8),
        "logit_bias": {str(i): one_of(-100.0, 100.0, -5.0, 5.0, between=-10.0, to=10.0) for i in ids(MAX_IDS)},
        "allowed_token_ids": ids(MAX_IDS),
        "stop": [" the", "\n"][: int(rng.choice([1, 2]))],
        "n": int(rng.choice([2, 3])),
        "skip_special_tokens": False,
        "include_stop_str_in_output": True,
    }
    chosen = {name: value for name, value in asked.items() if rng.random() < 0.35}
    return {"model": MODEL, "prompt": prompt, "max_tokens": int(rng.choice(LENGTHS)), **chosen}


def request_record(body: dict[str, Any], seed: int, version: str, identity: ModelIdentity) -> Record | None:
    """The record of a request's answer with a placeholder token; None if the request is refused.

    Stop strings, and choices except the first, are left out: the simulated server has only tokens.
    """
    asked = {name: value for name, value in body.items() if name not in ("stop", "n", "include_stop_str_in_output")}
    try:
        sampling = parse(CompletionRequest, json.dumps(asked).encode()).sampling({}, asked["max_tokens"])
    except ApiError:
        return None
    if undefined_field(sampling, identity.eos_ids, identity.vocabulary) or sampling.min_tokens > asked["max_tokens"]:
        return None
    said = sampling.model_dump(exclude_defaults=True)
    if "logit_bias" in said:
        said["logit_bias"] = {str(token): bias for token, bias in said["logit_bias"].items()}
    return Record.model_validate(
        {
            "engine": {"name": "vllm", "version": version, "sampler": "vllm-cpu"},
            "model": MODEL,
            "prompt_token_ids": asked["prompt"],
            "output_token_ids": [0],
            "seed": seed,
            "choice_index": 0,
            "sampling": said,
            "finish_reason": "length",
            "stop_reason": None,
        }
    )


def plain_requests(prompts: Sequence[Sequence[int]], count: int, version: str, identity: ModelIdentity) -> list[Record]:
    """Typical requests of clients, whose answers make the policy."""
    made = (
        request_record({"model": MODEL, "prompt": list(prompts[at % len(prompts)]), **PLAIN}, at, version, identity)
        for at in range(count)
    )
    return [record for record in made if record is not None]
