"""Measures of released traffic: first tokens, rates, underruns, and the bits of its moments."""

from collections.abc import Sequence

import numpy as np

from benchmarks.release.large_server import ServedAnswer
from benchmarks.release.release_rule import paced
from benchmarks.results.tables.release_pace import ReleasePaceRow
from benchmarks.side_channels.behind_sidecar import RunningSidecar
from benchmarks.side_channels.client import Asked, all_heard
from benchmarks.side_channels.release_control import ReleaseControl
from weightwarden.logger.record import Engine, Record
from weightwarden.logger.release import Release
from weightwarden.sampler.params import SamplingParams
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.scoring.release_ledger import ReleaseCounter, ReleaseTable
from weightwarden.verifier.statistics.exfiltration import TimingChannel

_ENGINE = Engine(name="vllm", version="0.32.0", sampler="vllm-cpu")


def by_rule(server: str, answers: Sequence[ServedAnswer], control: ReleaseControl) -> ReleasePaceRow:
    """The row of answers as they would leave at their token times."""
    tokens = [len(answer.token_seconds) for answer in answers]
    if control.pace is None:
        left = [_on_ticks(answer, control) for answer in answers]
        return _row(server, "rule", control, left, tokens, None)
    released = [paced(answer.token_seconds, control.pace) for answer in answers]
    left = [one.group_seconds for one in released]
    return _row(server, "rule", control, left, tokens, release_table([one.release for one in released], answers))


def release_table(releases: Sequence[Release], answers: Sequence[ServedAnswer]) -> ReleaseTable:
    """The counts of the releases of answers, as their records would hold them."""
    counter = ReleaseCounter()
    for release, answer in zip(releases, answers, strict=True):
        counter.add(_record(len(answer.token_seconds)).model_copy(update={"release": release}))
    return counter.table


def _on_ticks(answer: ServedAnswer, control: ReleaseControl) -> FloatArray:
    if control.tick_ms is None:
        return answer.token_seconds
    tick = control.tick_ms / 1000
    return np.ceil((answer.arrives + answer.token_seconds) / tick) * tick - answer.arrives


def _record(tokens: int) -> Record:
    """A record of so many tokens."""
    return Record(
        engine=_ENGINE,
        model="simulated",
        prompt_token_ids=[0],
        output_token_ids=[0] * tokens,
        seed=0,
        choice_index=0,
        sampling=SamplingParams(),
        finish_reason="stop",
        stop_reason=None,
    )


def by_sidecar(server: str, sidecar: RunningSidecar, asked: Sequence[Asked], control: ReleaseControl) -> ReleasePaceRow:
    """The row of requests to a real sidecar with this control.

    Raises:
        RuntimeError: an answer failed.
    """
    heard = all_heard(sidecar.url, asked)
    if any(answer.status != 200 or answer.failed for answer in heard):
        raise RuntimeError(f"answers failed: {sorted({answer.status for answer in heard})}")
    left = [np.array([token.at - answer.asked for token in answer.tokens]) for answer in heard]
    records = sidecar.records(len(heard))
    counter = ReleaseCounter()
    for record in records:
        counter.add(record)
    table = counter.table if control.pace is not None else None
    return _row(server, "sidecar", control, left, [len(times) for times in left], table)


def _row(
    server: str,
    how: str,
    control: ReleaseControl,
    left: Sequence[FloatArray],
    tokens: Sequence[int],
    table: ReleaseTable | None,
) -> ReleasePaceRow:
    """The row of answers.

    Args:
        server: the server.
        how: `rule` or `sidecar`.
        control: the control.
        left: moments of each answer, seconds after its request.
        tokens: tokens of each answer.
        table: counts of the releases, with a pace.
    """
    whole = sum(tokens)
    firsts = np.array([times[0] for times in left])
    rates = [_rate(times, count) for times, count in zip(left, tokens, strict=True)]
    waits = np.array([times[1] - times[0] for times in left if len(times) > 1])
    bits: float | None = None
    if table is not None:
        bits = table.bits / whole
    elif control.tick_ms is not None:
        per_tick = control.tick_ms / 1000 * float(np.nanmean(rates))
        bits = TimingChannel(tokens_per_tick=per_tick).bits_per_token
    return ReleasePaceRow(
        server=server,
        how=how,
        control=control.name,
        answers=len(left),
        tokens=whole,
        first_p50_ms=1000 * float(np.quantile(firsts, 0.5)),
        first_p99_ms=1000 * float(np.quantile(firsts, 0.99)),
        second_p50_ms=1000 * float(np.quantile(waits, 0.5)) if len(waits) else None,
        second_p99_ms=1000 * float(np.quantile(waits, 0.99)) if len(waits) else None,
        tokens_per_second=float(np.nanmedian(rates)),
        underrun_share=None if table is None else table.underruns / max(table.ticks, 1),
        bits_per_token=bits,
    )


def _rate(times: FloatArray, tokens: int) -> float:
    """Tokens a second after the first one, or nan if all of them left with it."""
    seconds = float(times[-1] - times[0])
    return (tokens - 1) / seconds if seconds > 0 else float("nan")
