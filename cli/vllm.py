"""`verify vllm`: the trusted vLLM server that replays exactly."""

from contextlib import closing
from pathlib import Path
from typing import Any

import click

from cli import exit_codes
from cli.options import MODEL_OPTION, ServerOptions, server_options
from cli.replayers import identity_of, vllm_client
from verifier.errors import MissingExtra
from verifier.policy_file import read_policy


@click.group()
def vllm() -> None:
    """Start, and check, the trusted vLLM server that `--replay vllm` replays on."""


@vllm.command()
@MODEL_OPTION
@click.option(
    "--policy",
    "policy_path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="P",
    help="The policy whose replayer the server is to be.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--max-model-len", type=click.IntRange(1), metavar="N", help="The serving side's context length.")
def start(model_name: str | None, policy_path: Path, port: int, max_model_len: int | None) -> None:
    """Print the command line that starts the server for a policy; nothing is started.

    Settings of the serving side that change its logits (quantisation, parallelism, attention backend) must be added as
    they are there: `verify vllm check --policy P` tells whether all is as it was at calibration.
    """
    try:
        from verifier.vllm.command import server_command
    except ImportError as error:
        raise MissingExtra(f"{error.name} is missing: pip install 'weightwarden[vllm]'") from error
    identity = identity_of(model_name)
    policy = read_policy(policy_path)
    policy.check_made_for(model_digest=identity.digest, replay="vllm", dtype=policy.made_for.dtype)
    click.echo(server_command(policy, identity.path, max_model_len=max_model_len).shell(port), nl=False)


@vllm.command()
@server_options
@click.option(
    "--policy",
    "policy_path",
    type=click.Path(path_type=Path),
    metavar="P",
    help="Check the version and the known answer of this policy, too.",
)
@click.pass_context
def check(ctx: click.Context, /, policy_path: Path | None, **server: Any) -> None:
    """Tell whether the server at --replay-url is fit as a replayer.

    Exit code 0: fit. 2: not fit, or not to be reached.
    """
    policy = None if policy_path is None else read_policy(policy_path)
    with closing(vllm_client(ServerOptions(**server))) as client:
        from verifier.vllm.fitness import examine

        findings = examine(client, policy)
        click.echo(f"{client.url}:\n")
    for finding in findings:
        click.echo(f"  {'ok ' if finding.fit else 'NOT'}  {finding.what:<14} {finding.found}")
    fit = all(finding.fit for finding in findings)
    click.echo("\nFit as a replayer." if fit else "\nNot fit as a replayer.")
    if fit and policy is None:
        click.echo("Which model and dtype it serves was not checked: that needs --policy.")
    ctx.exit(exit_codes.CLEAR if fit else exit_codes.ERROR)
