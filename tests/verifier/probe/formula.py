"""A replayer of the small server's formula model, whose tokens are bytes and more."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from tests.verifier.provider.provider_server import Draw, Serving
from tests.verifier.replay.vllm.small_server import IDENTITY, logits_after
from weightwarden.logger.record import Record
from weightwarden.logger.text.ending import TextOfTokens
from weightwarden.sampler.params import SamplingParams
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.replay.replay import ReplayChunk
from weightwarden.verifier.types import RowSpan


class ByteTokenizer:
    """Bytes are the tokens from 3 on; other tokens have no text of their own."""

    eos_token_id = 2

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        del add_special_tokens
        return [3 + byte for byte in text.encode()]

    def encode_answer(self, text: str) -> list[int]:
        return self.encode(text, add_special_tokens=False)

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool, prompt: Sequence[int] = ()) -> str:
        del skip_special_tokens, prompt
        return bytes(token - 3 for token in token_ids if 3 <= token < 259).decode(errors="replace")

    def detokenizer(self, sampling: SamplingParams, prompt: Sequence[int]) -> TextOfTokens:
        raise NotImplementedError("no stop strings here")

    def token_text(self, token: int) -> str:
        return self.decode([token], skip_special_tokens=False)


class FormulaReplayer:
    """A replayer of the formula."""

    implementation, dtype, identity, concurrency, unit_tokens = "formula", "float32", IDENTITY, 1, 1024
    tokenizer, device = ByteTokenizer(), "cpu"

    def batches(self, records: Sequence[Record]) -> list[list[int]]:
        return [[i] for i in range(len(records))]

    def replay(self, batch: Sequence[int], records: Sequence[Record]) -> Iterator[ReplayChunk]:
        (index,) = batch
        record = records[index]
        count = len(record.output_token_ids)
        rows = [logits_after([*record.prompt_token_ids, *record.output_token_ids[:t]]) for t in range(count)]
        yield ReplayChunk(
            TorchRows(torch.from_numpy(np.stack(rows))), [RowSpan(record=index, start=0, row=0, count=count)]
        )

    def known_answer(self) -> None:
        return None

    def close(self) -> None:
        """Nothing is held."""


def formula_serving(draw: Draw, **how: Any) -> Serving:
    """A server of the formula model."""
    tokenizer = ByteTokenizer()
    return Serving(
        logits=logits_after,
        draw=draw,
        encode=lambda text: tokenizer.encode(text, add_special_tokens=False),
        decode=lambda ids: tokenizer.decode(ids, skip_special_tokens=False),
        **how,
    )
