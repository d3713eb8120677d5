"""Rows with only some logits known: the largest, the claimed token's, and a ceiling for all others."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from weightwarden.sampler.logits import LogitAdjustment
from weightwarden.sampler.types import FloatArray, IntArray
from weightwarden.verifier.errors import UndefinedRow
from weightwarden.verifier.logits.row_slopes import RowSlopes
from weightwarden.verifier.logits.token_masks import (
    EVERYTHING,
    PackedMasks,
    TokenMasks,
    allowed_counts,
    is_allowed,
    words_of,
)


@dataclass(frozen=True)
class KnownLogits:
    """Known raw logits of m output positions.

    Attributes:
        ids_mk: token ids, one row a position; unused places are -1.
        logits_mk: logits of these tokens, float64; unused places are -inf.
        ceiling_m: upper bound of all other tokens' logits (there may be ties with it).
        claimed_rank_m: rank of the claimed token in the whole row, ties counted above it.
        drawn_m: the token that the trusted engine was observed to draw; -1 where none was.
        claim_only_m: the claimed token where its logit is known only because it is claimed; else -1.
    """

    ids_mk: IntArray
    logits_mk: FloatArray
    ceiling_m: FloatArray
    claimed_rank_m: IntArray
    drawn_m: IntArray
    claim_only_m: IntArray

    def __len__(self) -> int:
        return len(self.ids_mk)

    def append(self, more: "KnownLogits") -> "KnownLogits":
        """These positions, followed by others."""
        width = max(self.ids_mk.shape[1], more.ids_mk.shape[1])
        first, second = self._wide(width), more._wide(width)
        return KnownLogits(
            **{f.name: np.concatenate([getattr(p, f.name) for p in (first, second)]) for f in fields(self)}
        )

    def with_token(self, position: int, token: int, logit: float) -> "KnownLogits":
        """The same logits with one more token of one position known."""
        wider = self._wide(self.ids_mk.shape[1] + 1)
        wider.ids_mk[position, -1], wider.logits_mk[position, -1] = token, logit
        return wider

    def _wide(self, width: int) -> "KnownLogits":
        """A copy with `width` places a position."""
        spare = ((0, 0), (0, width - self.ids_mk.shape[1]))
        return replace(
            self,
            ids_mk=np.pad(self.ids_mk, spare, constant_values=-1),
            logits_mk=np.pad(self.logits_mk, spare, constant_values=-np.inf),
        )

    def masked(self, packed_mw: PackedMasks, allowed_m: IntArray) -> "KnownLogits":
        """The same logits where masks exclude tokens: what is not allowed has logit -inf, and nobody drew it.

        Where every allowed token is known, the ceiling is -inf. A token that alone is allowed is known whatever is
        claimed.

        Args:
            allowed_m: number of tokens that each mask allows.
        """
        row = np.arange(len(self))
        held = is_allowed(packed_mw, row[:, None], self.ids_mk)
        drawn = is_allowed(packed_mw, row, self.drawn_m)
        alone = (allowed_m == 1) & is_allowed(packed_mw, row, self.claim_only_m)
        claim_only = np.where(alone, -1, self.claim_only_m)
        known = (held & (self.ids_mk != claim_only[:, None])).sum(axis=1)
        return replace(
            self,
            logits_mk=np.where(held, self.logits_mk, -np.inf),
            ceiling_m=np.where(known < allowed_m, self.ceiling_m, -np.inf),
            drawn_m=np.where(drawn, self.drawn_m, -1),
            claim_only_m=claim_only,
        )

    def rows(self, which: slice) -> "KnownLogits":
        """The positions of a slice."""
        return KnownLogits(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


@dataclass(frozen=True)
class _Adjusted:
    """One choice's adjustment of rows [first, first + count), the first of which is output position `start`."""

    first: int
    count: int
    start: int
    adjustment: LogitAdjustment


