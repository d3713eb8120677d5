"""The command `verify schema`, which prints JSON Schemas of weightwarden's files."""

import json
from typing import Any

import click
from pydantic import BaseModel

from weightwarden.cli.reports.contents import Report
from weightwarden.logger.record import Record
from weightwarden.verifier.egress.report import EgressReport
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.policy.exact import ExactPolicy

FILES: dict[str, type[BaseModel]] = {
    "traffic-record": Record,
    "report": Report,
    "policy": Policy,
    "exact-policy": ExactPolicy,
    "egress": EgressReport,
}


def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a kind of file, from the model that validates it."""
    found = FILES[name].model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": f"weightwarden {name}"}


@click.command()
@click.argument("kind", type=click.Choice(list(FILES)))
def schema(kind: str) -> None:
    """Print the JSON Schema of a traffic record, a report, a policy or the account of a link.

    A policy is a TOML file. The schema describes its content.
    """
    click.echo(json.dumps(schema_of(kind), indent=2))
