"""Throughput of `vllm-local` as a share of its engine's bare prefill, beside transformers and a vLLM server.

The bare prefill is the minimum for any replay on that engine: the same sequences in the same batches, one token drawn
after each, no state kept. All run in turns on small groups of records, several rounds each; sums over groups of the
median times are compared. Tokens are output tokens. vLLM's packages come from another environment of the same Python
and torch, after those of this interpreter; the server is started from there.

    python -m benchmarks.local_replay --vllm-python .venv-vllm/bin/python --out FOLDER [--dtype float32] [TRAFFIC...]
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
import numpy as np

from benchmarks.environment import environment
from benchmarks.recording.vllm_server import settings_here, vllm_server
from benchmarks.repository import BUNDLED_POLICY, DATA
from benchmarks.throughput.replay import timed
from weightwarden.cli.options.replayer import identity_of
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.verifier.model.tokenizer import load_tokenizer
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.replay import Replayer
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.replay.vllm.replayer import VllmReplayer
from weightwarden.verifier.replay.vllm_local.replayer import VllmLocalReplayer
from weightwarden.verifier.verification.verifier import Verifier

TRAFFIC = (DATA / "smollm2-vllm0.32-t1.0-p0.95-k50.jsonl",)
BARE, LOCAL, TRANSFORMERS, SERVER = "bare prefill", "vllm-local", "transformers", "vllm server"


@click.command()
@click.argument("traffic", nargs=-1, type=click.Path(path_type=Path))
@click.option("--vllm-python", required=True, type=click.Path(path_type=Path), help="Interpreter with vLLM.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for local-replay.json.")
@click.option("--policy", "policy_path", type=click.Path(path_type=Path), default=BUNDLED_POLICY)
@click.option("--model", "model_name", default=None, help="Default: the embedded model.")
@click.option("--dtype", default="float32", show_default=True)
@click.option("--group", default=24, show_default=True, help="Records a turn.")
@click.option("--groups", default=1, show_default=True, help="Turns' worth of records of each file.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--server/--no-server", "with_server", default=True, show_default=True, help="Measure a server, too.")
def main(
    traffic: tuple[Path, ...],
    vllm_python: Path,
    out: Path,
    policy_path: Path,
    model_name: str | None,
    dtype: str,
    group: int,
    groups: int,
    rounds: int,
    with_server: bool,
) -> None:
    sys.path.append(packages_of(vllm_python))
    policy, identity = read_policy(policy_path), identity_of(model_name)
    with ExitStack() as stack:
        if with_server:  # first: the engine here binds this process to its cores
            log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "server.log"
            settings = replace(settings_here(dtype), dtype=dtype)
            client = stack.enter_context(vllm_server(vllm_python, identity.path, log, settings=settings))
            served = VllmReplayer(client, identity, load_tokenizer(identity), dtype=dtype, redraw=False)
        local = VllmLocalReplayer.load(identity, dtype=dtype)
        stack.callback(local.close)
        verifiers: dict[str, Replayer] = {LOCAL: local, TRANSFORMERS: TransformersReplayer.load(identity, dtype=dtype)}
        if with_server:
            verifiers[SERVER] = served
        records = [p.record for path in traffic or TRAFFIC for p in list(read_traffic(path))[: group * groups]]
        seconds = measure(local, {name: judge(one, policy) for name, one in verifiers.items()}, records, group, rounds)
    tokens = sum(len(record.output_token_ids) for record in records)
    found = {
        "environment": environment(),
        "vllm": local.engine.version,
        "dtype": dtype,
        "records": len(records),
        "output_tokens": tokens,
        "rounds": rounds,
        "tokens_per_second": {name: round(tokens / value, 1) for name, value in seconds.items()},
        "share_of_bare_prefill": {
            name: round(seconds[BARE] / value, 3) for name, value in seconds.items() if name != BARE
        },
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "local-replay.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for name, value in seconds.items():
        print(f"{name:<14} {tokens / value:8.1f} tokens/s {seconds[BARE] / value:6.3f} of bare prefill")


def packages_of(python: Path) -> str:
    """The folder of another interpreter's packages."""
    code = "import sysconfig; print(sysconfig.get_paths()['platlib'])"
    found = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True)  # noqa: S603
    return found.stdout.strip()


def judge(replayer: Replayer, policy: BasePolicy) -> Verifier:
    """A verifier by the policy's tolerances, whatever replay they were calibrated for: they change no cost."""
    changed = {"replay": replayer.implementation, "dtype": replayer.dtype}
    made_for = policy.made_for.model_copy(update=changed)
    return Verifier(replayer, policy.model_copy(update={"made_for": made_for}))


def measure(
    local: VllmLocalReplayer, verifiers: dict[str, Verifier], records: Sequence[Record], group: int, rounds: int
) -> dict[str, float]:
    """Seconds of the bare prefill and of each verifier over all records: sums of medians over groups."""
    total = np.zeros(1 + len(verifiers))
    for start in range(0, len(records), group):
        some = records[start : start + group]
        jobs: list[Callable[[], object]] = [partial(bare_prefill, local, some)]
        jobs += [partial(verifier.verify, some) for verifier in verifiers.values()]
        for job in jobs if start == 0 else []:  # warm up
            job()
        times = np.zeros((rounds, len(jobs)))
        for i in range(rounds):
            for which in range(len(jobs)) if i % 2 == 0 else reversed(range(len(jobs))):
                times[i, which] = timed(jobs[which])
        total += np.median(times, axis=0)
    return dict(zip([BARE, *verifiers], total.tolist(), strict=True))


def bare_prefill(replayer: VllmLocalReplayer, records: Sequence[Record]) -> None:
    """The engine's forward pass over the replay's sequences in its batches."""
    for batch in replayer.batches(records):
        sequences = [[*records[i].prompt_token_ids, *records[i].output_token_ids[:-1]] for i in batch]
        for _ in replayer.engine.states(sequences, [len(ids) for ids in sequences]):
            pass


if __name__ == "__main__":
    main()