class CandidateRows:
    """`LogitRows` over `KnownLogits`.

    A subclass that can learn more overrides `draw_again` and `deepen`, and calls `replace`.
    """

    def __init__(self, known: KnownLogits, vocabulary: int) -> None:
        self._vocabulary = vocabulary
        self._masks: PackedMasks | None = None
        self._candidates = np.full(len(known), vocabulary)
        self._adjusted: list[_Adjusted] = []
        self._slopes = RowSlopes(len(known))
        self.replace(known)

    def replace(self, known: KnownLogits) -> None:
        """Replace the known logits. Masks and adjustments made before are made again.

        Raises:
            ReplayError: a logit is nan or +inf, or a row holds nothing finite.
        """
        if np.isnan(known.logits_mk).any() or not np.isfinite(known.logits_mk.max(axis=1)).all():
            raise UndefinedRow("the replay gave a row of logits with no finite maximum")
        self._whole_known = known
        if self._masks is not None:
            known = known.masked(self._masks, self._candidates)
        self._known = known
        spare = ((0, 0), (0, 1))  # for positions where masks leave no known token
        self._ids = np.pad(known.ids_mk, spare, constant_values=-1)
        self._logits = np.pad(known.logits_mk, spare, constant_values=-np.inf)
        self._ceiling = known.ceiling_m.copy()
        self._base = known.ceiling_m.copy()
        self._bounds: list[tuple[_Adjusted, FloatArray]] = []
        self._slopes.clear()
        for item in self._adjusted:
            self._apply(item)
        self._fill_empty(slice(None))

    @property
    def vocabulary(self) -> int:
        return self._vocabulary

    @property
    def whole(self) -> bool:
        return False

    def __len__(self) -> int:
        return len(self._known)

    def head(self, rows: IntArray, size: int) -> tuple[FloatArray, IntArray]:
        values, ids = self._logits[rows], self._ids[rows]
        if np.isneginf(values.max(axis=1)).any():
            raise UndefinedRow("masks leave no token of a row")
        order = np.argsort(-values, axis=1, kind="stable")
        return np.take_along_axis(values, order, 1), np.take_along_axis(ids, order, 1)

    def at(self, rows: IntArray, ids: IntArray) -> FloatArray:
        match = self._ids[rows] == ids[:, None]
        if not match.any(axis=1).all():
            raise KeyError("a token that is not held")
        values: FloatArray = self._logits[rows, match.argmax(axis=1)]
        return values

    def rank(self, rows: IntArray, claimed: IntArray) -> IntArray:
        known = self._known
        value = known.logits_mk[rows, (known.ids_mk[rows] == claimed[:, None]).argmax(axis=1)]
        counted = (known.logits_mk[rows] >= value[:, None]).sum(axis=1)
        return np.where(value > known.ceiling_m[rows], counted, known.claimed_rank_m[rows])

    def ceilings(self) -> FloatArray:
        return self._ceiling

    def bounds(self, rows: IntArray, ids: IntArray) -> FloatArray:
        bounds = self._base[rows]
        for item, bounds_nu in self._bounds:
            touched = item.adjustment.touched_ids
            inside = np.flatnonzero((rows >= item.first) & (rows < item.first + item.count))
            column = np.searchsorted(touched, ids[inside])
            found = column < len(touched)
            found[found] = touched[column[found]] == ids[inside][found]
            at = inside[found]
            bounds[at] = bounds_nu[rows[at] - item.first, column[found]]
            if item.adjustment.allowed_ids is not None:
                bounds[inside[~np.isin(ids[inside], item.adjustment.allowed_ids)]] = -np.inf
        if self._masks is not None:
            bounds[~is_allowed(self._masks, rows, ids)] = -np.inf
        return bounds

    def drawn(self) -> IntArray:
        return self._known.drawn_m

    def claim_only(self) -> IntArray:
        return self._known.claim_only_m

    def draw_again(self) -> bool:
        """False: there is no engine here."""
        return False

    def deepen(self, rows: IntArray) -> bool:
        """False: nothing more is known here."""
        return False

    def mask(self, first_row: int, masks: TokenMasks) -> None:
        if self._masks is None:
            self._masks = np.full((len(self), words_of(self._vocabulary)), EVERYTHING)
        self._masks[first_row : first_row + len(masks)] = masks.packed_nw
        self._candidates = allowed_counts(self._masks, self._vocabulary)
        self.replace(self._whole_known)

    def candidates(self) -> IntArray:
        return self._candidates

    def adjust(self, first_row: int, count: int, start: int, adjustment: LogitAdjustment) -> None:
        item = _Adjusted(first_row, count, start, adjustment)
        self._adjusted.append(item)
        self._apply(item)
        self._fill_empty(slice(first_row, first_row + count))

    def log_mass(self, rows: IntArray, temperature: FloatArray, floor: FloatArray, largest: FloatArray) -> FloatArray:
        raise NotImplementedError("rows that are not whole have no mass")

    def slopes(self, rows: IntArray, ids: IntArray) -> FloatArray:
        return self._slopes.at(rows, ids)

    def steepest(self) -> FloatArray:
        return self._slopes.steepest()

    def row(self, row: int) -> NDArray[np.float32]:
        raise NotImplementedError("rows that are not whole")

    def _apply(self, item: _Adjusted) -> None:
        """Adjust the known logits, and bound the touched tokens that are not known.

        An adjustment never falls as its logit rises, so that the adjusted ceiling bounds the adjusted logit.
        """
        rows = slice(item.first, item.first + item.count)
        touched = item.adjustment.touched_ids
        ids = self._known.ids_mk[rows]
        if len(touched):
            ceilings = np.repeat(self._known.ceiling_m[rows, None], len(touched), axis=1)
            raw = ceilings.astype(np.float32)
            column = np.searchsorted(touched, ids)
            held = (column < len(touched)) & (ids >= 0)
            held[held] = touched[column[held]] == ids[held]
            row, place = np.nonzero(held)
            raw[row, column[row, place]] = self._known.logits_mk[rows][row, place]
            self._slopes.add(item.first, item.start, item.adjustment, raw)
            adjusted = item.adjustment.adjusted(item.start, raw).astype(np.float64)
            self._logits[rows][row, place] = adjusted[row, column[row, place]]
            bounded = adjusted
            claim_only = self._known.claim_only_m[rows]
            if (claim_only >= 0).any():  # the bounds of other tokens do not depend on such a claim
                bounded = item.adjustment.adjusted(item.start, ceilings.astype(np.float32)).astype(np.float64)
            unheld = np.ones(adjusted.shape, np.bool_)
            others = ids[row, place] != claim_only[row]
            unheld[row[others], column[row, place][others]] = False
            if self._masks is not None:
                at = np.arange(item.first, item.first + item.count)
                unheld &= is_allowed(self._masks, at[:, None], touched[None, :])
            largest = np.where(unheld, bounded, -np.inf).max(axis=1)
        else:
            adjusted, largest = np.empty((item.count, 0)), np.full(item.count, -np.inf)
        if item.adjustment.allowed_ids is not None:
            self._logits[rows][~np.isin(self._ids[rows], item.adjustment.allowed_ids)] = -np.inf
        self._ceiling[rows] = np.maximum(self._ceiling[rows], largest)
        self._bounds.append((item, adjusted))

    def _fill_empty(self, rows: slice) -> None:
        """Fill rows in which masks leave no known token: an unknown one is the choice, a known claimed one outside."""
        empty = np.arange(len(self))[rows][np.isneginf(self._logits[rows].max(axis=1))]
        self._logits[empty, -1] = self._ceiling[empty]
