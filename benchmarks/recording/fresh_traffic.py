"""Fresh traffic for the trade-off curves from a real vLLM server, which is started and stopped here.

    python -m benchmarks.recording.fresh_traffic --vllm-python .venv-vllm/bin/python --out FOLDER [--tokens 100000]

Three series, in the recorded setting (temperature 1, top-p 0.95, top-k 50), each in a separate file: questions about
many subjects; the same on a server with a float32 output head; and prompts whose answers have much entropy, such as
lists of random numbers. An existing series is not recorded again.
"""

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.recording.vllm_answers import answered
from benchmarks.recording.vllm_server import vllm_server
from weightwarden.cli.progress import progress_bar
from weightwarden.logger.files.output import write_text
from weightwarden.logger.record import Record
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.model.tokenizer import load_tokenizer
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.replay.vllm.processor import Exactness, ServerSettings

SAMPLING = {"temperature": 1.0, "top_p": 0.95, "top_k": 50, "max_tokens": 128}
ENGINE = {"name": "vllm", "sampler": "vllm-cpu"}
AT_ONCE = 48
FASTEST = ServerSettings(dtype="bfloat16", environment={}, exactness=Exactness.UNKNOWN)
"""These answers are not replayed exactly, so that the processor's own bfloat16 kernels suffice."""
FORMS = (
    *("Explain {} to a child.", "Write a short story about {}.", "What is the history of {}?", "List facts about {}."),
    *("Write a poem about {}.", "Why do people care about {}?", "Describe {} in one paragraph.", "Compare {} and tea."),
    *("Give me advice about {}.", "Write a Python function that deals with {}.", "What goes wrong with {}?"),
    *("Translate into French: I know little about {}.", "Write an e-mail to a colleague about {}."),
)
SUBJECTS = (
    *("rain", "magnets", "bread", "the moon", "bicycles", "salt", "owls", "glass", "maps", "chess", "wool", "coffee"),
    *("bridges", "whales", "clocks", "volcanoes", "tax law", "jazz", "vaccines", "sand", "mirrors", "ants", "paper"),
    *("robots", "soup", "earthquakes", "money", "dreams", "trains", "honey", "lighthouses", "probability", "gardens"),
    *("pianos", "rivers", "cement", "dinosaurs", "ballet", "batteries", "cheese", "satellites", "poker", "spelling"),
)
MUCH_ENTROPY = (
    *("Generate 100 random numbers between 1 and 1000.", "Write 200 random letters without any pattern."),
    *("List 50 random words that have nothing to do with each other.", "Make up 30 first names nobody has."),
    *("Print a random password of 100 characters.", "Write random hexadecimal digits until you are told to stop."),
    *("Throw a die 100 times and write down the results.", "List 40 random cities, in random order."),
    *("Write a sentence in a language that does not exist.", "Give me 60 random coordinates."),
)


@dataclass(frozen=True)
class Series:
    """A file of answers: its prompts, its share of all tokens, and the settings of its server."""

    name: str
    prompts: tuple[str, ...]
    share: float
    arguments: tuple[str, ...] = ()


HEADS: dict[str, tuple[str, ...]] = {
    "bfloat16": (),
    "float32": ("--hf-overrides", '{"head_dtype":"float32"}'),
}
"""Arguments of a server for each precision of the output head."""
QUESTIONS = tuple(form.format(subject) for form, subject in itertools.product(FORMS, SUBJECTS))
SERIES = (
    Series("questions", QUESTIONS, 1.0),
    Series("much-entropy", MUCH_ENTROPY, 0.2),
    Series("float32-head", QUESTIONS, 0.25, HEADS["float32"]),
)


@click.command(help=__doc__)
@click.option("--vllm-python", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder; made when new.")
@click.option("--tokens", default=100_000, show_default=True, help="Of the questions; the other series have fewer.")
@click.option("--seed", default=0, show_default=True)
def main(vllm_python: Path, out: Path, tokens: int, seed: int) -> None:
    identity = identify_model(ensure_embedded_model())
    tokenizer: Any = load_tokenizer(identity)
    out.mkdir(parents=True, exist_ok=True)
    for series in SERIES:
        path = out / f"{series.name}.jsonl"
        if path.exists():
            continue
        arguments = ("--max-logprobs", "1024", "--max-num-seqs", str(AT_ONCE), *series.arguments)
        log = out / f"{series.name}.log"
        with (
            vllm_server(vllm_python, identity.path, log, arguments, settings=FASTEST) as server,
            VllmClient(server.url, connections=AT_ONCE) as client,
        ):
            engine = ENGINE | {"version": client.version()}
            requests = _requests(series, tokenizer, engine, seed)
            records = _answers(client, requests, round(tokens * series.share), identity.eos_ids, series.name)
        text = "".join(record.model_dump_json(exclude_defaults=True) + "\n" for record in records)
        write_text(path, text)
        click.echo(f"{path}: {len(records)} records, {sum(len(r.output_token_ids) for r in records)} tokens")


def _requests(series: Series, tokenizer: Any, engine: dict[str, str], seed: int) -> "itertools.chain[Record]":
    """The prompts in a random order, repeated, each time with other seeds."""
    rng = np.random.default_rng([seed, len(series.name)])

    def some() -> list[Record]:
        prompts = [series.prompts[at] for at in rng.permutation(len(series.prompts))]
        return [
            Record.model_validate(
                {
                    "engine": engine,
                    "model": "SmolLM2-135M-Instruct",
                    "prompt_token_ids": _tokens_of(tokenizer, prompt),
                    "output_token_ids": [0],
                    "choice_index": 0,
                    "stop_reason": None,
                    "seed": int(rng.integers(2**31)),
                    "sampling": SAMPLING,
                    "finish_reason": "length",
                }
            )
            for prompt in prompts
        ]

    return itertools.chain.from_iterable(some() for _ in itertools.count())


def _tokens_of(tokenizer: Any, prompt: str) -> list[int]:
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    ids: list[int] = tokenizer.encode(rendered, add_special_tokens=False)
    return ids


def _answers(
    client: VllmClient, requests: "itertools.chain[Record]", tokens: int, eos_ids: Sequence[int], name: str
) -> list[Record]:
    """Answers to as many requests as necessary."""
    records: list[Record] = []
    said = 0
    with ThreadPoolExecutor(AT_ONCE) as pool, progress_bar(tokens, f"Recording {name}") as progress:
        while said < tokens:
            for record in pool.map(
                lambda request: answered(client, request, eos_ids), itertools.islice(requests, 4 * AT_ONCE)
            ):
                records.append(record)
                said += len(record.output_token_ids)
                progress(len(record.output_token_ids))
    return records


if __name__ == "__main__":
    main()
