"""Progress bars on a terminal. In a pipe nothing is shown."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


@contextmanager
def counter(label: str) -> Iterator[Callable[[int], None]]:
    """A function that adds to a count on the terminal, for work of unknown length. Elsewhere it shows nothing."""
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
    """A function that advances a bar by a number of steps. It shows nothing if standard error is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda steps: None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr, show_pos=length > 100) as bar:
        yield bar.update
