"""False flags of an honest server's answers to random requests, over all parameters of the sidecar's completions.

    python -m benchmarks.guarantees.random_requests [--requests 2000] [--seed 0] [--vllm-python .venv-vllm/bin/python]

Half of the parameters of each request are at an end of their range or at a trap (temperature 1e-9, top-p 1e-9, min-p 1,
a repetition penalty of 2 on ids of the prompt, 1,024 biases, ...). Plain answers of the same server make the policy
first, without any of the random ones. By default the server is simulated: the embedded model in bfloat16, drawn by
scheme `vllm-cpu`, the whole vocabulary at a time. With --vllm-python it is a real one, behind a real sidecar. The
verifier replays in float32. The number of flagged records is compared with its limit for honest records. Then the
requests with the least plausible answers are answered again, each under many seeds: no single request may have an
honest server flagged more often than that (simulated server only).
"""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import httpx2
import numpy as np
from scipy.stats import binom

from benchmarks.free_port import free_port
from benchmarks.guarantees.any_server import AnyServer
from benchmarks.guarantees.request_generator import plain_requests, random_request, request_record
from benchmarks.recording.vllm_answers import answered
from benchmarks.recording.vllm_server import settings_here, vllm_server
from benchmarks.repository import FILTERED
from benchmarks.results.file import Results
from benchmarks.results.tables.random_requests import RANDOM_REQUESTS, RandomRequestsRow
from benchmarks.sidecar.servers import await_port, sidecar_command, started
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.files.output import write_text
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.logger.store.reader import LogReader
from weightwarden.verifier.calibration.fit import calibrate
from weightwarden.verifier.calibration.limits import CalibrationLimits
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import ModelIdentity, identify_model
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.scoring.levels import FLAG_LEVEL
from weightwarden.verifier.verification.run_verdict import Verification
from weightwarden.verifier.verification.verifier import Verifier


def simulated_answers(
    bodies: Sequence[dict[str, Any]], plain: int, prompts: Sequence[Sequence[int]], identity: ModelIdentity
) -> tuple[list[Record], list[Record], int]:
    """Plain answers of the simulated server, random ones, and the number of requests that a sidecar refuses."""
    server = AnyServer.load(identity)
    made = [request_record(body, 10_000 + at, "simulated", identity) for at, body in enumerate(bodies)]
    requests = [record for record in made if record is not None]
    honest = server.answers(plain_requests(prompts, plain, "simulated", identity))
    return honest, server.answers(requests), len(bodies) - len(requests)


def real_answers(
    python: Path, bodies: Sequence[dict[str, Any]], plain: int, prompts: Sequence[Sequence[int]], url: str | None
) -> tuple[list[Record], list[Record], int]:
    """Plain answers of a real server, random ones through a sidecar, and the number of requests that it refused."""
    identity = identify_model(ensure_embedded_model())
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scratch = Path(folder)
        arguments = ("--max-logprobs", "1024")
        client = stack.enter_context(
            VllmClient(url)
            if url
            else vllm_server(python, identity.path, scratch / "log", arguments, settings=settings_here("bfloat16"))
        )
        requests = plain_requests(prompts, plain, client.version(), identity)
        name, _ = client.served_model()
        with ThreadPoolExecutor(16) as pool, progress_bar(plain, "Plain answers") as progress:
            honest = []
            for record in pool.map(lambda request: answered(client, request, identity.eos_ids), requests):
                honest.append(record)
                progress(1)
        log = scratch / "log.db"
        refused = sum(1 for status in _sent(scratch, client.url, name, bodies) if status == httpx2.codes.BAD_REQUEST)
        reader = LogReader(str(log))
        return honest, [decode_record(entry) for entry in reader.entries(0, reader.size())], refused


def _sent(scratch: Path, upstream: str, name: str, bodies: Sequence[dict[str, Any]]) -> Iterator[int]:
    """The sidecar's answer to each request."""
    port = free_port()
    log = scratch / "sidecar.log"
    process = started(sidecar_command(scratch, upstream, port, "--upstream-model", name), log)
    try:
        await_port(port, process, log)
        limits = httpx2.Timeout(600.0)
        with (
            httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=limits, trust_env=False) as http,
            ThreadPoolExecutor(16) as pool,
            progress_bar(len(bodies), "Random requests") as progress,
        ):
            for response in pool.map(lambda body: http.post("/v1/completions", json=body), bodies):
                progress(1)
                yield response.status_code
    finally:
        process.terminate()
        process.wait(60)


def row(server: str, found: Verification, policy: Policy, refused: int, asked: int) -> RandomRequestsRow:
    """The result, and whether an honest server may show as much."""
    rate = policy.forced_end_limits.rate + FLAG_LEVEL
    flagged = len(found.flagged)
    return RandomRequestsRow(
        server=server,
        requests=asked,
        refused=refused,
        answers=found.records,
        tokens=found.tokens,
        flagged=flagged,
        unsteady_positions=found.unsteady_positions,
        flagged_expected_at_most=rate * found.records,
        p_value=float(binom.sf(flagged - 1, found.records, rate)),
    )


