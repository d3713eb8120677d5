"""Work units: records that are replayed together; the same ones whatever the executor."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from weightwarden.logger.record import Record

WINDOW_UNITS = 64
"""Length of the window of records that is grouped at once, in units; bounds memory and the distance between similar
prompts.
"""
WINDOW_RECORDS = 8192
FIRST_PREFIX = 64
"""Number of equal first tokens that makes two prompts alike. Shorter prompts are alike when they are equal."""


@dataclass(frozen=True)
class WorkUnit:
    """Records that are replayed together, and their places among all records of the run."""

    places: Sequence[int]
    records: Sequence[Record]

    def __len__(self) -> int:
        return len(self.places)

    @property
    def tokens(self) -> int:
        """Output tokens."""
        return sum(len(record.output_token_ids) for record in self.records)

    def halves(self) -> "tuple[WorkUnit, WorkUnit]":
        """The two halves of a unit of more than one record."""
        at = len(self) // 2
        return WorkUnit(self.places[:at], self.records[:at]), WorkUnit(self.places[at:], self.records[at:])


def work_units(records: Iterable[Record], unit_tokens: int) -> Iterator[WorkUnit]:
    """Units of about `unit_tokens` tokens, prompts included. Every record is in exactly one unit.

    The units depend only on the records and on `unit_tokens`. Within a window of records, those of one adapter are put
    together, since they are computed together. Among these, records whose prompts begin alike are put together, so that
    their common prefix is computed once. Among these, records of similar length are put together, so that batches hold
    little padding. Lazy: no more than a window is held.
    """
    window: list[tuple[int, Record]] = []
    tokens = 0
    for item in enumerate(records):
        window.append(item)
        tokens += _cost(item[1])
        if tokens >= WINDOW_UNITS * unit_tokens or len(window) == WINDOW_RECORDS:
            yield from _units(window, unit_tokens)
            window, tokens = [], 0
    yield from _units(window, unit_tokens)


def _units(window: Sequence[tuple[int, Record]], most: int) -> Iterator[WorkUnit]:
    """Runs of alike records, one after another, cut into units.

    A cut lies where a unit is full, or between two runs if the unit is then at least half full.
    """
    unit: list[tuple[int, Record]] = []
    tokens = 0  # computed tokens of the unit, with shared prefixes counted once
    for name in sorted({record.scheme_name for _, record in window}):
        for run in _runs_by_adapter([item for item in window if item[1].scheme_name == name], most):
            if 2 * tokens >= most and tokens + _tokens_of(run) > most:
                yield _unit(unit)
                unit, tokens = [], 0
            for item in run:
                if unit and tokens + _added(item, unit[-1]) > most:
                    yield _unit(unit)
                    unit, tokens = [], 0
                tokens += _added(item, unit[-1] if unit else None)
                unit.append(item)
        if unit:  # records of two schemes are not replayed together
            yield _unit(unit)
            unit, tokens = [], 0


def _runs_by_adapter(items: Sequence[tuple[int, Record]], most: int) -> list[list[tuple[int, Record]]]:
    """The runs of records without adapter, then those of each adapter."""
    groups: dict[str, list[tuple[int, Record]]] = {}
    for item in items:
        groups.setdefault(_adapter_of(item[1]), []).append(item)
    return [run for _, group in sorted(groups.items()) for run in _runs(group, FIRST_PREFIX, most)]


def _adapter_of(record: Record) -> str:
    """The digest of a record's adapter; empty without one."""
    return "" if record.adapter is None else record.adapter.digest


def _runs(items: Sequence[tuple[int, Record]], prefix: int, most: int) -> list[list[tuple[int, Record]]]:
    """Records in an order in which alike prompts follow each other, as runs that are better not cut.

    Records with the same first `prefix` prompt tokens are one run. A run larger than a unit is divided by longer
    prefixes.
    """
    groups: dict[tuple[int, ...], list[tuple[int, Record]]] = {}
    for item in items:
        groups.setdefault(tuple(item[1].prompt_token_ids[:prefix]), []).append(item)
    runs: list[list[tuple[int, Record]]] = []
    alone: list[tuple[int, Record]] = []
    for group in groups.values():
        longest = max(len(record.prompt_token_ids) for _, record in group)
        if len(group) == 1:
            alone += group
        elif longest > prefix and _tokens_of(_longest_first(group)) > most:
            runs += _runs(group, 4 * prefix, most)
        else:
            runs.append(_longest_first(group))
    return runs + [[item] for item in _longest_first(alone)]


def _longest_first(items: Sequence[tuple[int, Record]]) -> list[tuple[int, Record]]:
    return sorted(items, key=lambda item: (-_cost(item[1]), item[0]))


def _unit(items: Sequence[tuple[int, Record]]) -> WorkUnit:
    return WorkUnit([place for place, _ in items], [record for _, record in items])


def _tokens_of(run: Sequence[tuple[int, Record]]) -> int:
    """Tokens computed in the replay of a run."""
    return sum(_added(item, before) for before, item in zip([None, *run], run, strict=False))


def _added(item: tuple[int, Record], before: tuple[int, Record] | None) -> int:
    """Tokens computed in the replay of a record after a record with a prompt that may begin alike."""
    cost = _cost(item[1])
    if before is None or not cost or not before[1].output_token_ids:
        return cost
    if _adapter_of(item[1]) != _adapter_of(before[1]):
        return cost
    prompts = item[1].prompt_token_ids, before[1].prompt_token_ids
    most = min(map(len, prompts))
    shared = next((at for at, (one, other) in enumerate(zip(*prompts, strict=False)) if one != other), most)
    return cost - min(shared, len(prompts[0]) - 1) if shared >= FIRST_PREFIX else cost


def _cost(record: Record) -> int:
    """Tokens computed in the replay of a record, with the prompt of each of its requests; 0 without output."""
    if not record.output_token_ids:
        return 0
    return sum(len(one.prompt_token_ids) + len(one.output_token_ids) for _, one in record.requests())
