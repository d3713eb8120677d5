"""The replayer for a command's options."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weightwarden.cli.options.shared import ReplayOptions, ServerOptions, ServerToStart
from weightwarden.cli.progress import progress_bar
from weightwarden.extras import needs_extra
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.replay import Replayer

if TYPE_CHECKING:
    from weightwarden.verifier.replay.vllm.client import VllmClient

_IDENTITIES: dict[tuple[object, ...], ModelIdentity] = {}
"""The identities of models that this process has hashed. A model that is loaded again is not hashed again."""


def load_replayer(options: ReplayOptions, policy: BasePolicy | None = None, *, exact: bool = False) -> Replayer:
    """The replayer for the options.

    Args:
        options: the options.
        policy: policy that it is for; a server must be the one that the policy was made for.
        exact: True: the replay must be exact.

    Raises:
        MissingExtra: torch, transformers or an HTTP client is not installed.
        ModelError: the model cannot be used.
        ReplayServerError: the server cannot be used.
    """
    if options.implementation == "vllm":
        return _vllm_replayer(options, policy, exact)
    local = options.implementation == "vllm-local"
    with needs_extra("vllm-local" if local else "replay"):
        if local:
            from weightwarden.verifier.replay.vllm_local.replayer import VllmLocalReplayer
        else:
            from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
    identity = with_adapters(identity_of(options.model_name), options)
    max_model_len = options.max_model_len
    if policy is not None:
        max_model_len = max_model_len or policy.made_for.max_model_len
        policy.check_context(identity, max_model_len)
    if local:
        return VllmLocalReplayer.load(
            identity,
            dtype=options.dtype or (None if policy is None else policy.made_for.dtype),
            token_budget=options.token_budget,
            max_model_len=max_model_len,
        )
    return TransformersReplayer.load(
        identity,
        dtype=options.dtype or "float32",
        device=options.device,
        token_budget=options.token_budget,
        max_model_len=max_model_len,
    )


def _vllm_replayer(options: ReplayOptions, policy: BasePolicy | None, exact: bool) -> Replayer:
    dtype = options.dtype or (None if policy is None else policy.made_for.dtype)
    if options.own_server is not None and policy is not None:
        identity = with_adapters(identity_of(options.model_name), options)
        policy.check_made_for(model_digest=identity.digest, replay="vllm", dtype=dtype or policy.made_for.dtype)
        client = _started(options, options.own_server, policy, identity)
    else:
        client = vllm_client(options)
        identity = with_adapters(identity_of(options.model_name), options)
    try:
        from weightwarden.verifier.model.tokenizer import load_tokenizer
        from weightwarden.verifier.replay.vllm.preflight import dtype_without_policy
        from weightwarden.verifier.replay.vllm.repeatability import require_repeatable
        from weightwarden.verifier.replay.vllm.replayer import VllmReplayer

        replayer = VllmReplayer(
            client,
            identity,
            load_tokenizer(identity),
            dtype=dtype or dtype_without_policy(client, identity.dtype),
            redraw=exact,
            policy=policy,
            concurrency=options.replay_concurrency,
        )
        if exact:
            found = require_repeatable(client)
            click.echo(f"Fit for exact replay, tested in {found.seconds:.1f} s: {found}.", err=True)
        return replayer
    except BaseException:
        client.close()
        raise


def _started(
    options: ReplayOptions, server: ServerToStart, policy: BasePolicy, identity: ModelIdentity
) -> "VllmClient":
    """A client of a newly started server for the policy. The server ends with this process."""
    with needs_extra("vllm"):
        from weightwarden.verifier.replay.vllm.command import server_command
        from weightwarden.verifier.replay.vllm.managed_server import OwnVllmClient
        from weightwarden.verifier.replay.vllm.processor import CAPS, this_processor
    processor = this_processor(os.environ)
    command = server_command(
        policy,
        identity.path,
        processor=processor,
        max_model_len=server.max_model_len,
        adapters=list(identity.adapters.values()),
    )
    for remark in command.remarks:
        click.echo(f"vLLM server: {remark}", err=True)
    for name in CAPS:
        if os.environ.get(name, command.environment.get(name)) != command.environment.get(name):
            click.echo(f"Warning: {name}={os.environ[name]} is not passed on to the vLLM server.", err=True)
    click.echo(f"Starting a vLLM server with {server.python} (minutes) ...", err=True)
    return OwnVllmClient(
        server.python,
        replace(command, arguments=[*command.arguments, *server.arguments]),
        timeout=options.replay_timeout,
        connections=options.replay_concurrency,
    )


def vllm_client(server: ServerOptions) -> "VllmClient":
    """A client of the server that the options name.

    Raises:
        MissingExtra: the HTTP client or one of its requirements is not installed.
    """
    with needs_extra("vllm"):
        from weightwarden.verifier.replay.vllm.client import VllmClient
    if len(server.replay_urls) != 1:
        missing = "missing option --replay-url: the URL of the trusted vLLM server"
        several = "several --replay-url require --executor ray: one for each worker"
        raise click.UsageError(several if server.replay_urls else missing)
    return VllmClient(
        server.replay_urls[0],
        api_key=server.api_key(),
        timeout=server.replay_timeout,
        connections=server.replay_concurrency,
        model=server.replay_model or "",
    )


def with_adapters(identity: ModelIdentity, options: ReplayOptions) -> ModelIdentity:
    """The identity of a model, with the adapters of the options.

    Raises:
        ModelError: an adapter cannot be used.
    """
    from weightwarden.logger.model.adapter import read_adapters

    found = read_adapters(options.adapter, options.adapters)
    return replace(identity, adapters={one.digest: one for one in found.values()})


def identity_of(model_name: str | None) -> ModelIdentity:
    """The identity of a model folder or hub name, or of the embedded model.

    Raises:
        ModelError: the model cannot be used.
        MissingExtra: a package that reads or downloads it is not installed.
    """
    from weightwarden.verifier.model.embedded import default_model_folder, ensure_embedded_model
    from weightwarden.verifier.model.identity import identify_model
    from weightwarden.verifier.model.source import resolve_model

    if model_name is None:
        if not default_model_folder().exists():
            click.echo(f"Writing the embedded model to {default_model_folder()} (once) ...", err=True)
        folder = ensure_embedded_model()
    else:
        folder = resolve_model(model_name)
    files = _files_of(folder)
    if files is not None and files in _IDENTITIES:
        return _IDENTITIES[files]
    with progress_bar(100, "Hashing model") as step:
        done = 0

        def hashed(read: int, total: int) -> None:
            nonlocal done
            percent = 100 * read // total
            step(percent - done)
            done = percent

        identity = identify_model(folder, hashed)
    if files is not None:
        _IDENTITIES[files] = identity
    return identity


def _files_of(folder: Path) -> tuple[object, ...] | None:
    """A folder, with name, size, times and number of its files, which change with its content; None: unreadable."""
    try:
        found = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    except OSError:
        return None
    return folder, tuple((name, at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino) for name, at in found)
