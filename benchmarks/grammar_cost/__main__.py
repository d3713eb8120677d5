"""Processor time of grammar masks a token, as a share of replaying a token on the embedded model.

Vocabularies: the embedded model's (49,152) and Qwen3's (151,936), each with its own published tokenizer. Answers are
fixed texts of the kinds of traffic that have grammars. The forward pass is the replay of the same answers on the
embedded model, the smallest: on any other the share is less. Medians of rounds; processor time, since a shared machine
is busy. Then: the time in which an honest grammar is checked while others are checked that mean harm.

    python -m benchmarks.grammar_cost [--rounds 5] [--seed 0] [--out FILE]
"""

import json
import statistics
import threading
import time
from pathlib import Path

import click
import torch
from tokenizers import Tokenizer

from benchmarks.grammar_cost.answers import GrammarAnswer, grammar_answers
from benchmarks.recording.registry_packages import TOKENIZERS, model_folder
from benchmarks.repository import FILTERED
from benchmarks.results.file import Results
from benchmarks.results.tables.grammar_cost import GrammarCostRow
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.logger.grammar.compiler import GrammarCompiler
from weightwarden.logger.grammar.errors import GrammarRefused, GrammarsWaiting
from weightwarden.logger.grammar.process import GrammarProcess
from weightwarden.logger.record import Record
from weightwarden.logger.text.tokenizer import read_tokenizer
from weightwarden.verifier.model.embedded import ensure_embedded_model
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

EMBEDDED, QWEN3 = 49_152, 151_936
"""Widths of the logits of the embedded model and of the Qwen3 models."""
HOSTILE = 8
"""Number of threads that check hostile grammars."""
HONEST = 20
"""Number of honest grammars that are checked meanwhile."""


@click.command(help=__doc__)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File of the results.")
def main(rounds: int, seed: int, out: Path | None) -> None:
    embedded = ensure_embedded_model()
    forward = forward_microseconds(embedded, grammar_answers(read_tokenizer(embedded), seed), rounds)
    rows = []
    for name, folder, vocabulary in (
        ("embedded", embedded, EMBEDDED),
        ("Qwen3", model_folder(TOKENIZERS["qwen3"]), QWEN3),
    ):
        tokenizer, compiler = read_tokenizer(folder), GrammarCompiler(folder, vocabulary)
        for answer in grammar_answers(tokenizer, seed):
            rows.append(masks_row(name, compiler, tokenizer, answer, forward, rounds))
            click.echo(rows[-1].model_dump_json())
    facts = {"forward_us": forward, **hostile_facts(embedded)}
    results = Results[GrammarCostRow].measured(rows, {"rounds": rounds, "seed": seed}, facts=facts)
    click.echo(results.to_json())
    if out is not None:
        out.write_text(results.to_json(), encoding="utf-8")


def forward_microseconds(folder: Path, answers: list[GrammarAnswer], rounds: int) -> float:
    """Processor time of replaying one token of the answers on a model, microseconds: the median of rounds."""
    torch.set_num_threads(1)  # a thread that waits for another would count as work
    replayer = TransformersReplayer.load(identify_model(folder))
    tokenizer = read_tokenizer(folder)
    like = next(iter(read_traffic(FILTERED))).record.model_copy(update={"prompt_token_ids": [1]})
    records = []
    for answer in answers:
        ids = tokenizer.encode(answer.answer, add_special_tokens=False).ids
        records.append(like.model_copy(update={"output_token_ids": ids}))
    tokens = sum(len(record.output_token_ids) for record in records)
    return statistics.median(_replay_seconds(replayer, records) for _ in range(rounds)) / tokens * 1e6


def masks_row(
    name: str,
    compiler: GrammarCompiler,
    tokenizer: Tokenizer,
    answer: GrammarAnswer,
    forward: float,
    rounds: int,
) -> GrammarCostRow:
    """The times of an answer's masks: the median of rounds, after one that is not counted."""
    ids = tokenizer.encode(answer.answer, add_special_tokens=False).ids
    times, distinct = [], 0
    for _ in range(rounds + 1):
        start = time.process_time()
        masks = [mask for mask, allowed in compiler.masks(answer.kind, answer.text, ids) if allowed]
        times.append((time.process_time() - start) / len(ids) * 1e6)
        assert len(masks) == len(ids), answer.name
        distinct = len(set(masks))
    mean = statistics.median(times[1:])
    return GrammarCostRow(
        tokenizer=name,
        vocabulary=compiler.vocabulary,
        grammar=answer.name,
        tokens=len(ids),
        distinct_masks=distinct,
        mask_us=mean,
        forward_share=mean / forward,
    )


def hostile_facts(folder: Path) -> dict[str, float]:
    """Longest and median times of honest checks, seconds, alone and beside threads that check hostile grammars."""
    process = GrammarProcess(folder, EMBEDDED)
    process.start()
    honest = iter(range(2 * HONEST))

    def checked() -> list[float]:
        times = []
        for _ in range(HONEST):
            start = time.perf_counter()
            process.check("json", json.dumps({"properties": {f"field{next(honest)}": {"type": "string"}}}))
            times.append(time.perf_counter() - start)
        return times

    alone = checked()
    stopping, refused = threading.Event(), [0] * HOSTILE

    def attack(number: int) -> None:
        for at in range(10**9):
            if stopping.is_set():
                return
            try:
                process.check("regex", f"(a{{{1000 + number}}}){{{1000 + at}}}")
            except (GrammarRefused, GrammarsWaiting):
                refused[number] += 1

    threads = [threading.Thread(target=attack, args=(number,)) for number in range(HOSTILE)]
    for thread in threads:
        thread.start()
    beside = checked()
    stopping.set()
    for thread in threads:
        thread.join()
    process.close()
    return {
        "check_alone_median_s": statistics.median(alone),
        "check_alone_max_s": max(alone),
        "check_beside_hostile_median_s": statistics.median(beside),
        "check_beside_hostile_max_s": max(beside),
        "hostile_threads": HOSTILE,
        "hostile_refused": sum(refused),
    }


def _replay_seconds(replayer: TransformersReplayer, records: list[Record]) -> float:
    """Processor time of replaying records, seconds."""
    start = time.process_time()
    for batch in replayer.batches(records):
        for _ in replayer.replay(batch, records):
            pass
    return time.process_time() - start


if __name__ == "__main__":
    main()
