"""Ways past the sidecar: what a root process of the inference host can send, without and with the examples' rules.

    python -m benchmarks.ways_out [--out FOLDER] [--seed 0]

In network namespaces without a route out of this machine (root, ip and nft needed): the inference host, the sidecar's
host, which routes whatever it gets, and the world. Each way is tried over a link of its own and over a switch that the
world is on, too. A way arrives where a sniffer of the world or a socket of the sidecar's host sees its marker.
"""

from pathlib import Path

import click

from benchmarks.results.file import Results
from benchmarks.results.tables.ways_out import WAYS_OUT, WayOutRow
from benchmarks.ways_out.attack import ANSWER, Outcome, attacked
from benchmarks.ways_out.machines import Wiring
from benchmarks.ways_out.namespaces import missing, version_of_nft


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for ways-out.json and .md.")
@click.option("--seed", default=0, show_default=True, help="Of the markers.")
def main(out: Path | None, seed: int) -> None:
    if (reason := missing()) is not None:
        raise click.ClickException(reason)
    runs = {(wiring, rules): attacked(wiring, rules=rules, seed=seed) for wiring in Wiring for rules in (False, True)}
    rows = [
        _row(link, switch, [link_ruled, switch_ruled])
        for link, switch, link_ruled, switch_ruled in zip(
            runs[Wiring.LINK, False],
            runs[Wiring.SWITCH, False],
            runs[Wiring.LINK, True],
            runs[Wiring.SWITCH, True],
            strict=True,
        )
    ]
    click.echo(WAYS_OUT.markdown(rows))
    ways = [row for row in rows if row.name != ANSWER]
    facts = {
        "ways": len(ways),
        "packets": sum(row.packets for row in ways),
        "arrived_without": sum(bool(row.link_without or row.switch_without) for row in ways),
        "arrived_with": sum(bool(row.arrived_with) for row in ways),
        "counted": sum(row.counted >= row.packets for row in ways),
    }
    click.echo(
        "{ways} ways: {arrived_without} arrived without rules, {arrived_with} with them, {counted} counted.".format(
            **facts
        )
    )
    if out is not None:
        devices = {"nftables": version_of_nft()}
        WAYS_OUT.write(out, "ways-out", Results[WayOutRow].measured(rows, {"seed": seed}, facts=facts, devices=devices))


def _row(link: Outcome, switch: Outcome, ruled: list[Outcome]) -> WayOutRow:
    """The row of a way: its outcomes without rules, and with them."""
    return WayOutRow(
        name=link.name,
        packets=link.packets,
        link_without=sorted(link.arrived),
        switch_without=sorted(switch.arrived),
        arrived_with=sorted(set().union(*(one.arrived for one in ruled))),
        counter=link.counter,
        counted=min(one.counted.get(one.counter, 0) for one in ruled),
    )


if __name__ == "__main__":
    main()
