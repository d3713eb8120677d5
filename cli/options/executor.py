"""Options of the executor: this process, or workers of a Ray cluster."""

import shlex
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from weightwarden.cli.options.replayer import load_replayer
from weightwarden.cli.options.shared import Command, ReplayOptions, ServerToStart, with_options
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.replay import Replayer
from weightwarden.verifier.verification.executor import Executor
from weightwarden.verifier.verification.verifier import Verifier


@dataclass(frozen=True, kw_only=True)
class ExecutorOptions:
    """What replays, and with how many workers."""

    executor: str = "local"
    ray_address: str | None = None
    workers: int | None = None
    gpus_per_worker: float | None = None
    vllm_python: Path | None = None
    vllm_args: str = ""

    def __post_init__(self) -> None:
        if self.executor == "local" and any(
            value is not None for value in (self.ray_address, self.workers, self.gpus_per_worker)
        ):
            raise click.UsageError("--ray-address, --workers and --gpus-per-worker go with --executor ray")
        if self.vllm_args and self.vllm_python is None:
            raise click.UsageError("--vllm-args goes with --vllm-python")

    @classmethod
    def taken(cls, given: dict[str, Any]) -> "tuple[ExecutorOptions, dict[str, Any]]":
        """Those among a command's options, and the others."""
        names = {field.name for field in fields(cls)}
        ours = {name: value for name, value in given.items() if name in names}
        return cls(**ours), {name: value for name, value in given.items() if name not in names}


EXECUTOR_OPTIONS = (
    click.option(
        "--executor",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="What replays: this process, or workers of Ray.",
    ),
    click.option(
        "--ray-address",
        metavar="A",
        help="The Ray cluster, such as 10.0.0.1:6379 or auto. Default: a Ray on this machine, for this run.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1),
        metavar="N",
        help="Ray workers, each with a copy of the model. Default: one a GPU; without GPUs, one to 8 cores.",
    ),
    click.option(
        "--gpus-per-worker",
        type=click.FloatRange(0),
        metavar="G",
        help="GPUs of a Ray worker; 0.5: two share one. Default: 1 where there are GPUs and the worker replays there.",
    ),
    click.option(
        "--vllm-python",
        type=click.Path(path_type=Path),
        metavar="F",
        help="Instead of --replay-url: start a vLLM server, or one a worker, with this interpreter, and end it after.",
    ),
    click.option(
        "--vllm-args",
        default="",
        metavar="ARGS",
        help="More arguments of that server, as the serving side has them: '--quantization fp8'.",
    ),
)


def executor_options(command: Command) -> Command:
    """Add --executor and what goes with it (`ExecutorOptions`)."""
    return with_options(*EXECUTOR_OPTIONS)(command)


def open_executor(
    options: ExecutorOptions, replay: ReplayOptions, policy: BasePolicy, max_model_len: int | None = None
) -> Executor:
    """The executor that the options describe, ready to replay.

    Raises:
        MissingExtra, ModelError, ReplayServerError: the replayer cannot be had. PolicyError: the policy was made for
            another. ClusterError, WorkerFailed, WorkersDiffer: there is no such cluster, or its workers cannot replay.
    """
    max_model_len = max_model_len or policy.made_for.max_model_len
    replay = replace(replay, own_server=_own_server(options, replay, max_model_len), max_model_len=max_model_len)
    if options.executor == "local":
        return Verifier(load_replayer(replay, policy, exact=policy.exact), policy, max_model_len)
    from weightwarden.verifier.verification.ray.executor import RayExecutor

    served = replay.implementation == "vllm" and replay.own_server is None
    return RayExecutor(
        partial(load_on_worker, replay=replay, policy=policy),
        policy,
        max_model_len,
        address=options.ray_address,
        workers=options.workers or (max(1, len(replay.replay_urls)) if served else None),
        gpus_per_worker=0.0 if served and options.gpus_per_worker is None else options.gpus_per_worker,
        say=lambda what: click.echo(f"Warning: {what}.", err=True),
    )


def _own_server(options: ExecutorOptions, replay: ReplayOptions, max_model_len: int | None) -> ServerToStart | None:
    """The server that the options say to start."""
    if options.vllm_python is None:
        return None
    if replay.implementation != "vllm":
        raise click.UsageError("--vllm-python goes with --replayer vllm")
    if replay.replay_urls or replay.replay_key_path is not None or replay.replay_model is not None:
        raise click.UsageError(
            "--vllm-python starts a server; --replay-url, --replay-api-key and --replay-model are for one that runs"
        )
    try:
        arguments = tuple(shlex.split(options.vllm_args))
    except ValueError as error:
        raise click.UsageError(f"--vllm-args: {error}") from None
    return ServerToStart(python=options.vllm_python, arguments=arguments, max_model_len=max_model_len)


def load_on_worker(number: int, replay: ReplayOptions, policy: BasePolicy) -> Replayer:
    """The replayer of a worker: of several servers, the one whose turn it is. Keys are read from files there."""
    urls = replay.replay_urls
    if len(urls) > 1:
        replay = replace(replay, replay_urls=(urls[number % len(urls)],))
    return load_replayer(replay, policy, exact=policy.exact)
