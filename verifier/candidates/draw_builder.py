"""Builder of draws from records: noise keys, filters, adjusted logits."""

from collections.abc import Sequence

import numpy as np

from weightwarden.logger.record import Record
from weightwarden.sampler.logits import LogitAdjustment
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.schemes import scheme
from weightwarden.sampler.support import Filters
from weightwarden.sampler.types import FloatArray, KeyArray
from weightwarden.sampler.uniforms import draft_uniforms, inverse_cdf_uniforms
from weightwarden.verifier.candidates.draws import Draws
from weightwarden.verifier.candidates.record_masks import RecordMasks
from weightwarden.verifier.logits.rows import LogitRows
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.types import RowSpan, Tokenizer


class DrawBuilder:
    """Builder of the draws of one scheme's chunks. A record's noise keys and adjustment are made once."""

    def __init__(
        self, scheme_name: str, identity: ModelIdentity, tokenizer: Tokenizer, masks: RecordMasks | None = None
    ) -> None:
        """A builder for some records.

        Args:
            masks: masks of the records; None where no record has a grammar.
        """
        self._scheme = scheme(scheme_name)
        self._identity = identity
        self._tokenizer = tokenizer
        self._masks = masks
        gumbel = scheme_name not in ("greedy", "inverse-cdf")
        self._noise = gumbel_noise(scheme_name, identity.vocabulary) if gumbel else None
        self._keys: dict[int, KeyArray] = {}
        self._uniforms: dict[int, FloatArray] = {}
        self._adjustments: dict[int, LogitAdjustment] = {}

    def expect(self, batch: Sequence[int]) -> None:
        """Begin to make the masks of records whose draws will be asked for, without waiting for them."""
        if self._masks is not None:
            self._masks.begin(batch)

    def draws(self, rows: LogitRows, pieces: Sequence[RowSpan], records: Sequence[Record]) -> Draws:
        """The draws of a chunk; adjusts its logits in place (grammars' masks, then bias, masks, penalties)."""
        claimed = np.concatenate(
            [np.array(records[p.record].output_token_ids[p.start : p.start + p.count], np.int64) for p in pieces]
        )
        counts = np.array([piece.count for piece in pieces])
        sampling = [records[piece.record].sampling for piece in pieces]
        vocabulary = self._identity.vocabulary

        def spread(values: list[float]) -> FloatArray:
            return np.repeat(np.array(values, np.float64), counts)

        greedy = self._scheme.name == "greedy"
        temperature = spread([1.0 if greedy else self._scheme.effective_temperature(s.temperature) for s in sampling])
        before = self._scheme.filters_before_temperature
        raw_rank = np.zeros(len(claimed), np.int64)
        outside = self._mask(rows, pieces)
        for piece in pieces:
            self._adjust(rows, piece, records[piece.record], claimed, raw_rank)
        raw_rank[outside] = vocabulary + 1
        return Draws(
            claimed_n=claimed,
            temperature_n=temperature,
            filters=Filters(
                temperature_n=np.ones_like(temperature) if before else temperature,
                top_k_n=np.repeat(np.array([_top_k(s, vocabulary) for s in sampling], np.int64), counts),
                top_p_n=spread([1.0 if greedy else s.top_p for s in sampling]),
                min_p_n=spread([0.0 if greedy else s.min_p for s in sampling]),
            ),
            noise=self._noise,
            keys_n=np.concatenate([self._keys_of(p, records) for p in pieces]) if self._noise is not None else None,
            uniforms_n=(
                np.concatenate([self._uniforms_of(p, records) for p in pieces])
                if self._scheme.name == "inverse-cdf" or self._scheme.speculates
                else None
            ),
            raw_rank_n=raw_rank,
            top_p_of_everything=self._scheme.top_p_of_everything,
        )

    def _keys_of(self, piece: RowSpan, records: Sequence[Record]) -> KeyArray:
        assert self._noise is not None
        record = records[piece.record]
        if piece.record not in self._keys:
            self._keys[piece.record] = self._noise.keys(
                record.choice_seed(), len(record.prompt_token_ids), len(record.output_token_ids)
            )
        return self._keys[piece.record][piece.start : piece.start + piece.count]

    def _uniforms_of(self, piece: RowSpan, records: Sequence[Record]) -> FloatArray:
        record = records[piece.record]
        if piece.record not in self._uniforms:
            seed, count = record.choice_seed(), len(record.output_token_ids)
            self._uniforms[piece.record] = (
                draft_uniforms(seed, len(record.prompt_token_ids), count)
                if self._scheme.speculates
                else inverse_cdf_uniforms(seed, count)
            )
        return self._uniforms[piece.record][piece.start : piece.start + piece.count]

    def _mask(self, rows: LogitRows, pieces: Sequence[RowSpan]) -> list[int]:
        """Apply the grammars' masks; returns the rows of claimed tokens outside their grammar."""
        if self._masks is None:
            return []
        masks = self._masks.of(pieces)
        if masks is not None:
            rows.mask(*masks)
        found = [(piece, self._masks.outside.get(piece.record, -1) - piece.start) for piece in pieces]
        return [piece.row + at for piece, at in found if 0 <= at < piece.count]

    def _adjust(
        self,
        rows: LogitRows,
        piece: RowSpan,
        record: Record,
        claimed_n: np.typing.NDArray[np.int64],
        raw_rank_n: np.typing.NDArray[np.int64],
    ) -> None:
        if piece.record not in self._adjustments:
            self._adjustments[piece.record] = LogitAdjustment(
                params=record.sampling,
                prompt_ids=record.prompt_token_ids,
                output_ids=record.output_token_ids,
                stop_ids=(*record.sampling.stop_token_ids, *self._identity.eos_ids),
                bad_word_ids=bad_word_ids(record.sampling.bad_words, self._tokenizer)
                if record.sampling.bad_words
                else (),
                order=record.engine.scheme.adjustments,
            )
        adjustment = self._adjustments[piece.record]
        if adjustment.is_identity:
            return
        where = np.arange(piece.row, piece.row + piece.count)
        raw_rank_n[where] = rows.rank(where, claimed_n[where])
        rows.adjust(piece.row, piece.count, piece.start, adjustment)


def bad_word_ids(words: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The token sequences that vLLM bans for bad words.

    Each word, and the word with a leading space where that is another spelling of the same length (docs/sampling.md,
    section 6.1).
    """
    banned: list[list[int]] = []
    for word in words:
        plain = tokenizer.encode(word.lstrip(), add_special_tokens=False)
        spaced = tokenizer.encode(" " + word.lstrip(), add_special_tokens=False)
        if plain:
            banned.append(plain)
        if spaced and plain and spaced[0] != plain[0] and len(spaced) == len(plain):
            banned.append(spaced)
    return banned


def _top_k(sampling: SamplingParams, vocabulary: int) -> int:
    off = sampling.is_greedy or sampling.top_k <= 0
    return vocabulary if off else min(sampling.top_k, vocabulary)
