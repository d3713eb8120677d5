"""Recorder of a real llama.cpp server's answers as traffic files, such as tests/data/smollm2-llamacpp11549-*.jsonl.

The server is llama.cpp's own (C++) from the package xllamacpp, with the embedded model's GGUF file, one slot and no
prompt cache. Its /completion takes prompts as token ids and reports the drawn ids. Prompts are those of a traffic file.

    python -m benchmarks.recording.llama_cpp --llama-python .venv-llama/bin/python --out tests/data PROMPTS
"""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from weightwarden.logger.formats.traffic_file import read_traffic, traffic_line
from weightwarden.logger.record import Record
from weightwarden.verifier.model.embedded import gguf_file

SETTINGS: dict[str, dict[str, Any]] = {
    "the default chain": {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05},
    "no filter": {"temperature": 1.0},
    "top-p alone, cool": {"temperature": 0.7, "top_p": 0.9},
    "min-p alone, hot": {"temperature": 1.5, "min_p": 0.05},
}
NEUTRAL = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0}
BUILD = "11549"


@contextmanager
def llama_cpp_server(python: Path, model: Path, log: Path, threads: int) -> Iterator[str]:
    """The URL of a separate server, which ends with the block."""
    script = Path(__file__).with_name("llama_cpp_server.py")
    with (
        log.open("wb") as errors,
        subprocess.Popen(  # noqa: S603  (the operator names the interpreter)
            [str(python), str(script), str(model), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise click.ClickException(f"the server did not come up; its log is {log}")
        yield url
        process.stdin.close()


def answer(url: str, prompt: list[int], seed: int, sampling: dict[str, Any], version: str) -> Record:
    """One answer as a record."""
    fields = {name: value for name, value in sampling.items() if name != "max_tokens"}
    body = {**NEUTRAL, **fields, "prompt": prompt, "seed": seed, "n_predict": sampling["max_tokens"]}
    body |= {"return_tokens": True, "cache_prompt": False}
    request = urllib.request.Request(  # noqa: S310  (a server that was started here)
        f"{url}/completion", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as response:  # noqa: S310
        said = json.load(response)
    counts = (said["tokens_evaluated"], said["tokens_predicted"])
    if said["generation_settings"]["seed"] != seed or counts != (len(prompt), len(said["tokens"])):
        raise click.ClickException(f"the server did not answer as asked: {counts}, {said['generation_settings']}")
    return Record.model_validate(
        {
            "engine": {"name": "llama.cpp", "version": version, "sampler": "inverse-cdf"},
            "model": "SmolLM2-135M-Instruct",
            "prompt_token_ids": prompt,
            "output_token_ids": said["tokens"],
            "seed": seed,
            "choice_index": 0,
            "sampling": sampling,
            "finish_reason": "stop" if said["stop_type"] == "eos" else "length",
            "stop_reason": None,
        }
    )


@click.command()
@click.argument("prompts", type=click.Path(path_type=Path))
@click.option("--llama-python", required=True, type=click.Path(path_type=Path), help="Has xllamacpp.")
@click.option("--each", default=8, show_default=True, help="Requests for each setting.")
@click.option("--tokens", default=48, show_default=True, help="Longest answer.")
@click.option("--threads", default=os.cpu_count() or 1, show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
def main(prompts: Path, llama_python: Path, each: int, tokens: int, threads: int, out: Path) -> None:
    ids = [placed.record.prompt_token_ids for placed in read_traffic(prompts)]
    groups: dict[str, list[dict[str, Any]]] = {
        "sampled": [setting for setting in SETTINGS.values() for _ in range(each)],
        "greedy": [{"temperature": 0.0}] * each,
    }
    with llama_cpp_server(llama_python, gguf_file(), out / "llama-cpp.log", threads) as url:
        for name, settings in groups.items():
            path = out / f"smollm2-llamacpp{BUILD}-{name}.jsonl"
            with path.open("w", encoding="utf-8") as stream:
                for number, setting in enumerate(settings):
                    sampling = {**setting, "max_tokens": tokens}
                    record = answer(url, ids[number % len(ids)], 600_000 + 977 * number, sampling, f"b{BUILD}")
                    stream.write(traffic_line(record))
                    stream.flush()
            print(path)
    (out / "llama-cpp.log").unlink()


if __name__ == "__main__":
    main()
