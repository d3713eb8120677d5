"""Replay with scoring on a GPU over a bare prefill of the same batches, for several models' shapes.

The bare prefill is the transformer over the same batches and the output head over the output positions, logits in the
model's dtype, discarded. Three things run in turns: the bare prefill, the replay to candidate tables, and the verdicts
(the whole of `Verifier.judge`); medians of the rounds are compared. Models have random weights and draw their own
traffic (`benchmarks.throughput.device.random_model`). Before the timing, the device's scores of a sample of positions
are compared with the host's; if they differ nothing is timed. Floors: arithmetic and bytes at the card's measured
ceilings.

    python -m benchmarks.throughput.gpu [--out FOLDER] [--shape NAME]... [--device cuda|cpu]

With --device cpu it runs the shape `tiny` without ceilings, as a test of the benchmark itself.
"""

import json
import platform
import statistics
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from benchmarks.repository import BUNDLED_POLICY
from benchmarks.results.file import Results
from benchmarks.results.tables.gpu import GPU, GpuRow
from benchmarks.throughput.device.random_model import FILTERS, SHAPES, Filter, Shape, drawn_records, random_replayer
from benchmarks.throughput.device.stages import Chunk, ceilings, kernel_times
from weightwarden.logger.record import Record
from weightwarden.verifier.candidates.device.kernels import has_kernels
from weightwarden.verifier.candidates.device.top_logits import TopKMethod
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.verification.verifier import Verifier

