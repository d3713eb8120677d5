"""The command `verify doctor`, which checks a verification server's settings and machine before its start."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.commands.serve.models import for_each_model, options_by_model
from weightwarden.cli.commands.serve.options import SERVE_OPTIONS, settings_of
from weightwarden.cli.options.config_file import config_option
from weightwarden.cli.options.executor import ExecutorOptions, executor_options
from weightwarden.cli.options.replayer import identity_of, vllm_client, with_adapters
from weightwarden.cli.options.shared import ReplayOptions, replay_options, with_options
from weightwarden.cli.reports.doctor import as_json, screen
from weightwarden.errors import WeightwardenError
from weightwarden.extras import needs_extra
from weightwarden.logger.doctor.files import now_utc
from weightwarden.logger.doctor.finding import Finding, fault, has_faults
from weightwarden.logger.errors import ModelError
from weightwarden.text import printable
from weightwarden.verifier.model.identity import ModelIdentity

_REPLAY = tuple(ReplayOptions.__dataclass_fields__.keys() - {"own_server", "max_model_len"})


@click.command(context_settings={"auto_envvar_prefix": "WEIGHTWARDEN_SERVE"})
@config_option
@with_options(*SERVE_OPTIONS)
@replay_options
@executor_options
@click.option("--json", "is_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def doctor(ctx: click.Context, /, models_path: Path | None, *, is_json: bool, **given: Any) -> None:
    """Check policy, model, keys, archives, database, clock, disk and addresses, and show what to do. Changes nothing.

    The options are those of `verify serve`, with the same --config file and environment.

    Exit code 0: no fault (there may be warnings). 2: a fault, or an error.
    """
    given["once"] = False
    if models_path is None:
        findings = _findings(given)
    else:
        options = options_by_model(ctx, models_path, given)
        by_model = for_each_model(models_path, options, lambda name, own: _findings(own, name))
        findings = _together(by_model)
        with needs_extra("serve"):
            from weightwarden.verifier.server.fleet import require_apart
        try:
            require_apart({name: settings_of(own) for name, own in options.items()})
        except WeightwardenError as error:
            findings.append(fault("models", str(error), f"correct {models_path}"))
    click.echo(as_json(findings) if is_json else screen("verification server", findings))
    ctx.exit(exit_codes.ERROR if has_faults(findings) else exit_codes.CLEAR)


def _findings(given: dict[str, Any], model: str | None = None) -> list[Finding]:
    """The findings for a server of one model, or for one model among several."""
    with needs_extra("serve"):
        from weightwarden.verifier.server.database.model_database import model_database
        from weightwarden.verifier.server.doctor import examine
    settings = settings_of(given)
    if model is not None:
        settings = replace(settings, database=model_database(settings.database, model))
    executor, given = ExecutorOptions.taken(given)
    replay = ReplayOptions(**{name: given[name] for name in _REPLAY})

    def check_replayer() -> None:
        if executor.executor == "ray":
            with needs_extra("ray"):
                import ray  # noqa: F401
        if replay.implementation == "vllm" and executor.vllm_python is None:
            with closing(vllm_client(replay)) as client:
                client.served_model()
        elif replay.implementation == "vllm-local":
            with needs_extra("vllm-local"):
                import vllm  # noqa: F401
        elif replay.implementation == "transformers":
            with needs_extra("replay"):
                from weightwarden.verifier.replay.transformers import replayer  # noqa: F401
            if replay.has_adapters:
                with needs_extra("adapters"):
                    import peft  # noqa: F401

    return examine(
        settings,
        given["policy_path"],
        lambda: with_adapters(_identity(replay.model_name), replay),
        check_replayer,
        now_utc,
    )


def _together(by_model: dict[str, list[Finding]]) -> list[Finding]:
    """The findings of several models: what all have in common once, and the others with the model's name."""
    first = next(iter(by_model.values()))
    common = [finding for finding in first if all(finding in findings for findings in by_model.values())]
    return common + [
        replace(finding, check=f"{model}: {finding.check}")
        for model, findings in by_model.items()
        for finding in findings
        if finding not in common
    ]


def _identity(model_name: str | None) -> ModelIdentity:
    """The identity of a model that is on this machine. Unlike `identity_of`, this neither downloads nor writes one."""
    from weightwarden.verifier.model.embedded import default_model_folder

    folder = default_model_folder() if model_name is None else Path(model_name)
    if not folder.is_dir():
        raise ModelError(f"{printable(str(folder))}: no such folder; the start would have to make or download it")
    return identity_of(str(folder))
