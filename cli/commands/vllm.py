"""The commands `verify vllm` for the trusted vLLM server of exact replay."""

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.options.adapters import ADAPTER_OPTIONS
from weightwarden.cli.options.replayer import identity_of, vllm_client
from weightwarden.cli.options.shared import MODEL_OPTION, ServerOptions, server_options, with_options
from weightwarden.extras import needs_extra
from weightwarden.logger.model.adapter import read_adapters
from weightwarden.verifier.policy.file import read_policy


@click.group()
def vllm() -> None:
    """Start and check the trusted vLLM server for `--replayer vllm`."""


@vllm.command()
@MODEL_OPTION
@with_options(*ADAPTER_OPTIONS)
@click.option(
    "--policy",
    "policy_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Policy for which the server is to replay. Default: none; the command starts a CPU server for calibration.",
)
@click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(1, 65535),
    default=8000,
    show_default=True,
    help="Port of the server.",
)
@click.option(
    "--max-model-len",
    type=click.IntRange(1),
    metavar="TOKENS",
    help="Context length of the inference server, in tokens. Default: the policy's, or vLLM's for the model.",
)
@click.option(
    "--processor",
    "processor_class",
    type=click.Choice(["avx2", "avx-512", "amx"], case_sensitive=False),
    help="Processor class of the host of a CPU server. Default: this machine's.",
)
def start(
    model_name: str | None,
    adapter: tuple[tuple[str, Path], ...],
    adapters: tuple[Path, ...],
    policy_path: Path | None,
    port: int,
    max_model_len: int | None,
    processor_class: str | None,
) -> None:
    """Print the command line that starts the replay server. It does not start the server.

    The dtype is the policy's. The environment of a CPU server depends on the processor; a warning is printed if replay
    in that dtype is not exact on it. Without --policy the dtype depends on the processor, too.

    Add settings of the serving side that change its logits (quantisation, parallelism, attention backend) yourself.
    `verify vllm check --policy FILE` shows whether everything is as it was at calibration.
    """
    with needs_extra("vllm"):
        from weightwarden.verifier.replay.vllm.command import fresh_cpu_command, server_command
        from weightwarden.verifier.replay.vllm.processor import InstructionSet, Processor, this_processor
    identity = identity_of(model_name)
    served = list(read_adapters(adapter, adapters).values())
    if processor_class is None:
        processor = this_processor(os.environ)
    else:
        classes = {one.lower(): one for one in InstructionSet}
        processor = Processor(name="as --processor says", instructions=classes[processor_class.lower()])
    if policy_path is None:
        command = fresh_cpu_command(identity.path, processor=processor, max_model_len=max_model_len, adapters=served)
    else:
        policy = read_policy(policy_path)
        policy.check_made_for(model_digest=identity.digest, replay="vllm", dtype=policy.made_for.dtype)
        command = server_command(
            policy, identity.path, processor=processor, max_model_len=max_model_len, adapters=served
        )
    click.echo(command.shell(port), nl=False)


@vllm.command()
@server_options
@click.option(
    "--policy",
    "policy_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also check the server's version and the known answer of this policy.",
)
@click.pass_context
def check(ctx: click.Context, /, policy_path: Path | None, **server: Any) -> None:
    """Check that the server at --replay-url can replay, and can replay exactly.

    Answers are drawn alone and among others (seconds). Exact replay needs equal results.

    Exit code 0: fit for the policy, or, without one, for exact replay. 2: not fit, or not reachable.
    """
    policy = None if policy_path is None else read_policy(policy_path)
    with closing(vllm_client(ServerOptions(**server))) as client:
        from weightwarden.verifier.replay.vllm.preflight import PROBE_CANDIDATES, examine
        from weightwarden.verifier.replay.vllm.repeatability import repeatability

        findings = examine(client, policy)
        found = repeatability(client) if client.most_logprobs(PROBE_CANDIDATES) == PROBE_CANDIDATES else None
    click.echo(f"{client.url}:\n")
    for finding in findings:
        click.echo(f"  {'ok ' if finding.fit else 'NOT'}  {finding.what:<14} {finding.found}")
    if found is not None:
        click.echo(f"  {'ok ' if found.passed else 'NOT'}  {'batches':<14} {found} ({found.seconds:.1f} s)")
    fit = all(finding.fit for finding in findings) and found is not None
    exact = found is not None and found.passed
    if not fit:
        click.echo("\nNot fit as a replayer.")
    elif exact:
        click.echo("\nFit as a replayer, and for exact replay.")
    else:
        click.echo(
            "\nNot fit for exact replay: what it computes depends on the other requests in its batch"
            " (docs/exact-replay.md). Fit as a replayer with a policy that was calibrated without --exact."
        )
    if fit and policy is None:
        click.echo("Which model and dtype it serves was not checked: that needs --policy.")
    passed = fit and (exact or (policy is not None and not policy.exact))
    ctx.exit(exit_codes.CLEAR if passed else exit_codes.ERROR)
