"""The rows of the trade-off table for exact replay, on the server's own engine.

    python -m benchmarks.trade_off.exact --vllm-python .venv-vllm/bin/python --out results SERIES.jsonl... [--head H]

A vLLM server is started here and answers the requests of a series anew, several at a time: exact replay needs the same
kind of processor (docs/exact-replay.md), and that of the recording is unknown. The server is started again, and replays
the answers. One half of the records, by request, makes the exact policy, which is refused if one token of it differs
beyond ties; the other half is judged.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np

from benchmarks.recording.fresh_traffic import HEADS
from benchmarks.recording.vllm_answers import AT_ONCE, answered
from benchmarks.recording.vllm_server import settings_here, vllm_server
from benchmarks.results.file import Results, Settings
from benchmarks.results.tables.exact import EXACT, ExactRow
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.files.output import write_text
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.verifier.audit_selection import file_sha256
from weightwarden.verifier.calibration.exact import calibrate_exact
from weightwarden.verifier.calibration.traffic import split_halves
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import ModelIdentity, identify_model
from weightwarden.verifier.model.tokenizer import load_tokenizer
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.replay.vllm.repeatability import require_repeatable
from weightwarden.verifier.replay.vllm.replayer import VllmReplayer
from weightwarden.verifier.scoring.token_verdicts import Verdict
from weightwarden.verifier.verification.verifier import Verifier


@click.command(help=__doc__)
@click.argument("series", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--vllm-python", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of results; made when new.")
@click.option("--head", type=click.Choice(list(HEADS)), default="bfloat16", show_default=True, help="Of the server.")
@click.option("--records", type=click.IntRange(16), default=150, show_default=True, help="Of a series, at most.")
@click.option("--seed", default=0, show_default=True, help="Of the split into halves.")
def main(series: tuple[Path, ...], vllm_python: Path, out: Path, head: str, records: int, seed: int) -> None:
    identity = identify_model(ensure_embedded_model())
    for folder in ("series", "exact"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    names = {path: f"{path.stem}-{head}-{records}-{seed}-{file_sha256(path).hex()[:12]}" for path in series}
    answers = {path: out / "exact" / f"{name}.jsonl" for path, name in names.items()}
    stored = {path: out / "series" / f"{name}-exact.json" for path, name in names.items()}
    settings: Settings = {"head": head, "records": records, "seed": seed, "dtype": settings_here().dtype}
    arguments = ("--max-logprobs", "1024", *HEADS[head])
    if missing := [path for path in series if not answers[path].exists()]:
        with vllm_server(vllm_python, identity.path, out / "vllm.log", arguments) as client:
            for path in missing:
                _answer(path, answers[path], records, client, identity)
    if missing := [path for path in series if not stored[path].exists()]:
        with vllm_server(vllm_python, identity.path, out / "vllm.log", arguments) as client:
            for path in missing:
                row = _replayed(path.stem, answers[path], identity, client, head, seed)
                EXACT.write(out / "series", stored[path].stem, Results[ExactRow].measured([row], settings))
    rows = [row for path in series for row in EXACT.read(stored[path]).rows]
    EXACT.write(out, f"exact-{head}", Results[ExactRow].measured(rows, settings))
    click.echo(EXACT.markdown(rows))


def _answer(path: Path, answers: Path, most: int, client: VllmClient, identity: ModelIdentity) -> None:
    """Write the server's own answers to requests of a series, evenly chosen."""
    version = client.version()
    recorded = [placed.record for placed in read_traffic(path)]
    chosen = np.linspace(0, len(recorded) - 1, min(len(recorded), most)).round().astype(int)
    requests = [
        recorded[at].model_copy(update={"engine": recorded[at].engine.model_copy(update={"version": version})})
        for at in chosen
    ]
    with (
        ThreadPoolExecutor(AT_ONCE) as pool,
        progress_bar(len(requests), f"Answering {path.stem} anew (answers)") as progress,
    ):
        records = []
        for record in pool.map(lambda request: answered(client, request, identity.eos_ids), requests):
            records.append(record)
            progress(1)
    write_text(answers, "".join(record.model_dump_json(exclude_defaults=True) + "\n" for record in records))


def _replayed(series: str, path: Path, identity: ModelIdentity, client: VllmClient, head: str, seed: int) -> ExactRow:
    """Make the policy from one half, judge the other."""
    placed = list(read_traffic(path))
    records = [one.record for one in placed]
    half_r = split_halves(records, seed)
    dtype = settings_here().dtype
    replayer = VllmReplayer(client, identity, load_tokenizer(identity), dtype=dtype, redraw=True)
    require_repeatable(client)
    first = np.flatnonzero(half_r)
    tokens = sum(len(record.output_token_ids) for record in records)
    with progress_bar(tokens, f"Replaying {path.stem} exactly") as progress:
        policy = calibrate_exact(
            replayer,
            [records[at] for at in first],
            [f"{path.name}:{1 + at}" for at in first],
            progress=progress,
        )
        verifier = Verifier(
            VllmReplayer(client, identity, load_tokenizer(identity), dtype=dtype, redraw=True, policy=policy),
            policy,
        )
        verifier.progress = progress
        found = verifier.verify([records[at] for at in np.flatnonzero(~half_r)])
    capacity = found.tokens * float(np.log2(identity.vocabulary))
    return ExactRow(
        series=series,
        head=head,
        records=len(records),
        judged_tokens=found.tokens,
        exact_match_share=found.exact_match_rate,
        tied_share=found.tied_positions / found.tokens,
        charge_of_log2_v=found.charged_fraction,
        counting_code_of_log2_v=float(found.charges.counting_bits_r.sum()) / capacity,
        pooled_code_of_log2_v=float(found.charges.pooled_bits_r.sum()) / capacity,
        dangerous_share=found.count(Verdict.DANGEROUS) / found.tokens,
    )


if __name__ == "__main__":
    main()
