"""Many low-rank adapters in one run: its time beside the same run without adapters, and answers of wrong adapters.

    python -m benchmarks.adapters [--adapters 100] [--tokens 12] [--json FILE]

Random adapters of rank 8 on the embedded model answer recorded prompts, in bfloat16 with a cache, one answer each. A
policy is calibrated on answers of half of the adapters, to other prompts: the noise of an adapted model is not that of
its base. The answers of all are replayed in float32 under it: as they are; without their adapters, which gives the time
of a run without any; and each under the next adapter. Times are those of the processor, loading of adapters included.
"""

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from benchmarks.attackers.serving import ServedModel, honestly
from benchmarks.peak_memory import peak_bytes
from benchmarks.random_adapter import write_random_adapter
from benchmarks.repository import FILTERED
from benchmarks.results.file import Results
from benchmarks.results.tables.adapters import ADAPTERS, AdapterRow
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.files.output import write_text
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.model.adapter import AdapterFiles, read_adapters
from weightwarden.logger.record import Record
from weightwarden.verifier.calibration.fit import calibrate
from weightwarden.verifier.calibration.limits import CalibrationLimits
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.verification.verifier import Verifier

RANK = 8
CALIBRATION_TOKENS, MIN_CALIBRATION = 64, 2
"""Longest answer for the calibration, tokens; and fewest adapters that give one."""


def served(model: TransformersReplayer, adapters: Sequence[AdapterFiles], tokens: int, first: int = 0) -> list[Record]:
    """One honest answer of every adapter, to the prompts from a first one on."""
    server = ServedModel(model.model, model.identity)
    prompts = [placed.record for placed in read_traffic(FILTERED)]
    records = []
    with progress_bar(len(adapters), "Drawing answers") as step:
        for at, files in enumerate(adapters, first):
            like = prompts[at % len(prompts)]
            asked = like.model_copy(
                update={
                    "output_token_ids": [],
                    "adapter": files.of_record(),
                    "sampling": like.sampling.model_copy(update={"max_tokens": tokens}),
                }
            )
            model.adapters.use(asked.adapter)
            [output] = server.serve([asked], honestly)
            reason = "length" if len(output) == tokens else "stop"
            records.append(asked.model_copy(update={"output_token_ids": output, "finish_reason": reason}))
            step(1)
    return records


def measured(name: str, replayer: TransformersReplayer, policy: BasePolicy, records: Sequence[Record]) -> AdapterRow:
    """The run over some records."""
    before = time.process_time()
    found = Verifier(replayer, policy).verify(records)
    seconds = time.process_time() - before
    row = AdapterRow(
        run=name,
        adapters=len({record.adapter.digest for record in records if record.adapter is not None}),
        records=len(records),
        tokens=sum(len(record.output_token_ids) for record in records),
        processor_seconds=seconds,
        peak_gib=peak_bytes() / 2**30,
        flagged=len(found.flagged),
        alarm=found.alarm,
    )
    click.echo(row.model_dump_json(), err=True)
    return row


@click.command(help=__doc__)
@click.option("--adapters", "count", type=click.IntRange(2), default=100, show_default=True, help="Adapters.")
@click.option("--tokens", type=click.IntRange(1), default=12, show_default=True, help="Longest answer.")
@click.option("--strength", default=0.05, show_default=True, help="Size of an adapter over that of the weights.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="File for the results.")
def main(count: int, tokens: int, strength: float, path: Path | None) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        model = ensure_embedded_model()
        for seed in range(count):
            write_random_adapter(folder / f"adapter-{seed}", model, seed=seed, rank=RANK, strength=strength)
        alone = identify_model(model)
        identity = replace(alone, adapters={one.digest: one for one in read_adapters([], [folder]).values()})
        server = TransformersReplayer.load(identity, dtype="bfloat16", device="cpu")
        adapters = list(identity.adapters.values())
        records = served(server, adapters, tokens)
        half = adapters[: max(count // 2, MIN_CALIBRATION)]
        known = served(server, half, CALIBRATION_TOKENS, first=count)
        del server
        replayer = TransformersReplayer.load(identity, device="cpu")
        with progress_bar(len(known), "Calibrating") as step:
            policy = calibrate(replayer, known, CalibrationLimits(), progress=step).policy
        plain = TransformersReplayer.load(alone, device="cpu")
        without = [record.model_copy(update={"adapter": None}) for record in records]
        rows = [measured("without adapters", plain, policy, without)]
        del plain
        rows.append(measured("with their adapters", replayer, policy, records))
        others = [*records[1:], records[0]]
        wrong = [
            record.model_copy(update={"adapter": other.adapter}) for record, other in zip(records, others, strict=True)
        ]
        rows.append(measured("with the next adapter", replayer, policy, wrong))
    finally:
        shutil.rmtree(folder)
    settings = {
        "adapters": count,
        "rank": RANK,
        "strength": strength,
        "tokens": tokens,
        "calibration records": len(known),
        "calibration tokens": sum(len(record.output_token_ids) for record in known),
    }
    results = Results[AdapterRow].measured(rows, settings)
    if path is not None:
        write_text(path, results.to_json(), public=True)
    click.echo(ADAPTERS.markdown(rows))


if __name__ == "__main__":
    main()
