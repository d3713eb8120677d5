"""The pictures of the table of attackers."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.attackers.results import Row

mpl.rcParams["svg.hashsalt"] = "weightwarden"  # the same picture gives the same file
MIN_BITS = 1e-4
"""Largest number of bits a token on the axis."""


def bandwidth(rows: Sequence[Row]) -> Figure:
    """Decoded bits beside the bounds, bits a token."""
    rows = [row for row in rows if row.channel != "nothing"][::-1]
    figure = Figure(figsize=(9, 0.42 * len(rows) + 1.6), layout="constrained")
    axes = figure.add_subplot()
    places = range(len(rows))
    tokens = [row.detection.tokens for row in rows]
    axes.barh(places, [max(row.bits_per_token, MIN_BITS) for row in rows], color="#2b6cb0", label="decoded")
    bounds = [row.bound_bits / count for row, count in zip(rows, tokens, strict=True)]
    axes.plot(bounds, places, "D", color="#c53030", label="bound")
    axes.set_xscale("log")
    axes.set_xlim(left=MIN_BITS)
    axes.set_yticks(places, [row.name for row in rows])
    axes.set_xlabel("bits a token")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def detection(rows: Sequence[Row]) -> Figure:
    """Share of messages and days that is flagged at 1e-4."""
    rows = rows[::-1]
    figure = Figure(figsize=(9, 0.42 * len(rows) + 1.6), layout="constrained")
    axes = figure.add_subplot()
    for offset, label, color, shares in (
        (0.2, "messages", "#718096", [row.detection.by_message["0.0001"] for row in rows]),
        (-0.2, "days", "#2f855a", [row.detection.by_day["0.0001"] for row in rows]),
    ):
        axes.barh([at + offset for at in range(len(rows))], shares, height=0.38, color=color, label=label)
    axes.set_xlim(0, 1)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_xlabel("share flagged at a false-positive rate of 1e-4")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper right", ncols=2)
    return figure


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a picture as PNG and SVG."""
    figure.savefig(folder / f"{name}.png", dpi=120)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": ""})