MARGIN_TOLERANCE = 1e-4
"""Largest difference of margins between device and host, logits."""
NUMBERS = ("positions", "margin")
"""Entries of `Chunk.disagreements` that are not numbers of differing positions."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """Load of the measurement of one shape.

    Records, tokens each, tokens a pass, sequences decoded at once, rounds; and number of `FILTERS`.
    """

    records: int
    prompt: int
    output: int
    token_budget: int
    decoded: int
    rounds: int
    filters: int


LOADS = {
    "tiny": Load(records=24, prompt=8, output=24, token_budget=256, decoded=24, rounds=2, filters=3),
    "135M": Load(records=1536, prompt=32, output=224, token_budget=65536, decoded=1536, rounds=5, filters=2),
    "1.7B": Load(records=512, prompt=32, output=224, token_budget=32768, decoded=512, rounds=4, filters=2),
    "1.5B": Load(records=512, prompt=32, output=224, token_budget=32768, decoded=512, rounds=4, filters=2),
    "7B": Load(records=256, prompt=32, output=224, token_budget=16384, decoded=256, rounds=3, filters=3),
}


@dataclass
class Result:
    """Measurements of one shape and one filter; seconds are medians, over all of the records."""

    shape: str
    filter: str
    tokens: int
    output_tokens: int
    seconds: dict[str, float]
    floor_seconds: dict[str, float]
    facts: dict[str, Any]
    disagreements: Mapping[TopKMethod, dict[str, float]]
    stages: dict[str, float] = field(default_factory=dict)
    kernels: list[tuple[str, float, int]] = field(default_factory=list)


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Folder for gpu.json and gpu.md.")
@click.option("--shape", "shape_names", multiple=True, type=click.Choice(list(SHAPES)))
@click.option("--filter", "filter_names", multiple=True, type=click.Choice([f.name for f in FILTERS]))
@click.option("--device", default="cuda", show_default=True, type=click.Choice(["cuda", "cpu"]))
@click.option("--budget", default=270.0, show_default=True, help="Seconds after which nothing more is begun.")
def main(
    out: Path | None, shape_names: tuple[str, ...], filter_names: tuple[str, ...], device: str, budget: float
) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        print("no GPU here: nothing to measure (--device cpu runs a tiny shape, to see that it runs)")
        return
    started = time.perf_counter()
    where = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    devices = {"device": where, "kernels": str(has_kernels())}
    ceiling = ceilings() if device == "cuda" else {}
    print(json.dumps(devices | ceiling), flush=True)
    names = shape_names or (("135M", "7B", "1.7B", "1.5B") if device == "cuda" else ("tiny",))
    results: list[Result] = []
    failures: list[str] = []
    for name in names:
        shape, load = SHAPES[name], LOADS[name]
        replayer, entropy = random_replayer(shape, device, load.token_budget)
        if device == "cpu":
            replayer.selection = "blocked"
        print(f"{name}: entropy {entropy:.2f} bits, {time.perf_counter() - started:.0f} s", flush=True)
        for one in [f for f in FILTERS[: load.filters] if not filter_names or f.name in filter_names]:
            if time.perf_counter() - started > budget:
                print(f"{name}, {one.name}: not measured, the time is up")
                continue
            try:
                result = measured(replayer, shape, load, one, ceiling, started + budget)
            except Exception:  # the other shapes' figures are still useful
                failures.append(f"{name}, {one.name}")
                traceback.print_exc()
                continue
            results.append(result)
            print(line(result), f"[{time.perf_counter() - started:.0f} s]", flush=True)
            if out is not None:
                GPU.write(out, "gpu", measurement(results, devices, ceiling))
        del replayer
        if device == "cuda":
            torch.cuda.empty_cache()
    print(GPU.markdown([row(result) for result in results]))
    if failures:
        raise click.ClickException(f"not measured: {'; '.join(failures)}")


def measured(
    replayer: TransformersReplayer,
    shape: Shape,
    load: Load,
    drawn: Filter,
    ceiling: dict[str, float],
    deadline: float,
) -> Result:
    """One shape under one filter.

    1. Draw traffic from the model.
    2. Compare with the host.
    3. Measure times in turns.
    4. Measure stages and kernels.
    """
    # 1
    records = drawn_records(
        replayer, shape, drawn, count=load.records, prompt=load.prompt, output=load.output, batch=load.decoded
    )
    policy = policy_for(replayer)
    if replayer.device.startswith("cuda"):
        torch.cuda.empty_cache()

    # 2
    chunk = Chunk(replayer, records[: max(4, load.token_budget // (load.prompt + load.output))], policy.window)
    ways: tuple[TopKMethod, ...] = (
        ("kernel", "blocked", "topk") if replayer.selection == "kernel" else ("blocked", "topk")
    )
    disagreements = {way: compared(chunk, way, policy) for way in ways}
    right = tuple(way for way in ways if agrees(disagreements[way]))
    for way in set(ways) - set(right):
        print(f"WRONG: the device's reduction ({way}) disagrees with the host's: {disagreements[way]}")
    if not right:
        raise click.ClickException("no reduction on the device agrees with the host's")
    replayer.selection = right[0]
    stages = chunk.stages(right) if replayer.device.startswith("cuda") else {}
    del chunk

    # 3
    verifier = Verifier(replayer, policy)
    found: dict[str, Any] = {}

    def judge() -> None:
        found["judgement"] = verifier.judge(records)

    def tables() -> None:
        replay = Replay(replayer, policy.window)
        found["widest"] = max(placed.table.ids_nk.shape[1] for placed in replay.tables(records))

    jobs: dict[str, Callable[[], object]] = {
        "bare": lambda: bare_prefill(replayer, records),
        "tables": tables,
        "verdicts": judge,
    }
    for job in jobs.values():  # warm up
        timed(job)
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for i in range(load.rounds):
        order = list(jobs.items())
        for name, job in order if i % 2 == 0 else reversed(order):
            times[name].append(timed(job))
        if time.perf_counter() > deadline:
            break

    # 4
    judgement = found["judgement"]
    tokens = len(records) * (load.prompt + load.output - 1)
    outputs = len(records) * load.output
    kernels, busy = kernel_times(jobs["verdicts"]) if stages else ([], 0.0)
    bare_kernels, bare_busy = kernel_times(jobs["bare"]) if stages else ([], 0.0)
    del bare_kernels
    return Result(
        shape=shape.name,
        filter=drawn.name,
        tokens=tokens,
        output_tokens=outputs,
        seconds={name: statistics.median(values) for name, values in times.items()},
        floor_seconds=floors(shape, tokens, outputs, ceiling),
        facts={
            "rounds": len(times["bare"]),
            "spread_of_bare": (max(times["bare"]) - min(times["bare"])) / statistics.median(times["bare"]),
            "exact_share": float(np.mean(np.concatenate([r.tokens.exact for r in judgement.records]))),
            "admissible_mean": float(np.mean(np.concatenate([r.tokens.admissible for r in judgement.records]))),
            "widest_table": found["widest"],
            "reduced_by": replayer.selection,
            "host_seconds_replayer": judgement.tally.timing.forward,
            "host_seconds_scoring": judgement.tally.timing.score,
            "device_busy_seconds": busy / 1e3,
            "device_busy_seconds_bare": bare_busy / 1e3,
        },
        disagreements=dict(disagreements),
        stages=stages,
        kernels=kernels,
    )


def compared(chunk: Chunk, way: TopKMethod, policy: Policy) -> dict[str, float]:
    """Result of `Chunk.disagreements`; a reduction that fails disagrees."""
    try:
        return chunk.disagreements(way, policy.tolerance, 256)
    except Exception:  # a kernel that does not compile here: there are other methods
        traceback.print_exc()
        return {"positions": 0, "margin": float("inf")}


def agrees(found: dict[str, float]) -> bool:
    """True if the device's scores are the host's. Wrong scores are not timed."""
    return found["margin"] <= MARGIN_TOLERANCE and not any(v for k, v in found.items() if k not in NUMBERS)


def policy_for(replayer: TransformersReplayer) -> Policy:
    """The bundled policy with its real tolerances, as if made for this model."""
    policy = read_policy(BUNDLED_POLICY)
    assert isinstance(policy, Policy)
    made_for = policy.made_for.model_copy(
        update={
            "model_digest": replayer.identity.digest,
            "engine": "random",
            "engine_version": "1",
            "scheme": "vllm-v2",
            "unlisted_engine": True,
            "dtype": replayer.dtype,
        }
    )
    return policy.model_copy(update={"made_for": made_for})


def bare_prefill(replayer: TransformersReplayer, records: Sequence[Record]) -> None:
    """The transformer over the same batches, and the head over output positions; logits are discarded."""
    for batch in replayer.batches(records):
        hidden = replayer.hidden_states(batch, records)
        for start in range(0, len(hidden), replayer.chunk_rows):
            replayer.rows(hidden[start : start + replayer.chunk_rows])


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes, the device's work included."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def floors(shape: Shape, tokens: int, outputs: int, ceiling: dict[str, float]) -> dict[str, float]:
    """Least seconds of the prefill's arithmetic, and of the logits' way to memory and back (bfloat16)."""
    if not ceiling:
        return {}
    operations = 2 * (shape.trunk_parameters * tokens + shape.head_parameters * outputs)
    return {
        "operations": operations / ceiling["tflops"] / 1e12,
        "logit_bytes": 2 * 2 * shape.vocabulary * outputs / ceiling["terabytes"] / 1e12,
    }


def line(result: Result) -> str:
    seconds, tokens = result.seconds, result.tokens
    parts = [f"{result.shape}, {result.filter}: {tokens} tokens"]
    parts += [f"{name} {tokens / value:.0f}/s" for name, value in seconds.items()]
    parts += [f"{name}/bare {seconds['bare'] / seconds[name]:.3f}" for name in ("tables", "verdicts")]
    return "; ".join(
        [*parts, *(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in result.facts.items())]
    )


def row(result: Result) -> GpuRow:
    """The row of the table."""
    bare = result.seconds["bare"]
    return GpuRow(
        model=result.shape,
        vocabulary_tokens=SHAPES[result.shape].vocabulary,
        drawn_with=result.filter,
        bare_tokens_per_second=result.tokens / bare,
        tables_of_bare=bare / result.seconds["tables"],
        verdicts_of_bare=bare / result.seconds["verdicts"],
        operations_floor_of_bare=result.floor_seconds["operations"] / bare if result.floor_seconds else None,
    )


def measurement(results: Sequence[Result], devices: Mapping[str, str], ceiling: Mapping[str, float]) -> Results[GpuRow]:
    """The rows, and the measurement in full: seconds, floors, disagreements, stages and kernels."""
    details = {f"{result.shape}, {result.filter}": vars(result) for result in results}
    rounds = [result.facts["rounds"] for result in results]
    settings = {"least_rounds": min(rounds), "most_rounds": max(rounds)}
    return Results[GpuRow].measured(
        [row(result) for result in results],
        settings,
        facts=extremes(results) | dict(ceiling),
        devices=devices,
        details=_plain(details),
    )


def extremes(results: Sequence[Result]) -> dict[str, float]:
    """Least and largest value, over all rows, of the figures that the table does not show."""
    found = {"most_spread_of_bare": max(result.facts["spread_of_bare"] for result in results)}
    if moved := [r.floor_seconds["logit_bytes"] / r.seconds["bare"] for r in results if r.floor_seconds]:
        found |= {"least_logit_bytes_floor_of_bare": min(moved), "most_logit_bytes_floor_of_bare": max(moved)}
    return found


def _plain(details: dict[str, Any]) -> Any:
    """Measurements in the types of JSON."""
    return json.loads(json.dumps(details))


if __name__ == "__main__":
    main()
