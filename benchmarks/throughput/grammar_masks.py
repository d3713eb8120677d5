"""Time that grammar masks add to a replay, on the device that computes it.

Models have random weights and draw their own traffic. Masks allow half of the vocabulary, and the claimed tokens of
their positions; with --distinct 1 each position has its own, with 0.1 ten positions share one. The masks are made
beforehand: what is timed is their way to the device and their use (`benchmarks.grammar_cost` times the making). The
bare prefill, the replay without masks and the replay with them run in turns; medians of the rounds are compared. The
share of exact matches shows that masks were applied: masked logits let other tokens into top-k.

    python -m benchmarks.throughput.grammar_masks [--shape NAME]... [--device cuda|cpu] [--rounds 5]
"""

import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import click
import numpy as np
import torch

from benchmarks.repository import BUNDLED_POLICY
from benchmarks.throughput.device.random_model import FILTERS, SHAPES, drawn_records, random_replayer
from weightwarden.logger.grammar.masks import GrammarMasks
from weightwarden.logger.record import Grammar, Record
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

TOKEN_BUDGET = {"cuda": 32_768, "cpu": 2048}


@dataclass
class RandomMasks:
    """Source of masks that allow half of the vocabulary, and the claimed tokens; those of an answer are made once.

    Attributes:
        vocabulary: number of token ids.
        distinct: number of masks of an answer over its tokens.
    """

    vocabulary: int
    distinct: float

    def __post_init__(self) -> None:
        self._made: dict[int, GrammarMasks] = {}

    def masks(self, kind: str, text: str, ids: Sequence[int]) -> GrammarMasks:
        """The masks of an answer's positions."""
        number = int(text)
        if number not in self._made:
            claimed = np.asarray(ids)
            words, masks = -(-self.vocabulary // 32), max(1, round(self.distinct * len(claimed)))
            rng = np.random.default_rng(number)
            packed = rng.integers(0, 2**32, (masks, words), dtype=np.uint32)
            if self.vocabulary % 32:
                packed[:, -1] &= np.uint32((1 << self.vocabulary % 32) - 1)
            mask_of_n = np.arange(len(claimed)) % masks
            np.bitwise_or.at(packed, (mask_of_n, claimed // 32), np.uint32(1) << (claimed % 32).astype(np.uint32))
            self._made[number] = GrammarMasks(packed, mask_of_n.astype(np.uint32), None)
        return self._made[number]

    def close(self) -> None:
        """Free nothing."""


def seconds_of(replayer: TransformersReplayer, policy: Policy, records: Sequence[Record], masks: RandomMasks) -> float:
    """Seconds of a replay to candidate tables."""
    _synchronize(replayer)
    started = time.perf_counter()
    for _ in Replay(replayer, policy.window, grammars=masks).tables(records):
        pass
    _synchronize(replayer)
    return time.perf_counter() - started


def prefill_seconds(replayer: TransformersReplayer, records: Sequence[Record]) -> float:
    """Seconds of the bare prefill of the same batches, logits discarded."""
    _synchronize(replayer)
    started = time.perf_counter()
    for batch in replayer.batches(records):
        for _ in replayer.replay(batch, records):
            pass
    _synchronize(replayer)
    return time.perf_counter() - started


def exact_share(replayer: TransformersReplayer, policy: Policy, records: Sequence[Record], masks: RandomMasks) -> float:
    """Share of the claimed tokens that the replay chooses itself."""
    exact = [table.table.exact_n for table in Replay(replayer, policy.window, grammars=masks).tables(records)]
    return float(np.concatenate(exact).mean())


def _synchronize(replayer: TransformersReplayer) -> None:
    if replayer.device.startswith("cuda"):
        torch.cuda.synchronize()


@click.command()
@click.option("--shape", "shapes", multiple=True, type=click.Choice(sorted(SHAPES)), default=("135M", "1.5B", "7B"))
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda" if torch.cuda.is_available() else "cpu")
@click.option("--records", "count", default=64, show_default=True)
@click.option("--output", default=256, show_default=True, help="Tokens of each answer.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--distinct", default=(1.0, 0.1), multiple=True, show_default=True, help="Distinct masks a token.")
def main(
    shapes: tuple[str, ...], device: str, count: int, output: int, rounds: int, distinct: tuple[float, ...]
) -> None:
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    print(f"{name}, torch {torch.__version__}; {count} answers of {output} tokens, medians of {rounds} rounds")
    policy = read_policy(BUNDLED_POLICY)
    assert isinstance(policy, Policy)
    print("shape    vocabulary  distinct  prefill s  replay s  with masks s  added, of prefill  exact without, with")
    for shape in (SHAPES[name] for name in shapes):
        replayer, _ = random_replayer(shape, device, TOKEN_BUDGET[device])
        records = drawn_records(replayer, shape, FILTERS[0], count=count, prompt=64, output=output, batch=count)
        masked = [
            record.model_copy(update={"grammar": Grammar(kind="regex", text=str(at), backend="guidance", version="-")})
            for at, record in enumerate(records)
        ]
        for share in distinct:
            masks = RandomMasks(shape.vocabulary, share)
            shares = [exact_share(replayer, policy, one, masks) for one in (records, masked)]  # also warms up
            prefill, plain, with_masks = [], [], []
            for _ in range(rounds):
                prefill.append(prefill_seconds(replayer, records))
                plain.append(seconds_of(replayer, policy, records, masks))
                with_masks.append(seconds_of(replayer, policy, masked, masks))
            added = statistics.median((w - p) / f for w, p, f in zip(with_masks, plain, prefill, strict=True))
            bare, replay, mask = map(statistics.median, (prefill, plain, with_masks))
            print(
                f"{shape.name:<8} {shape.vocabulary:10d}  {share:8.2f}  {bare:9.3f}  {replay:8.3f}  {mask:12.3f}"
                f"  {added:16.1%}  {shares[0]:.4f}, {shares[1]:.4f}",
                flush=True,
            )
        del replayer


if __name__ == "__main__":
    main()
