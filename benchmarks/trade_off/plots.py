"""Pictures of the trade-off."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from benchmarks.trade_off.curve import Point

STYLES = {
    "published": {"color": "#718096", "linestyle": "--"},
    "boundary-aware": {"color": "#2b6cb0", "linestyle": "-"},
    "pooled": {"color": "#2f855a", "linestyle": "-"},
}


def curves(title: str, of: Mapping[str, Sequence[Point]], capacity: float, floor: float | None) -> Figure:
    """Share of the channel left to an attacker, against the share of honest tokens judged dangerous, with bands."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, points in of.items():
        rates = [point.rate for point in points]
        style = STYLES[name]
        axes.plot(
            rates,
            [100 * point.bits_per_token / capacity for point in points],
            label=name,
            color=style["color"],
            linestyle=style["linestyle"],
            marker="o",
            markersize=3,
        )
        low, high = (
            [100 * one / capacity for one in ends] for ends in zip(*((p.low, p.high) for p in points), strict=True)
        )
        axes.fill_between(rates, low, high, color=style["color"], alpha=0.15)
    if floor is not None:
        axes.axhline(100 * floor / capacity, color="#c53030", linestyle=":", label="honest conditional entropy")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("honest tokens that may lie beyond the threshold, share")
    axes.set_ylabel("charged information, % of log2 V")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def set_sizes(of: Mapping[str, Mapping[int, float]]) -> Figure:
    """Share of positions with each size of the admissible set."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    width = 0.8 / len(of)
    for at, (name, shares) in enumerate(of.items()):
        places = [size + (at - (len(of) - 1) / 2) * width for size in shares]
        axes.bar(places, list(shares.values()), width=width, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("admissible tokens at a position")
    axes.set_ylabel("share of positions")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    return figure
