"""Reductions under way on a device, and the tables made from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from weightwarden.sampler.types import BoolArray, FloatArray, IntArray
from weightwarden.verifier.candidates.device.draws import DeviceDraws, on_device, sent
from weightwarden.verifier.candidates.device.noise import DeviceNoise
from weightwarden.verifier.candidates.device.reduction import (
    CONTRADICTED,
    EXACT,
    NOT_FINITE,
    UNFINISHED,
    Plan,
    Reduced,
    reduced,
)
from weightwarden.verifier.candidates.device.top_logits import TopKMethod
from weightwarden.verifier.candidates.draws import Draws, filters_of
from weightwarden.verifier.candidates.layout import Entries, at_levels, lay_out
from weightwarden.verifier.candidates.pending import PartTable, PendingTables
from weightwarden.verifier.candidates.window import HEAD_RESERVE, HEAD_SIZE, Window
from weightwarden.verifier.errors import UndefinedRow

_GROWTH = 16
_BLOCK_ELEMENTS = 1 << 24
"""Number of head entries reduced at a time; bounds memory: about 30 float64 arrays of this size."""
_PLACES_PER_ROW = 4
_FEW = 4
"""Largest number of other candidates that counts as few. Positions with none, few and more are laid out in separate
tables, so that few places are empty.
"""


@dataclass(frozen=True, kw_only=True)
class _Job:
    """The common part of all reductions of one chunk."""

    logits_mv: torch.Tensor
    draws: Draws
    device_draws: DeviceDraws
    window: Window
    selection: TopKMethod


@dataclass(frozen=True)
class _Copied:
    """`Reduced` in host memory once `ready` is reached. None: it is there already."""

    reduced: Reduced
    ready: torch.cuda.Event | None


def begun(
    logits_mv: torch.Tensor, draws: Draws, noise: DeviceNoise | None, window: Window, selection: TopKMethod
) -> PendingTables:
    """Start the reduction of a chunk's rows. The device's work is queued when this returns."""
    job = _Job(
        logits_mv=logits_mv,
        draws=draws,
        device_draws=on_device(draws, noise, logits_mv.device),
        window=window,
        selection=selection,
    )
    vocabulary = logits_mv.shape[1]
    cut = draws.filters.top_k_n < vocabulary
    size = max(HEAD_SIZE, int(draws.filters.top_k_n[cut].max(initial=0)) + HEAD_RESERVE)
    return _Pending.of(job, np.arange(len(draws.claimed_n)), size, _PLACES_PER_ROW)


@dataclass(frozen=True, kw_only=True)
class _Pending:
    """Some rows of a chunk, reduced with heads of one size, in blocks."""

    job: _Job
    rows: IntArray
    size: int
    places_per_row: int
    blocks: Sequence[tuple[IntArray, _Copied]]

    @classmethod
    def of(cls, job: _Job, rows: IntArray, size: int, places_per_row: int) -> "_Pending":
        vocabulary = job.logits_mv.shape[1]
        size = min(size, vocabulary)
        step = max(1, _BLOCK_ELEMENTS // max(size, places_per_row))
        blocks = [rows[start : start + step] for start in range(0, len(rows), step)]
        return cls(
            job=job,
            rows=rows,
            size=size,
            places_per_row=places_per_row,
            blocks=[(block, _launched(job, block, size, places_per_row)) for block in blocks],
        )

    def take(self) -> tuple[list[PartTable], "PendingTables | None"]:
        parts: list[PartTable] = []
        again: list[IntArray] = []
        lost = False
        for rows, copied in self.blocks:
            if copied.ready is not None:
                copied.ready.synchronize()
            found = copied.reduced
            flags = found.claimed_words.numpy()[:, 0]
            if (flags & NOT_FINITE).any():
                raise UndefinedRow("the replay gave a row of logits with no finite maximum; try --dtype float32")
            if found.counts[2:].any():  # there are more candidates than places
                again.append(rows)
                lost = True
                continue
            unfinished = (flags & UNFINISHED) > 0
            again.append(rows[unfinished])
            parts.extend(_tables(found, rows, ~unfinished, self.job))
        left = np.concatenate(again)
        if not len(left):
            return parts, None
        wider = not lost or self.places_per_row > HEAD_SIZE
        size = self.size * (_GROWTH if wider else 1)
        places = self.places_per_row * (_GROWTH if lost else 1)
        return parts, _Pending.of(self.job, left, size, places)


def _launched(job: _Job, rows: IntArray, size: int, places_per_row: int) -> _Copied:
    """Queue the reduction of some rows, and the copy of the result."""
    filters, logits, draws = job.draws.filters, job.logits_mv, job.device_draws
    vocabulary = logits.shape[1]
    if len(rows) < len(logits):
        index = sent(torch.from_numpy(rows), logits.device)
        logits, draws = logits[index], draws.take(index)
    nucleus = filters.top_p_n[rows] < 1
    open_ended = (filters.top_k_n[rows] >= vocabulary) & (job.draws.noise is not None) & (size < vocabulary)
    plan = Plan(
        size=size,
        mass=bool((nucleus & open_ended).any()),
        tail=bool((~nucleus & open_ended).any()),
        selection=job.selection,
        places_per_row=places_per_row,
    )
    found = reduced(logits, draws, job.window, plan)
    on_gpu = logits.device.type == "cuda"
    copies = {
        name: torch.empty(t.shape, dtype=t.dtype, pin_memory=on_gpu).copy_(t, non_blocking=on_gpu)
        for name, t in found.tensors.items()
    }
    ready = torch.cuda.current_stream(logits.device).record_event() if on_gpu else None
    return _Copied(Reduced(**copies, head_places=found.head_places), ready)


def _tables(found: Reduced, rows: IntArray, finished: BoolArray, job: _Job) -> list[PartTable]:
    """Tables of the finished positions: those with no other candidate, with few, and with more."""
    in_head, in_tail = int(found.counts[0]), int(found.counts[1])
    first = found.head_places
    numbers, words = found.other_numbers.numpy(), found.other_words.numpy()
    tail = np.lexsort((words[first : first + in_tail, 1], words[first : first + in_tail, 0]))
    at = np.concatenate([np.arange(in_head), first + tail])
    numbers, words = numbers[at], words[at].astype(np.int64)
    counts = np.bincount(words[:, 0], minlength=len(rows))
    claimed_numbers = found.claimed_numbers.numpy()
    claimed_words = found.claimed_words.numpy()
    parts = []
    for low, high in ((0, 0), (1, _FEW), (_FEW + 1, len(words))):
        which = finished & (counts >= low) & (counts <= high)
        here = np.flatnonzero(which)
        if not len(here):
            continue
        place = np.cumsum(which) - 1
        mine = which[words[:, 0]]
        flags, logit_rank, gumbel_rank = claimed_words[here].astype(np.int64).T
        table = lay_out(
            _entries(
                job.draws, rows[here], np.arange(len(here)), job.draws.claimed_n[rows[here]], claimed_numbers[here]
            ),
            _entries(job.draws, rows[words[mine, 0]], place[words[mine, 0]], words[mine, 1], numbers[mine]),
            filters=filters_of(job.draws.filters, rows[here]),
            exact_n=(flags & EXACT) > 0,
            logit_rank_n=logit_rank,
            gumbel_rank_n=gumbel_rank,
            contradicted_n=(flags & CONTRADICTED) > 0,
        )
        parts.append(PartTable(rows[here], table))
    return parts


def _entries(draws: Draws, position: IntArray, row: IntArray, token: IntArray, numbers: FloatArray) -> Entries:
    """Entries in rows of a table.

    Args:
        position: positions of the rows among the draws.
    """
    levels = (numbers.shape[1] - 2) // 2
    error = _errors(draws, position, token)
    return Entries(
        row=row,
        token=token,
        score=numbers[:, 0],
        score_min_e=at_levels(numbers[:, 0] - error, levels),
        score_max_e=at_levels(numbers[:, 0] + error, levels),
        distance=numbers[:, 1],
        mass_min_e=numbers[:, 2 : 2 + levels],
        mass_max_e=numbers[:, 2 + levels :],
        slope=np.ones(len(row)),
    )


def _errors(draws: Draws, position: IntArray, token: IntArray) -> FloatArray:
    """Largest differences between the engine's own perturbed logits and ours, logits."""
    noise, temperature = draws.noise, draws.temperature_n[position]
    if noise is None or draws.keys_n is None:
        return np.zeros_like(temperature)
    if noise.tolerance is not None:
        return temperature * noise.tolerance
    return temperature * noise.error(noise.at(draws.keys_n[position], token[:, None]))[:, 0]
