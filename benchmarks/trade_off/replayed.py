"""Traffic that was replayed once, and kept as candidate tables, so that every score uses the same numbers."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np

from weightwarden.logger.record import Record
from weightwarden.sampler.types import BoolArray, IntArray
from weightwarden.verifier.calibration.threshold_choice import LOGIT_SLACKS, MASS_SLACKS
from weightwarden.verifier.candidates.table import CandidateTable
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.replay.replay import PlacedTable, Replay, Replayer
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES

WINDOW = Window(margin=MARGIN_EDGES[-1], logit_slacks=(0.0, *LOGIT_SLACKS), mass_slack=MASS_SLACKS[-1])
"""The window of calibration, and one without any slack for the published score."""


KIND = ", ".join(field.name for field in fields(CandidateTable)) + f"; {WINDOW}"
"""Version of the stored tables."""


@dataclass(frozen=True)
class Replayed:
    """A series of records, replayed in one precision."""

    records: list[Record]
    tables: list[PlacedTable]

    @cached_property
    def prompt_of_record(self) -> IntArray:
        """The number of each record's prompt: answers to one prompt are alike."""
        numbers: dict[tuple[int, ...], int] = {}
        prompts = [tuple(record.prompt_token_ids) for record in self.records]
        return np.array([numbers.setdefault(prompt, len(numbers)) for prompt in prompts])

    def half_of_prompts(self, seed: int) -> BoolArray:
        """The prompts that choose; the others judge. Bool [prompts], true for every other one in a random order."""
        prompts = int(self.prompt_of_record.max()) + 1
        half = np.zeros(prompts, np.bool_)
        half[np.random.default_rng(seed).permutation(prompts)[::2]] = True
        return half


def replayed(
    records: Sequence[Record], replayer: Callable[[], Replayer], cache: Path, progress: Callable[[int], None]
) -> Replayed:
    """The tables of a series: from the cache, or replayed and written there, all or none.

    Cached tables of an earlier version are replaced.
    """
    complete = cache / "complete"
    if not complete.exists() or complete.read_text(encoding="utf-8") != KIND:
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(parents=True)
        for number, placed in enumerate(Replay(replayer(), WINDOW, progress).tables(records)):
            columns = {field.name: getattr(placed.table, field.name) for field in fields(CandidateTable)}
            with (cache / f"{number:06}.npz").open("wb") as stream:
                np.savez(stream, record_n=placed.record_n, position_n=placed.position_n, **columns)
        complete.write_text(KIND, encoding="utf-8")
    return Replayed(list(records), [_read(path) for path in sorted(cache.glob("*.npz"))])


def _read(path: Path) -> PlacedTable:
    with np.load(path, allow_pickle=False) as stored:
        table = CandidateTable(**{field.name: stored[field.name] for field in fields(CandidateTable)})
        return PlacedTable(table, stored["record_n"], stored["position_n"])
