"""Where records are replayed: in this process, or on workers of a Ray cluster."""

from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import click

from cli.options import Command, ReplayOptions, with_options
from cli.replayers import load_replayer
from verifier.engine import Engine
from verifier.policy_base import BasePolicy
from verifier.replay import Replayer
from verifier.verification import Verifier


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What replays, and with how many workers."""

    engine: str = "local"
    address: str | None = None
    workers: int | None = None
    gpus_per_worker: float | None = None

    @classmethod
    def taken(cls, given: dict[str, Any]) -> "tuple[EngineOptions, dict[str, Any]]":
        """Those among a command's options, and the others."""
        names = {field.name for field in fields(cls)}
        ours = {name: value for name, value in given.items() if name in names}
        return cls(**ours), {name: value for name, value in given.items() if name not in names}


ENGINE_OPTIONS = (
    click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="What replays: this process, or workers of Ray.",
    ),
    click.option(
        "--address",
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
        help="GPUs of a Ray worker; 0.5: two share one. Default: 1 where there are GPUs and the replay is here.",
    ),
)


def engine_options(command: Command) -> Command:
    """Add --engine and what goes with it (`EngineOptions`)."""
    return with_options(*ENGINE_OPTIONS)(command)


def open_engine(
    options: EngineOptions, replay: ReplayOptions, policy: BasePolicy, max_model_len: int | None = None
) -> Engine:
    """The engine that the options describe, ready to replay.

    Raises:
        MissingExtra, ModelError, ReplayServerError: the replayer cannot be had. PolicyError: the policy was made for
            another. ClusterError, WorkerFailed, WorkersDiffer: there is no such cluster, or its workers cannot replay.
    """
    if options.engine == "local":
        if any(value is not None for value in (options.address, options.workers, options.gpus_per_worker)):
            raise click.UsageError("--address, --workers and --gpus-per-worker go with --engine ray")
        return Verifier(load_replayer(replay, policy, exact=policy.exact), policy, max_model_len)
    from verifier.ray.engine import RayEngine

    served = replay.implementation == "vllm"
    return RayEngine(
        partial(load_on_worker, replay=replay, policy=policy),
        policy,
        max_model_len,
        address=options.address,
        workers=options.workers or (max(1, len(replay.replay_urls)) if served else None),
        gpus_per_worker=0.0 if served and options.gpus_per_worker is None else options.gpus_per_worker,
        say=lambda what: click.echo(f"Warning: {what}.", err=True),
    )


def load_on_worker(number: int, replay: ReplayOptions, policy: BasePolicy) -> Replayer:
    """The replayer of a worker: of several servers, the one whose turn it is. Keys are read from files there."""
    urls = replay.replay_urls
    if len(urls) > 1:
        replay = replace(replay, replay_urls=(urls[number % len(urls)],))
    return load_replayer(replay, policy, exact=policy.exact)
