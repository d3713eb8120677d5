"""Speculative decoding under the plugin of `examples/coupled-speculation`, against the draws without speculation.

    TRITON_INTERPRET=1 PYTHONPATH=.venv-vllm/triton-alone python -m benchmarks.speculation \\
        --vllm .venv-vllm/lib/python3.11/site-packages/vllm --out results

The embedded model answers recorded prompts with speculation. vLLM's own kernels draw and accept: on a GPU, or in
Triton's interpreter. Each answer is compared with the seeded draws without speculation, by the project's own noise. The
stock rule judges the same steps. In the interpreter a row of the whole vocabulary takes a second, so that only the
first ids are allowed by default. Exit code 1 if a token differs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import torch

from benchmarks.repository import DATA
from benchmarks.results.file import Results
from benchmarks.results.tables.speculation import SPECULATION, SpeculationRow
from benchmarks.speculation.decoding import (
    Counts,
    Drafter,
    Request,
    Target,
    likeliest_continuation,
    plain_answer,
    repeated_text,
    speculative_answer,
)
from benchmarks.speculation.engine_kernels import EngineKernels
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.sampler.params import SamplingParams
from weightwarden.verifier.model.embedded import ensure_embedded_model

PROMPTS = DATA / "smollm2-vllm0.32-greedy.jsonl"
DRAFTS = 3
_LIKELIEST, _REPEATED = "likeliest tokens", "repeated text"
DRAFTERS: dict[str, Drafter] = {_LIKELIEST: likeliest_continuation, _REPEATED: repeated_text}
ROWS = (
    ("T = 1", SamplingParams(temperature=1.0), _LIKELIEST),
    ("T = 1, top-p 0.95, top-k 50", SamplingParams(temperature=1.0, top_p=0.95, top_k=50), _LIKELIEST),
    ("T = 0.7", SamplingParams(temperature=0.7), _LIKELIEST),
    ("T = 0.6, top-p 0.95, top-k 20", SamplingParams(temperature=0.6, top_p=0.95, top_k=20), _LIKELIEST),
    ("T = 0.6, top-p 0.95, top-k 20", SamplingParams(temperature=0.6, top_p=0.95, top_k=20), _REPEATED),
    ("T = 0", SamplingParams(temperature=0.0), _LIKELIEST),
)


def row_of(sampling: str, drafts: str, plain: Sequence[Sequence[int]], counts: Sequence[Counts]) -> SpeculationRow:
    """The row of some answers, without speculation and with it."""
    pairs = [pair for one, other in zip(plain, counts, strict=True) for pair in zip(one, other.tokens, strict=True)]
    steps, drafted = sum(count.steps for count in counts), sum(count.drafted for count in counts)
    accepted = sum(count.accepted for count in counts)
    return SpeculationRow(
        sampling=sampling,
        drafts=drafts,
        tokens=len(pairs),
        equal=sum(one == other for one, other in pairs),
        drafted=drafted,
        accepted_share=accepted / max(drafted, 1),
        accepted_by_stock_share=sum(count.accepted_by_stock for count in counts) / max(drafted, 1),
        tokens_per_step=(accepted + steps) / steps,
        altered_by_stock_share=sum(count.altered_by_stock for count in counts) / steps,
    )


@click.command(help=__doc__)
@click.option(
    "--vllm", "sources", required=True, type=click.Path(path_type=Path, exists=True), help="Package's folder."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of results; made when new.")
@click.option("--answers", default=8, show_default=True, type=click.IntRange(1, 20))
@click.option("--tokens", default=64, show_default=True, type=click.IntRange(1, 512))
@click.option("--vocabulary", default=4096, show_default=True, type=click.IntRange(1024, 49_152))
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(sources: Path, out: Path, answers: int, tokens: int, vocabulary: int, device: str, seed: int) -> None:
    kernels, target = EngineKernels.load(sources), Target(ensure_embedded_model(), vocabulary, device)
    prompts = [placed.record.prompt_token_ids for placed in read_traffic(PROMPTS)][:answers]
    rows = []
    with progress_bar(len(ROWS) * len(prompts), "Answers") as progress:
        for name, sampling, drafts in ROWS:
            plain, counts = [], []
            for at, prompt in enumerate(prompts):
                request = Request(prompt=prompt, tokens=tokens, sampling=sampling, seed=seed + at)
                plain.append(plain_answer(target, request))
                counts.append(speculative_answer(target, kernels, request, DRAFTERS[drafts], DRAFTS, device))
                progress(1)
            rows.append(row_of(name, drafts, plain, counts))
            click.echo(SPECULATION.line(rows[-1]))
    settings = {"seed": seed, "answers": answers, "answer_tokens": tokens, "drafts": DRAFTS, "vocabulary": vocabulary}
    devices = {"device": torch.cuda.get_device_name(device)} if device.startswith("cuda") else None
    SPECULATION.write(out, "speculation", Results[SpeculationRow].measured(rows, settings, devices=devices))
    sys.exit(0 if all(row.equal == row.tokens for row in rows) else 1)


if __name__ == "__main__":
    main()
