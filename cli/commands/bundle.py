"""The commands `verify bundle`, which pack one record with its evidence, and verify it on another machine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from weightwarden.cli import exit_codes
from weightwarden.cli.commands.log.options import archives_argument
from weightwarden.cli.commands.log.show import archive_of
from weightwarden.cli.options.replayer import load_replayer
from weightwarden.cli.options.shared import ReplayOptions, public_key_option, replay_options
from weightwarden.errors import WeightwardenError
from weightwarden.logger.archive.reader import read_archive
from weightwarden.logger.archive.storage import archive_urls
from weightwarden.logger.files.output import check_writable, write_bytes
from weightwarden.logger.tlog.keys import PublicKeys
from weightwarden.text import printable
from weightwarden.verifier.bundle.bundle import BundleCheck, check_bundle, make_bundle, open_bundle, replay_bundle
from weightwarden.verifier.bundle.container import MAX_BUNDLE_BYTES
from weightwarden.verifier.bundle.errors import BundleError
from weightwarden.verifier.bundle.replay_table import BundledVerdict
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.policy.file import read_policy
from weightwarden.verifier.verification.verifier import Verifier


class UnreadableBundle(WeightwardenError, OSError):
    """A bundle that cannot be read."""


@click.group()
def bundle() -> None:
    """Pack one record of a log with its evidence for an investigator, and verify such a file."""


@bundle.command()
@click.argument("index", type=click.IntRange(0))
@archives_argument
@public_key_option(required=True)
@replay_options
@click.option(
    "--policy",
    "policy_path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Policy that judges the record.",
)
@click.option(
    "--out", "out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="File for the bundle (ZIP)."
)
@click.pass_context
def make(
    ctx: click.Context,
    /,
    index: int,
    archives: tuple[str, ...],
    public_key_path: Path,
    policy_path: Path,
    out: Path,
    **replay: Any,
) -> None:
    """Pack record INDEX of a log into one file, with all that another machine needs to verify it.

    The record is replayed. The file holds the record, the proof that it is in the log, the signed checkpoint, the
    policy, the verdict, and the scores of every token. It holds no other record. The same input makes the same bytes.
    """
    check_writable(out)
    keys = PublicKeys.read(public_key_path)
    policy = read_policy(policy_path)
    archive = archive_of([read_archive(url, keys) for url in archive_urls(archives)], index)
    verifier = _verifier(ctx, policy, ReplayOptions(**replay))
    data, verdict = make_bundle(archive, index, verifier)
    write_bytes(out, data)
    click.echo(f"{out}: {len(data)} bytes, {_said(verdict)}")


@bundle.command()
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
@public_key_option(required=True)
@click.option(
    "--replay",
    "wanted",
    is_flag=True,
    help="Replay the record on the embedded model. Implied by --model, --adapter and --replayer vllm.",
)
@replay_options
@click.pass_context
def check(ctx: click.Context, /, path: Path, public_key_path: Path, wanted: bool, **more: Any) -> None:
    """Verify a bundle: its manifest, the proof, the checkpoint's signature and, with --model, the verdict by a replay.

    Take the public key from elsewhere than the bundle's maker. Without a replay, verdict and scores are a statement of
    the maker. A replay must flag the record again, for the same kinds of reasons. Its margins may differ by the
    policy's tolerance, at one position in a hundred by more: processors round differently.

    Exit code 0: all checks passed. 1: a check failed, and is named. 2: error, and no result.
    """
    keys = PublicKeys.read(public_key_path)
    data = _read(path)
    options = ReplayOptions(**more)
    try:
        opened = open_bundle(data)
    except BundleError as error:
        click.echo(f"{path}: does NOT hold:\n  {printable(str(error))}")
        ctx.exit(exit_codes.ALARM)
    found = check_bundle(opened, keys)
    replays = wanted or options.model_name is not None or options.implementation == "vllm" or options.has_adapters
    if replays and not found.findings:
        replay_bundle(opened, lambda policy: _verifier(ctx, policy, options), found)
    elif not replays:
        found.notes.append("not replayed: verdict and scores are its maker's statement (--model replays)")
    click.echo(_result(path, found, opened.verdict))
    ctx.exit(exit_codes.ALARM if found.findings else exit_codes.CLEAR)


def _result(path: Path, found: BundleCheck, verdict: BundledVerdict) -> str:
    if found.findings:
        return "\n".join([f"{path}: does NOT hold:", *(f"  {printable(finding)}" for finding in found.findings)])
    lines = [f"{path}: holds.", *(f"  {printable(note)}" for note in found.notes), "", f"  {_said(verdict)}"]
    return "\n".join([*lines, *(f"    {printable(reason)}" for reason in verdict.reasons)])


def _said(verdict: BundledVerdict) -> str:
    state = "flagged" if verdict.flagged else "NOT VERIFIED" if verdict.undefined else "not flagged"
    return f"record {verdict.record} of {printable(verdict.log)}: {state}, {verdict.tokens} tokens"


def _verifier(ctx: click.Context, policy: BasePolicy, options: ReplayOptions) -> Verifier:
    if options.implementation == "transformers":
        options = replace(options, dtype=options.dtype or policy.made_for.dtype)
    replayer = load_replayer(options, policy, exact=policy.exact)
    ctx.call_on_close(replayer.close)
    return Verifier(replayer, policy, policy.made_for.max_model_len)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BUNDLE_BYTES + 1)
    except OSError as error:
        raise UnreadableBundle(f"{path}: cannot be read: {error.strerror or error}") from None
    return data
