"""What a server says beside its tokens, through a real sidecar: the text's spelling, and when tokens come.

    python -m benchmarks.side_channels [--out FOLDER] [--tokens 400]

An attacker's server hides bits in white space of the text that it sends, in pauses between tokens (short and long), and
in pauses of whole ticks; a client behind `sidecar run` decodes what reaches it, without ticks and with a tick of 50 ms.
The bound of timing is the most that pauses with that mean can say (`verifier.statistics.exfiltration.Timing`).
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import httpx2
import numpy as np

from benchmarks.attackers.hostile_source import Said, hostile_source
from benchmarks.attackers.results import LUCK_BITS
from benchmarks.environment import environment
from benchmarks.free_port import free_port
from benchmarks.sidecar import await_port, sidecar_command
from benchmarks.token_source import FIRST_ID
from cli.files import write_text
from sampler.types import IntArray
from verifier.statistics.bandwidth import binary_entropy
from verifier.statistics.exfiltration import Timing

TICK_MS = 50
SHORT, LONG = 0.005, 0.025
"""Pauses, seconds."""
PER_ANSWER = 50
"""Tokens of an answer."""


@dataclass(frozen=True)
class Heard:
    """A token as the client gets it: when, seconds, and with which text."""

    at: float
    text: str


@dataclass(frozen=True)
class Channel:
    """A way to say a bit with each token, and to hear it: bits of an answer from its tokens."""

    name: str
    say: Callable[[int, int], Said]
    hear: Callable[[Sequence[Heard]], IntArray]


def _spelled(token: int, bit: int) -> Said:
    return Said(token, " token" + (" " if bit else ""))


def _paused(token: int, bit: int) -> Said:
    return Said(token, " token", LONG if bit else SHORT)


def _ticked(token: int, bit: int) -> Said:
    return Said(token, " token", (2 if bit else 1) * TICK_MS / 1000)


def _pauses(heard: Sequence[Heard]) -> np.typing.NDArray[np.float64]:
    times = np.array([one.at for one in heard])
    return np.diff(times, prepend=times[:1])


CHANNELS = (
    Channel("white space", _spelled, lambda heard: np.array([one.text.endswith("  ") for one in heard], np.int64)),
    Channel("short and long pauses", _paused, lambda heard: (_pauses(heard) > (SHORT + LONG) / 2).astype(np.int64)),
    Channel("pauses of one and two ticks", _ticked, lambda heard: (_pauses(heard) > 0.0015 * TICK_MS).astype(np.int64)),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of a channel. decoded_bits: n (1 - h2(e / n)) of n bits with e errors. bound_bits: None is open."""

    name: str
    tick_ms: int | None
    tokens: int
    offered_bits: int
    wrong_bits: int
    decoded_bits: float
    bound_bits: float | None

    @property
    def bound_kept(self) -> bool:
        """Whether no more arrived than the bound, and luck, allow."""
        return self.bound_bits is None or self.decoded_bits <= self.bound_bits + LUCK_BITS


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for side-channels.json and .md.")
@click.option("--tokens", type=click.IntRange(PER_ANSWER), default=400, show_default=True, help="Of each channel.")
@click.option("--seed", default=0, show_default=True)
def main(out: Path | None, tokens: int, seed: int) -> None:
    rows = [
        measured(channel, tick, tokens, np.random.default_rng([seed, at]))
        for at, channel in enumerate(CHANNELS)
        for tick in (None, TICK_MS)
    ]
    table = markdown(rows)
    click.echo(table)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        said = {"environment": environment(), "seed": seed, "rows": [asdict(row) for row in rows]}
        write_text(out / "side-channels.json", json.dumps(said, indent=1) + "\n")
        write_text(out / "side-channels.md", table)


def measured(channel: Channel, tick_ms: int | None, tokens: int, rng: np.random.Generator) -> Row:
    """Say random bits through a channel, and hear them behind a sidecar."""
    numbers = range(1, 1 + tokens // PER_ANSWER)
    payload = {number: rng.integers(0, 2, PER_ANSWER) for number in numbers}
    answers = {
        number: [channel.say(FIRST_ID + at, int(bit)) for at, bit in enumerate(bits)]
        for number, bits in payload.items()
    }
    wrong = 0
    seconds = 0.0
    with hostile_source(answers) as upstream, running_sidecar(upstream, tick_ms) as sidecar:
        for number, bits in payload.items():
            heard = list(listened(sidecar, number))
            # Of the first token's pause the client does not know when it began.
            wrong += int((channel.hear(heard)[1:] != bits[1:]).sum())
            seconds += heard[-1].at - heard[0].at
    offered = len(payload) * (PER_ANSWER - 1)
    share = min(wrong / offered, 0.5)
    of_tokens = (
        offered * Timing(tokens_per_tick=offered / (1000 * seconds / tick_ms)).bits_per_token if tick_ms else None
    )
    return Row(
        name=channel.name,
        tick_ms=tick_ms,
        tokens=len(payload) * PER_ANSWER,
        offered_bits=offered,
        wrong_bits=wrong,
        decoded_bits=offered * (1 - binary_entropy(share)),
        bound_bits=0.0 if channel.name == "white space" else of_tokens,
    )


def listened(url: str, number: int) -> Iterator[Heard]:
    """The tokens of an answer as they come."""
    body = {"model": "source", "prompt": [number, 1], "max_tokens": PER_ANSWER, "stream": True, "ignore_eos": True}
    with httpx2.stream("POST", f"{url}/v1/completions", json=body, timeout=60, trust_env=False) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                [choice] = json.loads(line.removeprefix("data: "))["choices"]
                if choice["finish_reason"] is None or choice["text"]:
                    yield Heard(time.perf_counter(), choice["text"])


@contextmanager
def running_sidecar(upstream: str, tick_ms: int | None) -> Iterator[str]:
    """The URL of a sidecar before the upstream, with a log of its own."""
    port = free_port()
    with tempfile.TemporaryDirectory() as scratch:
        ticks = [] if tick_ms is None else ["--tick", str(tick_ms)]
        command = sidecar_command(Path(scratch), upstream, port, *ticks)
        process = subprocess.Popen([sys.executable, "-m", *command], stderr=subprocess.DEVNULL)  # noqa: S603  (ours)
        try:
            await_port(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = [
        "| channel | tick | tokens | bits offered | wrong | decoded | bound | kept |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        cells: Mapping[str, str] = {
            "name": row.name,
            "tick": "none" if row.tick_ms is None else f"{row.tick_ms} ms",
            "tokens": str(row.tokens),
            "offered": str(row.offered_bits),
            "wrong": str(row.wrong_bits),
            "decoded": f"{row.decoded_bits:.0f}",
            "bound": "open" if row.bound_bits is None else f"{row.bound_bits:.0f}",
            "kept": "-" if row.bound_bits is None else "yes" if row.bound_kept else "NO",
        }
        lines.append("| " + " | ".join(cells.values()) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
