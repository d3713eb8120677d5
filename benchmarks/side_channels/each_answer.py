"""Channels in which each answer carries a symbol: by its start, by the server's retries, or by how it fails."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.attackers.hostile_source import HostileAnswer, Said, hostile_source
from benchmarks.results.tables.side_channels import SideChannelRow
from benchmarks.side_channels.behind_sidecar import running_sidecar
from benchmarks.side_channels.client import Asked, HeardAnswer, all_heard
from benchmarks.side_channels.release_control import ReleaseControl, timing_bits
from benchmarks.sidecar.token_source import FIRST_ID
from weightwarden.logger.record import Record
from weightwarden.logger.release import FIRST_SLOT_SECONDS, SLOT_RATIO, Pace, slot_seconds
from weightwarden.verifier.scoring.ledger import UNASKED_END_SHARE
from weightwarden.verifier.scoring.stopping import LABEL_BITS

TOKENS = 4
"""Number of tokens of an answer."""
CONTROLS = (ReleaseControl(), ReleaseControl(tick_ms=50), ReleaseControl(pace=Pace(tokens=TOKENS, milliseconds=100)))
FIRST_SLOT, SLOTS = 20, 9
"""First start slot that a server aims at, and their number: 0.87 to 5.2 seconds after the request."""
APART = 0.1
"""Seconds between two requests, so that they do not delay each other."""


@dataclass(frozen=True)
class Channel:
    """An encoder of a symbol in an answer, and its decoder.

    Attributes:
        name: its name.
        alphabet: number of different symbols.
        say: what becomes of the request that carries a symbol.
        hear: the symbol of an answer behind a control.
    """

    name: str
    alphabet: int
    say: Callable[[int], HostileAnswer]
    hear: Callable[[HeardAnswer, ReleaseControl], int]


def _tokens(wait: float = 0.0) -> list[Said]:
    return [Said(FIRST_ID + at, " token", wait if at == 0 else 0.0) for at in range(TOKENS)]


def _before_slot(symbol: int) -> HostileAnswer:
    """An answer that is there in the middle between two slots, and so starts on the later one."""
    slot = FIRST_SLOT + symbol
    return HostileAnswer(_tokens((slot_seconds(slot - 1) + slot_seconds(slot)) / 2))


def _slot(answer: HeardAnswer, control: ReleaseControl) -> int:
    after = 0.2 if control.pace is not None else -0.4  # a paced answer leaves on its slot, others half a slot before
    place = math.log(max(answer.seconds, FIRST_SLOT_SECONDS) / FIRST_SLOT_SECONDS) / math.log(SLOT_RATIO)
    return round(place - after) - FIRST_SLOT


_FAILURES = (
    HostileAnswer(_tokens()),
    HostileAnswer(_tokens()[:2], ends=False),
    HostileAnswer(statuses=(500, 500, 500)),
    HostileAnswer(statuses=(400,)),
)
"""An answer, a cut-off one, a failure after retries, and a refusal."""


def _failure(answer: HeardAnswer, _: ReleaseControl) -> int:
    if answer.status == 200:
        return int(answer.failed)
    return 2 if answer.seconds > 0.5 else 3


CHANNELS = (
    Channel("start of an answer", SLOTS, _before_slot, _slot),
    Channel(
        "retries",
        3,
        lambda symbol: HostileAnswer(_tokens(), statuses=(503,) * symbol),
        lambda answer, _: int(answer.seconds > 0.125) + int(answer.seconds > 0.5),
    ),
    Channel("how a request fails", 4, lambda symbol: _FAILURES[symbol], _failure),
)


def end_bits(record: Record) -> float:
    """Charge for a record's end (`StoppingRule.end_code_bits`, with the code's share of ends that nobody asked for)."""
    if record.finish_reason != "abort":
        return -math.log2(1 - UNASKED_END_SHARE)
    return math.log2(TOKENS + 1) + 1 + LABEL_BITS - math.log2(UNASKED_END_SHARE)


def measured(channel: Channel, control: ReleaseControl, answers: int, rng: np.random.Generator) -> SideChannelRow:
    """Send random symbols through a channel, and decode them behind a sidecar.

    With a pace the bound is what the ledger charges for the moments and the ends of the records.
    """
    symbols = rng.integers(0, channel.alphabet, answers)
    said = {1 + at: channel.say(int(symbol)) for at, symbol in enumerate(symbols)}
    asked = [Asked([1 + at], TOKENS, at * APART) for at in range(answers)]
    with hostile_source(said) as source, running_sidecar(source.url, control) as sidecar:
        heard = all_heard(sidecar.url, asked)
        records = sidecar.records(answers)
    decoded = np.array([channel.hear(answer, control) for answer in heard])
    return SideChannelRow(
        name=channel.name,
        control=control.name,
        tokens=sum(len(record.output_token_ids) for record in records),
        symbols=answers,
        alphabet=channel.alphabet,
        wrong=int((decoded != symbols).sum()),
        bound_bits=None if control.pace is None else _charged(records),
    )


def _charged(records: Sequence[Record]) -> float:
    return timing_bits(records) + sum(map(end_bits, records))
