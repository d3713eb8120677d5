"""The options that name low-rank adapters and their folders."""

from pathlib import Path
from typing import Any

import click


class AdapterFolder(click.ParamType[tuple[str, Path]]):
    """A pair NAME=FOLDER."""

    name = "adapter"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        """The name and the folder."""
        if isinstance(value, tuple):
            return value
        name, equals, folder = str(value).partition("=")
        if not (name and equals and folder):
            self.fail("not NAME=FOLDER", param, ctx)
        return name, Path(folder)


ADAPTER_OPTIONS = (
    click.option(
        "--adapter",
        type=AdapterFolder(),
        multiple=True,
        metavar="NAME=FOLDER",
        help="Trusted copy of a low-rank adapter (LoRA) on the model, as PEFT writes it. May be repeated.",
    ),
    click.option(
        "--adapters",
        type=click.Path(path_type=Path),
        multiple=True,
        metavar="FOLDER",
        help="Folder that holds one such folder for each adapter, under the adapter's name. May be repeated.",
    ),
)
