"""Options of the executor: this process, or workers of a Ray cluster."""

import shlex
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from weightwarden.cli.options.replayer import identity_of, load_replayer, with_adapters
from weightwarden.cli.options.shared import Command, ReplayOptions, ServerToStart, with_options
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.replay import Replayer
from weightwarden.verifier.verification.executor import Executor
from weightwarden.verifier.verification.on_demand import KnownReplayer, OnDemandExecutor, ResidentExecutors
from weightwarden.verifier.verification.verifier import Verifier


@dataclass(frozen=True, kw_only=True)
class ExecutorOptions:
    """Options of the executor and its workers."""

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
            raise click.UsageError("--ray-address, --workers and --gpus-per-worker require --executor ray")
        if self.vllm_args and self.vllm_python is None:
            raise click.UsageError("--vllm-args requires --vllm-python")

    @classmethod
    def taken(cls, given: dict[str, Any]) -> "tuple[ExecutorOptions, dict[str, Any]]":
        """The executor's options among a command's options, and the other options."""
        names = {field.name for field in fields(cls)}
        ours = {name: value for name, value in given.items() if name in names}
        return cls(**ours), {name: value for name, value in given.items() if name not in names}


EXECUTOR_OPTIONS = (
    click.option(
        "--executor",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Judge work units in this process (local), or on workers of a Ray cluster (ray).",
    ),
    click.option(
        "--ray-address",
        metavar="ADDRESS",
        help="Address of the Ray cluster, e.g. 10.0.0.1:6379 or auto. Default: start Ray on this machine for this run.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1),
        metavar="COUNT",
        help="Number of Ray workers, each with a copy of the model. Default: one per GPU; without"
        " GPUs, one per 8 cores.",
    ),
    click.option(
        "--gpus-per-worker",
        type=click.FloatRange(0),
        metavar="GPUS",
        help="GPUs of each Ray worker; 0.5: two workers share one. Default: 1 if there are GPUs and"
        " the worker replays on them.",
    ),
    click.option(
        "--vllm-python",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Python interpreter with vLLM: start a vLLM server with it (one per worker) for this run."
        " Replaces --replay-url.",
    ),
    click.option(
        "--vllm-args",
        default="",
        metavar="ARGUMENTS",
        help="Further arguments of that vLLM server, equal to those of the serving side, e.g. '--quantization fp8'.",
    ),
)


def executor_options(command: Command) -> Command:
    """Add --executor and its further options (`ExecutorOptions`)."""
    return with_options(*EXECUTOR_OPTIONS)(command)


def open_executor(
    options: ExecutorOptions, replay: ReplayOptions, policy: BasePolicy, max_model_len: int | None = None
) -> Executor:
    """The executor that the options describe, ready to replay.

    Raises:
        MissingExtra: a package of the replayer or of Ray is not installed.
        ModelError: the model cannot be used.
        ReplayServerError: the replay server cannot be used.
        PolicyError: the policy was made for another replayer.
        ClusterError: there is no such cluster.
        WorkerFailed: a worker cannot replay.
        WorkersDiffer: the workers' replayers differ.
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


def on_demand_executor(
    options: ExecutorOptions,
    replay: ReplayOptions,
    policy: BasePolicy,
    max_model_len: int | None,
    residents: ResidentExecutors,
) -> OnDemandExecutor:
    """The executor that the options describe, which loads its model when it has work.

    Raises:
        MissingExtra: a package of the replayer is not installed.
        ModelError: the model cannot be used.
        PolicyError: the policy was made for another replayer.
    """
    from weightwarden.verifier.model.tokenizer import load_tokenizer

    identity = with_adapters(identity_of(replay.model_name), replay)
    dtype = replay.dtype or ("float32" if replay.implementation == "transformers" else policy.made_for.dtype)
    policy.check_made_for(model_digest=identity.digest, replay=replay.implementation, dtype=dtype)
    if replay.implementation == "transformers":
        policy.check_context(identity, max_model_len or policy.made_for.max_model_len)
    replay = replace(replay, model_name=str(identity.path))
    return OnDemandExecutor(
        policy=policy,
        replayer=KnownReplayer(
            implementation=replay.implementation,
            dtype=dtype,
            device=replay.device or "chosen when it is loaded",
            identity=identity,
            tokenizer=load_tokenizer(identity),
        ),
        open=partial(open_executor, options, replay, policy, max_model_len),
        residents=residents,
    )


def _own_server(options: ExecutorOptions, replay: ReplayOptions, max_model_len: int | None) -> ServerToStart | None:
    """The server to start for the options, or None."""
    if options.vllm_python is None:
        return None
    if replay.implementation != "vllm":
        raise click.UsageError("--vllm-python requires --replayer vllm")
    if replay.replay_urls or replay.replay_key_path is not None or replay.replay_model is not None:
        raise click.UsageError(
            "--vllm-python starts a server; it excludes --replay-url, --replay-api-key and --replay-model"
        )
    try:
        arguments = tuple(shlex.split(options.vllm_args))
    except ValueError as error:
        raise click.UsageError(f"--vllm-args: {error}") from None
    return ServerToStart(python=options.vllm_python, arguments=arguments, max_model_len=max_model_len)


def load_on_worker(number: int, replay: ReplayOptions, policy: BasePolicy) -> Replayer:
    """The replayer of a worker, with one of several servers in turn. Keys are read from files on the worker."""
    urls = replay.replay_urls
    if len(urls) > 1:
        replay = replace(replay, replay_urls=(urls[number % len(urls)],))
    return load_replayer(replay, policy, exact=policy.exact)
