"""Paced release on realistic traffic: the bits of its moments, first tokens, and tokens a second.

    python -m benchmarks.release [--out FOLDER] [--answers 5000]
    python -m benchmarks.release [--out FOLDER] --vllm-python PYTHON

The simulated server is one of a 70B model: 25 to 32 ms a token, prompts that delay the streams, preemptions of seconds,
bursts of requests. The gate's rule is applied to its token times for many paces. A real sidecar serves some of them,
with the simulated server as its upstream. With `--vllm-python` a real vLLM server is the upstream instead.
"""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click
import numpy as np

from benchmarks.attackers.hostile_source import HostileAnswer, Said, hostile_source
from benchmarks.recording.vllm_server import vllm_server
from benchmarks.release.large_server import LARGE, SMALL, ServedAnswer, served
from benchmarks.release.measures import by_rule, by_sidecar
from benchmarks.results.file import Results
from benchmarks.results.tables.release_pace import RELEASE_PACE, ReleasePaceRow
from benchmarks.side_channels.behind_sidecar import running_sidecar
from benchmarks.side_channels.client import Asked
from benchmarks.side_channels.release_control import ReleaseControl
from benchmarks.sidecar.token_source import FIRST_ID
from weightwarden.logger.release import Pace
from weightwarden.verifier.model.embedded import ensure_embedded_model

REAL = "vLLM 0.32, CPU"
TICK_MS = 50
PACES = ("1/50", "2/100", "4/150", "4/200", "8/250", "8/300", "8/350", "8/400", "16/600", "16/800")
SERVED_PACES = ("2/100", "4/200", "8/400", "16/800")
"""The paces with which a real sidecar serves the simulated server's answers."""
SLACK = (1.25, 1.5)
"""Time a token of the paces for vLLM, against the server's own mean without a pace."""
REAL_TOKENS, REAL_GROUP, REAL_APART = 100, 4, 0.7
"""Tokens of vLLM's answers, tokens of a group, and seconds between two requests."""


def _controls(paces: tuple[str, ...]) -> list[ReleaseControl]:
    return [
        ReleaseControl(),
        ReleaseControl(tick_ms=TICK_MS),
        *(ReleaseControl(pace=Pace.parse(pace)) for pace in paces),
    ]


@click.command(help=__doc__)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for release-pace.json or release-pace-vllm.json, and .md."
)
@click.option("--answers", type=click.IntRange(1), default=5000, show_default=True, help="For the gate's rule.")
@click.option("--served-answers", type=click.IntRange(1), default=100, show_default=True, help="Through a sidecar.")
@click.option("--vllm-python", type=click.Path(path_type=Path, exists=True), help="Interpreter that has vLLM.")
@click.option("--vllm-answers", type=click.IntRange(1), default=40, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(
    out: Path | None, answers: int, served_answers: int, vllm_python: Path | None, vllm_answers: int, seed: int
) -> None:
    rows: list[ReleasePaceRow] = []

    def add(row: ReleasePaceRow) -> ReleasePaceRow:
        rows.append(row)
        click.echo(RELEASE_PACE.line(row))
        return row

    name = "release-pace"
    settings = {"answers": answers, "served_answers": served_answers, "seed": seed}
    if vllm_python is not None:
        name, settings = "release-pace-vllm", {"answers": vllm_answers}
        _vllm(vllm_python, vllm_answers, add)
    else:
        for machine in (LARGE, SMALL):
            simulated = served(machine, answers, np.random.default_rng([seed, 0]))
            for control in _controls(PACES):
                add(by_rule(machine.name, simulated, control))
        _serve(served(LARGE, served_answers, np.random.default_rng([seed, 1])), add)
    if out is not None:
        RELEASE_PACE.write(out, name, Results[ReleasePaceRow].measured(rows, settings))


def _serve(simulated: list[ServedAnswer], add: Callable[[ReleasePaceRow], ReleasePaceRow]) -> None:
    """Serve the answers through a real sidecar, at the times of their arrival."""
    waits = {1 + at: np.diff(answer.token_seconds, prepend=0.0) for at, answer in enumerate(simulated)}
    answers = {
        number: HostileAnswer([Said(FIRST_ID, " token", float(wait)) for wait in waits_t])
        for number, waits_t in waits.items()
    }
    began = min(answer.arrives for answer in simulated)
    asked = [Asked([1 + at], len(answer.token_seconds), answer.arrives - began) for at, answer in enumerate(simulated)]
    for control in _controls(SERVED_PACES):
        with hostile_source(answers) as source, running_sidecar(source.url, control) as sidecar:
            add(by_sidecar(LARGE.name, sidecar, asked, control))


def _vllm(python: Path, answers: int, add: Callable[[ReleasePaceRow], ReleasePaceRow]) -> None:
    """Answers of a real server: first without a pace, then at paces that are slower than that."""
    asked = [Asked([1000 + at], REAL_TOKENS, at * REAL_APART) for at in range(answers)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(vllm_server(python, ensure_embedded_model(), folder / "vllm.log"))
        options = ("--upstream-model", server.served_model()[0], "--max-model-len", "2048")

        def measured(control: ReleaseControl) -> ReleasePaceRow:
            with running_sidecar(server.url, control, *options) as sidecar:
                return add(by_sidecar(REAL, sidecar, asked, control))

        free = measured(ReleaseControl())
        for slack in SLACK:
            milliseconds = round(1000 * slack * REAL_GROUP / free.tokens_per_second)
            measured(ReleaseControl(pace=Pace(tokens=REAL_GROUP, milliseconds=milliseconds)))


if __name__ == "__main__":
    main()
