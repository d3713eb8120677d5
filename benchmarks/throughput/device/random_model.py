"""Llama-shaped models with random weights, made on the device, and answers that they draw under the scheme's own noise.

A model with random weights has nearly Gaussian logits. Its output head is scaled so that the mean entropy of the next
token, after a few random ones, is `ENTROPY_BITS`, about that of text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers

from weightwarden.logger.record import Record
from weightwarden.logger.text.ending import TextOfTokens
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.params import SamplingParams
from weightwarden.verifier.candidates.device.noise import device_noise
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

ENTROPY_BITS = 1.0
ENGINE = {"name": "random", "version": "1", "sampler": "vllm-v2"}
_PROBE = (16, 48)
"""Number of sequences and of tokens with which the entropy is measured."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A Llama-shaped model; sizes in elements, heads and layers in numbers."""

    name: str
    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int

    @property
    def trunk_parameters(self) -> int:
        """Weights of the layers' matrices, each used once a token."""
        head = self.hidden // self.heads
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.key_value_heads * head
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def head_parameters(self) -> int:
        return self.vocabulary * self.hidden


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(name="tiny", vocabulary=5003, hidden=64, intermediate=128, layers=2, heads=4, key_value_heads=2),
        Shape(name="135M", vocabulary=49152, hidden=576, intermediate=1536, layers=30, heads=9, key_value_heads=3),
        Shape(name="1.7B", vocabulary=49152, hidden=2048, intermediate=8192, layers=24, heads=32, key_value_heads=32),
        Shape(name="1.5B", vocabulary=151936, hidden=1536, intermediate=8960, layers=28, heads=12, key_value_heads=2),
        Shape(name="7B", vocabulary=151936, hidden=3584, intermediate=18944, layers=28, heads=28, key_value_heads=4),
    )
}
"""The shapes of SmolLM2-135M and -1.7B, Qwen2.5-1.5B and -7B (without biases)."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Filters of the traffic; temperature 1."""

    name: str
    top_k: int
    top_p: float


FILTERS = (
    Filter(name="top-p 0.95, top-k 50", top_k=50, top_p=0.95),
    Filter(name="unfiltered", top_k=0, top_p=1.0),
    Filter(name="top-p 0.95", top_k=0, top_p=0.95),
)


class _NoTokenizer:
    """Placeholder for records whose end needs no text."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        raise NotImplementedError("no text here")

    def detokenizer(self, sampling: SamplingParams, prompt: Sequence[int]) -> TextOfTokens:
        raise NotImplementedError("no text here")

    def token_text(self, token: int) -> str:
        raise NotImplementedError("no text here")


def random_replayer(shape: Shape, device: str, token_budget: int) -> tuple[TransformersReplayer, float]:
    """A replayer on a model with random weights in bfloat16, and the mean entropy of its next token, bits."""
    config = transformers.LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        head = cast(Any, model).get_output_embeddings().weight
        ids = torch.randint(0, shape.vocabulary, _PROBE, device=device)
        hidden = cast(Any, model).base_model(input_ids=ids, use_cache=False).last_hidden_state[:, 8:].flatten(0, 1)
        logits = torch.nn.functional.linear(hidden, head).float()[::8]
        logits -= logits.amax(dim=1, keepdim=True)
        low, high = 0.1, 1e4
        for _ in range(40):
            scale = (low * high) ** 0.5
            if entropy_bits(logits * scale) > ENTROPY_BITS:
                low = scale
            else:
                high = scale
        head.mul_(scale)
    identity = ModelIdentity(
        path=Path("random"),
        digest="sha256:" + "0" * 64,
        vocabulary=shape.vocabulary,
        context_length=None,
        eos_ids=(),
        dtype="bfloat16",
    )
    return TransformersReplayer(model, _NoTokenizer(), identity, token_budget), entropy_bits(logits * scale)


def entropy_bits(logits_nv: torch.Tensor) -> float:
    """Mean entropy of the rows' distributions, bits."""
    log_p = logits_nv.log_softmax(dim=1)
    return float(-(log_p.exp() * log_p).sum(dim=1).mean() / np.log(2.0))


@torch.no_grad()
def drawn_records(
    replayer: TransformersReplayer, shape: Shape, drawn: Filter, *, count: int, prompt: int, output: int, batch: int
) -> list[Record]:
    """Answers of full length to random prompts, drawn token by token with a cache, `batch` at a time.

    Decoding rounds differently from the replay's one pass, like that of a server.
    """
    noise = gumbel_noise(ENGINE["sampler"], shape.vocabulary)
    twin = device_noise(noise)
    assert twin is not None
    device = torch.device(replayer.device)
    rng = np.random.default_rng(1)
    records: list[Record] = []
    while len(records) < count:
        size = min(batch, count - len(records))
        prompts = rng.integers(0, shape.vocabulary, (size, prompt))
        seeds = rng.integers(0, 2**62, size)
        keys = torch.stack([twin.keys(noise.keys(int(seed), prompt, output)) for seed in seeds]).to(device)
        ids, cache, answers = torch.from_numpy(prompts).to(device), None, []
        for step in range(output):
            found = cast(Any, replayer.model).base_model(input_ids=ids, past_key_values=cache, use_cache=True)
            cache = found.past_key_values
            ids = _drawn(replayer.logits(found.last_hidden_state[:, -1]), keys[:, step], twin, drawn)
            answers.append(ids)
        tokens = torch.cat(answers, dim=1).cpu().numpy()
        del cache, found
        records.extend(
            Record.model_validate(
                {
                    "engine": ENGINE,
                    "model": shape.name,
                    "prompt_token_ids": prompts[i].tolist(),
                    "output_token_ids": tokens[i].tolist(),
                    "seed": int(seeds[i]),
                    "choice_index": 0,
                    "sampling": {"top_k": drawn.top_k, "top_p": drawn.top_p, "max_tokens": output},
                    "finish_reason": "length",
                    "stop_reason": None,
                }
            )
            for i in range(size)
        )
    return records


def _drawn(logits_nv: torch.Tensor, keys_n: torch.Tensor, noise: Any, drawn: Filter) -> torch.Tensor:
    """The scheme's token of each row, int64 [n, 1]."""
    width = drawn.top_k or (4096 if drawn.top_p < 1 else logits_nv.shape[1])
    width = min(width, logits_nv.shape[1])
    if width < logits_nv.shape[1]:
        values, ids = logits_nv.topk(width)
    else:
        values, ids = logits_nv, torch.arange(width, device=logits_nv.device).expand_as(logits_nv)
    scores = values.double() + noise.at(keys_n, ids)
    if drawn.top_p < 1:
        whole = logits_nv if not drawn.top_k else values
        share = (values - whole.logsumexp(dim=1, keepdim=True)).exp()
        scores = scores.masked_fill(share.cumsum(dim=1) - share >= drawn.top_p, -torch.inf)
    return ids.gather(1, scores.argmax(dim=1, keepdim=True))
