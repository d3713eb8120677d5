"""The `verify` command. Exit code 0: clear or done, 1: alarm, 2: error."""

import click

from weightwarden.cli.groups import LazyGroup

SECTIONS = {
    "Verify": {
        "run": "run:run",
        "serve": "serve:serve",
        "doctor": "doctor:doctor",
        "monitor": "monitor:monitor",
        "calibrate": "calibrate:calibrate",
        "demo": "demo:demo",
        "report": "report:report",
        "egress": "egress:egress",
    },
    "Servers, models, files": {
        "probe": "probe:probe",
        "record": "record:record",
        "vllm": "vllm:vllm",
        "demo-model": "demo_model:demo_model",
        "schema": "schema:schema",
    },
    "Log": {"log": "log:log", "bundle": "bundle:bundle"},
    "Plan": {
        "estimate": "estimate:estimate_command",
        "plan": "plan:plan_command",
    },
}


@click.group(
    cls=LazyGroup,
    rooms="weightwarden.cli.commands",
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="weightwarden", prog_name="verify")
def verify() -> None:
    """Replay recorded LLM answers on a trusted model, and report tokens that an honest server would not have drawn."""
