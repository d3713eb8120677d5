"""A progress bar on a terminal, and nothing in a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


@contextmanager
def counter(label: str) -> Iterator[Callable[[int], None]]:
    """A function that adds to a count shown on a terminal, for work whose length is not known; silent elsewhere."""
    if not sys.stderr.isatty():
        yield lambda steps: None
        return
    count = 0

    def add(steps: int) -> None:
        nonlocal count
        count += steps
        click.echo(f"\r{label}: {count}", nl=False, err=True)

    try:
        yield add
    finally:
        click.echo(err=True)


@contextmanager
def progress_bar(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """A function that advances the bar by so many steps; silent where standard error is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda steps: None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr, show_pos=length > 100) as bar:
        yield bar.update
