"""Time on the device by stage: ceilings of the card, the reduction alone, kernels of a whole pass."""

import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from weightwarden.logger.record import Record
from weightwarden.sampler.types import IntArray
from weightwarden.verifier.candidates.device.draws import on_device
from weightwarden.verifier.candidates.device.kernels import can_select, select
from weightwarden.verifier.candidates.device.noise import device_noise
from weightwarden.verifier.candidates.device.pending import begun
from weightwarden.verifier.candidates.device.rows import DeviceRows
from weightwarden.verifier.candidates.device.top_logits import Pass, TopKMethod, head_of
from weightwarden.verifier.candidates.draw_builder import DrawBuilder
from weightwarden.verifier.candidates.draws import Draws, filters_of
from weightwarden.verifier.candidates.gumbel import gumbel_candidates
from weightwarden.verifier.candidates.pending import finished
from weightwarden.verifier.candidates.window import Window
from weightwarden.verifier.logits.whole_rows import TorchRows
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.scoring.token_scores import Tolerance, score
from weightwarden.verifier.types import RowSpan


def milliseconds(work: Callable[[], object], repeats: int = 7) -> float:
    """Median time of work on the device."""
    work()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(float(start.elapsed_time(end)))
    return statistics.median(times)


def ceilings() -> dict[str, float]:
    """Speed of the card here: bfloat16 TFLOP/s of a large product, TB/s of a large copy (read and write)."""
    a, b = (torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    source = torch.randn(1 << 30, dtype=torch.bfloat16, device="cuda")
    target = torch.empty_like(source)
    product = milliseconds(lambda: a @ b)
    copy = milliseconds(lambda: target.copy_(source))
    return {"tflops": 2 * 8192**3 / product / 1e9, "terabytes": 2 * source.nbytes / copy / 1e9}


class Chunk:
    """One chunk of a replay, kept for several reductions."""

    def __init__(self, replayer: TransformersReplayer, records: list[Record], window: Window) -> None:
        batch = replayer.batches(records)[0]
        self.replayer, self.window = replayer, window
        chunk = next(iter(replayer.replay(batch, records)))
        assert isinstance(chunk.rows, DeviceRows)
        self.logits = chunk.rows.logits
        self.builder = DrawBuilder(records[0].scheme_name, replayer.identity, replayer.tokenizer)
        self.draws = self.builder.draws(chunk.rows, chunk.pieces, records)
        assert self.draws.noise is not None
        self.noise = device_noise(self.draws.noise)
        self.pieces: list[RowSpan] = chunk.pieces

    def disagreements(self, selection: TopKMethod, tolerance: Tolerance, rows: int) -> dict[str, float]:
        """Differences between the device's and the host's scores of some positions.

        Numbers of differing positions, or the largest difference.
        """
        which = np.unique(np.linspace(0, len(self.logits) - 1, rows).astype(np.int64))
        draws = chosen_draws(self.draws, which)
        logits = self.logits[torch.from_numpy(which).to(self.logits.device)]
        pending = DeviceRows(logits, selection).begin(draws, self.window)
        assert pending is not None
        ours = score(finished(pending), tolerance, 0)
        theirs = score(gumbel_candidates(TorchRows(logits.float()), draws, self.window), tolerance, 0)
        finite = np.isfinite(theirs.margin_n)
        return {
            "positions": len(which),
            "exact": int((ours.exact_n != theirs.exact_n).sum()),
            "admissible": int((ours.admissible_n != theirs.admissible_n).sum()),
            "logit_rank": int((ours.logit_rank_n != theirs.logit_rank_n).sum()),
            "finite": int((np.isfinite(ours.margin_n) != finite).sum()),
            "margin": float(np.abs(ours.margin_n[finite] - theirs.margin_n[finite]).max(initial=0.0)),
        }

    def stages(self, selections: tuple[TopKMethod, ...]) -> dict[str, float]:
        """Milliseconds on the device of parts of the work on this chunk."""
        found: dict[str, float] = {}
        hidden = torch.randn(len(self.logits), self.head.in_features, dtype=self.logits.dtype, device="cuda")
        found["head product"] = milliseconds(lambda: self.head(hidden))
        found["one read (max)"] = milliseconds(lambda: self.logits.amax(dim=1))
        drawn = on_device(self.draws, self.noise, self.logits.device)
        wanted = Pass(
            size=74,
            claimed_n=drawn.claimed_n,
            temperature_n=drawn.filters.temperature_n,
            min_p_offset_n=drawn.filters.min_p_offset_n,
            mass=False,
        )
        for selection in selections:
            if selection == "kernel" and can_select(self.logits, 74):
                found["select, kernel"] = milliseconds(partial(select, self.logits, wanted))
                found["select, kernel, with mass"] = milliseconds(
                    partial(select, self.logits, replace(wanted, mass=True))
                )
            elif selection != "kernel":
                found[f"select, {selection}"] = milliseconds(partial(head_of, self.logits, wanted, selection), 3)
            whole = partial(begun, self.logits, self.draws, self.noise, self.window, selection)
            found[f"reduction, {selection}"] = milliseconds(whole, 3)
        return found

    @property
    def head(self) -> torch.nn.Linear:
        head = self.replayer.model.get_output_embeddings()  # type: ignore[operator]
        assert isinstance(head, torch.nn.Linear)
        return head


def chosen_draws(draws: Draws, which: IntArray) -> Draws:
    """The draws of some of the positions, for a scheme with noise."""
    assert draws.keys_n is not None
    return replace(
        draws,
        claimed_n=draws.claimed_n[which],
        temperature_n=draws.temperature_n[which],
        filters=filters_of(draws.filters, which),
        keys_n=draws.keys_n[which],
        raw_rank_n=draws.raw_rank_n[which],
    )


def kernel_times(work: Callable[[], object], most: int = 15) -> tuple[list[tuple[str, float, int]], float]:
    """The kernels that take longest during some work: name, milliseconds, calls; and the milliseconds of all."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    rows = [(e.key, e.self_device_time_total / 1e3, e.count) for e in profile.key_averages()]
    rows.sort(key=lambda row: -row[1])
    return rows[:most], sum(row[1] for row in rows)
