"""A replayer with almost no computation, for measuring and testing everything around a replay.

Of each position two tokens are known: the claimed one, and another whose logit is drawn from the record. It mostly
loses and now and then wins, so that verdicts differ between records. The result depends only on the record.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from weightwarden.logger.record import Record
from weightwarden.logger.text.ending import TextOfTokens
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.logits.partial_rows import CandidateRows, KnownLogits
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.replay import ReplayChunk
from weightwarden.verifier.types import RowSpan, Tokenizer

VOCABULARY = 49_152
OTHER_LOGIT, OTHER_SPREAD = -5.0, 2.0
"""Mean and standard deviation of the other token's logit; the claimed one's is 0."""
NO_OTHERS = -1e4
"""Ceiling of all other logits."""


class _NoTokenizer:
    """Placeholder for records without stop strings, which need no text."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        raise NotImplementedError

    def encode_answer(self, text: str) -> list[int]:
        raise NotImplementedError

    def detokenizer(self, sampling: SamplingParams, prompt: Sequence[int]) -> TextOfTokens:
        raise NotImplementedError

    def token_text(self, token: int) -> str:
        return f"<{token}>"


class CheapReplayer:
    """The replay protocol for the replayer of a policy. `folder` is the model's, whose tokenizer reports may need."""

    concurrency = 1
    device = "cpu"

    def __init__(self, policy: BasePolicy, folder: Path, unit_tokens: int = 4096) -> None:
        self.implementation, self.dtype = policy.made_for.replay, policy.made_for.dtype
        self.unit_tokens = unit_tokens
        self.identity = ModelIdentity(
            path=folder,
            digest=policy.made_for.model_digest,
            vocabulary=VOCABULARY,
            context_length=8192,
            eos_ids=(2,),
        )

    @property
    def tokenizer(self) -> Tokenizer:
        return _NoTokenizer()

    def batches(self, records: Sequence[Record]) -> list[list[int]]:
        """One batch of all records."""
        return [list(range(len(records)))]

    def replay(self, batch: Sequence[int], records: Sequence[Record]) -> Iterator[ReplayChunk]:
        counts = [len(records[index].output_token_ids) for index in batch]
        starts = np.cumsum([0, *counts]).tolist()
        pieces = [
            RowSpan(record=index, start=0, row=row, count=count)
            for index, row, count in zip(batch, starts[:-1], counts, strict=True)
        ]
        yield ReplayChunk(CandidateRows(_known([records[index] for index in batch]), VOCABULARY), pieces)

    def known_answer(self) -> None:
        """None: there is no model."""

    def close(self) -> None:
        """Do nothing: there are no resources."""


def _known(records: Sequence[Record]) -> KnownLogits:
    claimed = np.concatenate([np.array(record.output_token_ids, np.int64) for record in records])
    other = np.concatenate([_other_logits(record) for record in records])
    return KnownLogits(
        ids_mk=np.stack([claimed, (claimed + 1) % VOCABULARY], axis=1),
        logits_mk=np.stack([np.zeros(len(claimed)), other], axis=1),
        ceiling_m=np.full(len(claimed), NO_OTHERS),
        claimed_rank_m=1 + (other >= 0).astype(np.int64),
        drawn_m=np.full(len(claimed), -1),
        claim_only_m=np.full(len(claimed), -1),
    )


def _other_logits(record: Record) -> FloatArray:
    rng = np.random.default_rng([*record.prompt_token_ids[-8:], *record.output_token_ids])
    return rng.normal(OTHER_LOGIT, OTHER_SPREAD, len(record.output_token_ids))
