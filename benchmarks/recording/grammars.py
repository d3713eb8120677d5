"""Recorder of answers that grammars constrain, from a real vLLM server, which is started and stopped here.

    python -m benchmarks.recording.grammars --vllm-python .venv-vllm/bin/python --out FOLDER [--each 5] [--seed 0]

The server is pinned to the backend guidance. grammars.jsonl holds answers to the questions of every example under every
sampling setting; plain.jsonl holds answers to the same requests, seeds included, without the grammar;
smollm2-vllm0.32-grammars.jsonl holds a part of the first, which is stored under tests/data; the others are stored under
benchmarks/traffic/grammars.
"""

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.grammars.examples import EXAMPLES, SAMPLINGS, Example
from benchmarks.recording.fresh_traffic import FASTEST
from benchmarks.recording.vllm_answers import AT_ONCE, answered
from benchmarks.recording.vllm_server import vllm_server
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.files.output import write_text
from weightwarden.logger.record import Record
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.model.tokenizer import load_tokenizer
from weightwarden.verifier.replay.vllm.client import VllmClient

PINNED = ("--enforce-eager", "--structured-outputs-config", '{"backend": "guidance"}')
"""Arguments that start the server fast, and make masks a function of the request.

Under `auto` they depend on the server's first request.
"""
MAX_TOKENS = 80
PART = "smollm2-vllm0.32-grammars.jsonl"


def guidance_version(vllm_python: Path) -> str:
    """Version of llguidance in the server's environment."""
    asked = "from importlib.metadata import version; print(version('llguidance'))"
    said = subprocess.run(  # noqa: S603  (the operator names the interpreter)
        [str(vllm_python), "-c", asked], check=True, capture_output=True, text=True
    )
    return said.stdout.strip()


def requests_of(
    examples: Sequence[Example], tokenizer: Any, engine: dict[str, str], version: str, *, each: int, seed: int
) -> list[Record]:
    """Requests, each with a seed of its own: `each` of every example and sampling setting, the questions in turn.

    Args:
        examples: the grammars.
        tokenizer: the model's, with its chat template.
        engine: engine of the records.
        version: the server's version of llguidance.
    """
    rng = np.random.default_rng(seed)
    return [
        Record.model_validate(
            {
                "engine": engine,
                "model": "SmolLM2-135M-Instruct",
                "prompt_token_ids": _tokens_of(tokenizer, example, example.questions[at % len(example.questions)]),
                "output_token_ids": [0],
                "choice_index": 0,
                "stop_reason": None,
                "seed": int(rng.integers(2**31)),
                "sampling": {**sampling, "max_tokens": MAX_TOKENS},
                "finish_reason": "length",
                "grammar": {"kind": example.kind, "text": example.text, "backend": "guidance", "version": version},
            }
        )
        for example in examples
        for sampling in SAMPLINGS.values()
        for at in range(each)
    ]


def answers(client: VllmClient, requests: Sequence[Record], eos_ids: Sequence[int], what: str) -> list[Record]:
    """The server's answers to the requests, in order."""
    records = []
    with ThreadPoolExecutor(AT_ONCE) as pool, progress_bar(len(requests), f"Recording {what}") as progress:
        for record in pool.map(lambda request: answered(client, request, eos_ids), requests):
            records.append(record)
            progress(1)
    return records


@click.command(help=__doc__)
@click.option("--vllm-python", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder; made when new.")
@click.option("--each", default=5, show_default=True, help="Answers of each grammar and sampling setting.")
@click.option("--stored", default=2, show_default=True, help="Of these, answers in the part for tests/data.")
@click.option("--seed", default=0, show_default=True)
@click.option("--example", "names", multiple=True, metavar="NAME", help="Only this grammar; may be given again.")
def main(vllm_python: Path, out: Path, each: int, stored: int, seed: int, names: tuple[str, ...]) -> None:
    texts = {example.text for example in EXAMPLES if not names or example.name in names}
    if unknown := set(names) - {example.name for example in EXAMPLES}:
        raise click.BadParameter(f"{unknown.pop()!r}; known: {', '.join(example.name for example in EXAMPLES)}")
    identity = identify_model(ensure_embedded_model())
    tokenizer: Any = load_tokenizer(identity)
    version = guidance_version(vllm_python)
    out.mkdir(parents=True, exist_ok=True)
    with vllm_server(vllm_python, identity.path, out / "server.log", PINNED, settings=FASTEST) as client:
        engine = {"name": "vllm", "version": client.version(), "sampler": "vllm-cpu"}
        requests = requests_of(EXAMPLES, tokenizer, engine, version, each=each, seed=seed)
        requests = [request for request in requests if request.grammar is None or request.grammar.text in texts]
        constrained = answers(client, requests, identity.eos_ids, "with grammars")
        plain = answers(
            client, [r.model_copy(update={"grammar": None}) for r in requests], identity.eos_ids, "without grammars"
        )
    part = [record for at, record in enumerate(constrained) if at % each < stored]
    for name, records in (("grammars.jsonl", constrained), ("plain.jsonl", plain), (PART, part)):
        path = out / name
        write_text(path, "".join(record.model_dump_json(exclude_defaults=True) + "\n" for record in records))
        click.echo(f"{path}: {len(records)} records, {sum(len(r.output_token_ids) for r in records)} tokens")


def _tokens_of(tokenizer: Any, example: Example, question: str) -> list[int]:
    rendered = tokenizer.apply_chat_template(example.messages(question), tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer.encode(rendered, add_special_tokens=False)
    return ids


if __name__ == "__main__":
    main()
