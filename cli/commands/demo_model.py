"""The command `verify demo-model`, which writes the embedded model to an ordinary folder."""

from pathlib import Path

import click

from weightwarden.verifier.model.embedded import write_embedded_model
from weightwarden.verifier.model.identity import identify_model


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="FOLDER")
def demo_model(folder: Path) -> None:
    """Write the embedded model (SmolLM2-135M-Instruct, bfloat16) to FOLDER as an ordinary Hugging Face folder.

    FOLDER must not exist yet; it appears whole or not at all. The bundled traffic was recorded from exactly this model.
    """
    write_embedded_model(folder)
    identity = identify_model(folder)
    click.echo(f"{folder}: vocabulary {identity.vocabulary}, {identity.digest}")