def whole(found: Verification) -> dict[str, float]:
    """Figures of all answers that the table does not show."""
    return {
        "exact_match_share": found.exact_match_rate,
        "answers_without_verdict": len(found.unverifiable),
        "charged_bits_per_token": found.charged_bits_per_token,
    }


def again_and_again(
    identity: ModelIdentity, verifier: Verifier, requests: Sequence[Record], seeds: int
) -> list[dict[str, Any]]:
    """Rate at which each request has an honest server flagged, under many seeds; the most frequent first."""
    asked = [
        request.model_copy(update={"seed": 1_000_000 + seeds * at + number, "output_token_ids": [0]})
        for at, request in enumerate(requests)
        for number in range(seeds)
    ]
    found = verifier.verify(AnyServer.load(identity).answers(asked))
    rate = verifier.policy.forced_end_limits.rate + FLAG_LEVEL
    flagged_r = found.summary.columns.flagged_r.reshape(len(requests), seeds).sum(axis=1)
    rows = [
        {
            "sampling": request.sampling.model_dump(exclude_defaults=True, mode="json"),
            "prompt_tokens": len(request.prompt_token_ids),
            "answers": seeds,
            "flagged": int(flagged),
            "p_value": float(binom.sf(flagged - 1, seeds, rate)),
        }
        for request, flagged in zip(requests, flagged_r, strict=True)
    ]
    return sorted(rows, key=lambda row: -row["flagged"])


@click.command(help=__doc__)
@click.option("--requests", "count", default=2000, show_default=True)
@click.option("--plain", default=400, show_default=True, help="Answers that make the policy.")
@click.option("--seed", default=0, show_default=True)
@click.option("--vllm-python", type=click.Path(path_type=Path, exists=True))
@click.option("--url", help="A vLLM server that runs already, instead of --vllm-python.")
@click.option("--worst", default=16, show_default=True, help="Least plausible requests that are answered again.")
@click.option("--seeds", default=64, show_default=True, help="Answers to each of them.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the records; plain ones there are not asked for again."
)
def main(
    count: int,
    plain: int,
    seed: int,
    vllm_python: Path | None,
    url: str | None,
    worst: int,
    seeds: int,
    out: Path | None,
) -> None:
    identity = identify_model(ensure_embedded_model())
    prompts = [placed.record.prompt_token_ids for placed in read_traffic(FILTERED)]
    rng = np.random.default_rng(seed)
    bodies = [random_request(rng, prompts, identity.vocabulary) for _ in range(count)]
    kept = None if out is None else out / "plain.jsonl"  # made already, with the same server
    again = kept is not None and kept.exists()
    if vllm_python is not None or url is not None:
        honest, records, refused = real_answers(vllm_python or Path(), bodies, 0 if again else plain, prompts, url)
    else:
        honest, records, refused = simulated_answers(bodies, 0 if again else plain, prompts, identity)
    if kept is not None and again:
        honest = [placed.record for placed in read_traffic(kept)]
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for name, group in (("plain", honest), ("random", records)):
            text = "".join(record.model_dump_json(exclude_defaults=True) + "\n" for record in group)
            write_text(out / f"{name}.jsonl", text)
    replayer = TransformersReplayer.load(identity, device="cpu")
    policy = calibrate(replayer, honest, CalibrationLimits()).policy
    with progress_bar(sum(len(r.output_token_ids) for r in records), "Replaying tokens") as progress:
        found = Verifier(replayer, policy, progress=progress).verify(records)
    flagged = [{"record": one.place, "reasons": one.reasons} for one in found.flagged]
    details: dict[str, Any] = {"alarm": found.alarm, "flagged": flagged}
    simulated = vllm_python is None and url is None
    if simulated:
        mismatched_r = found.charges.mismatches_r / np.maximum(found.charges.tokens_r, 1)
        order = np.lexsort((-mismatched_r, found.summary.columns.p_value_r))[:worst]
        details["again"] = again_and_again(identity, Verifier(replayer, policy), [records[at] for at in order], seeds)
    server = "simulated" if simulated else f"vLLM {records[0].engine.version}"
    results = Results[RandomRequestsRow].measured(
        [row(server, found, policy, refused, count)],
        {"plain_answers": len(honest), "seed": seed, "worst_requests": worst, "seeds_of_each": seeds},
        facts=whole(found),
        details=details,
    )
    click.echo(results.to_json())
    if out is not None:
        RANDOM_REQUESTS.write(out, f"random-requests-{'simulated' if simulated else 'vllm'}", results)


if __name__ == "__main__":
    main()
