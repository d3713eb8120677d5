"""The command `verify record`, which makes a traffic file of a provider's greedy answers."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weightwarden.cli.options.provider import provider_client
from weightwarden.cli.options.replayer import identity_of
from weightwarden.cli.options.shared import MODEL_OPTION, ProviderOptions, provider_options
from weightwarden.cli.progress import counter
from weightwarden.errors import WeightwardenError
from weightwarden.extras import needs_extra
from weightwarden.logger.errors import TrafficError
from weightwarden.logger.files.output import check_writable, write_text
from weightwarden.logger.formats.traffic_file import MAX_LINE_BYTES, RETOKENISED_MEANS, traffic_line
from weightwarden.verifier.errors import UnusableAnswer

if TYPE_CHECKING:
    from weightwarden.verifier.provider.recording import Recorded

ENGINE_NAME = "openai-compatible"


class NothingRecorded(WeightwardenError, ValueError):
    """A recording in which no answer could be made a record."""


@click.command()
@click.argument("prompts", type=click.Path(path_type=Path), metavar="PROMPTS")
@provider_options(required=False)
@MODEL_OPTION
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Traffic file to write.")
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    default=128,
    show_default=True,
    metavar="TOKENS",
    help="Longest answer, in tokens (with --url).",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=4,
    show_default=True,
    metavar="COUNT",
    help="Largest number of requests under way (with --url).",
)
@click.option(
    "--engine-version",
    default="unknown",
    show_default=True,
    metavar="VERSION",
    help="Version of the provider's engine, if known. A policy holds for one version.",
)
def record(
    prompts: Path,
    model_name: str | None,
    out: Path,
    max_tokens: int,
    concurrency: int,
    engine_version: str,
    **provider: Any,
) -> None:
    """Make a traffic file of the answers of an OpenAI-compatible provider at temperature 0.

    PROMPTS is a file of JSON lines. With --url each line is a prompt: an object with messages, with prompt, or with
    prompt_token_ids, e.g. a line of a traffic file. Without --url each line is a saved exchange: an object with request
    and response, both in the API's form.

    If the provider returns no token ids, its text is re-tokenised with the tokenizer of --model, and the traffic file
    is marked. An answer is left out, and listed, if its text changes in this step or if its number of tokens differs
    from the provider's count. The prompt is always tokenised here.
    """
    with needs_extra("vllm"):
        from weightwarden.verifier.model.tokenizer import load_tokenizer
        from weightwarden.verifier.provider.completion import eos_token
        from weightwarden.verifier.provider.recording import CompletionRecorder
    check_writable(out)
    lines = list(_lines(prompts))
    options = ProviderOptions(**provider)
    identity = identity_of(model_name)
    tokenizer = load_tokenizer(identity)
    recorder = CompletionRecorder(
        engine={"name": ENGINE_NAME, "version": engine_version, "sampler": "greedy"},
        tokenizer=tokenizer,
        end_id=eos_token(tokenizer, identity.eos_ids),
    )
    if options.url is None:
        results = [_result(recorder.exchange, line) for line in lines]
    else:
        sampling = {"temperature": 0.0, "max_tokens": max_tokens}
        with closing(provider_client(options, concurrency)) as client:
            results = _in_threads(lambda fields: recorder.asked(fields, client, sampling), lines, concurrency)
    left_out = [f"{prompts}:{n}: {found}" for n, found in enumerate(results, start=1) if isinstance(found, str)]
    _write(out, [found for found in results if not isinstance(found, str)], left_out)


def _in_threads(make: "Callable[[Any], Recorded]", lines: list[bytes], concurrency: int) -> "list[Recorded | str]":
    """The result of each line. The first runs alone, since it finds out the server's form of requests."""
    results = [_result(make, line) for line in lines[:1]]
    with counter("Answers") as progress, ThreadPoolExecutor(concurrency) as pool:
        for result in pool.map(lambda line: _result(make, line), lines[1:]):
            results.append(result)
            progress(1)
    return results


def _result(make: "Callable[[Any], Recorded]", line: bytes) -> "Recorded | str":
    """The record of a line, or the reason why there is none."""
    from weightwarden.verifier.provider.prompt import PromptError, parse_json

    try:
        return make(parse_json(line))
    except (UnusableAnswer, PromptError) as error:
        return str(error)


def _write(out: Path, recorded: "list[Recorded]", left_out: list[str]) -> None:
    """Write the records, and report the answers left out."""
    for line in left_out:
        click.echo(f"Left out: {line}", err=True)
    if not recorded:
        raise NothingRecorded(f"none of {len(left_out)} answers could be made a record")
    write_text(out, "".join(traffic_line(item.record, retokenised=item.retokenised) for item in recorded))
    tokens = sum(len(item.record.output_token_ids) for item in recorded)
    retokenised = sum(item.retokenised for item in recorded)
    click.echo(f"{out}: {len(recorded)} records, {tokens} tokens; {len(left_out)} answers left out")
    if retokenised:
        click.echo(f"{retokenised} records were re-tokenised from text: {RETOKENISED_MEANS}")


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file.

    Raises:
        TrafficError: the file cannot be read, or a line is too long.
    """
    try:
        with path.open("rb") as stream:
            number = 0
            while line := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise TrafficError(f"line is longer than {MAX_LINE_BYTES} bytes", path=path, line=number)
                yield line
    except OSError as error:
        raise TrafficError(f"cannot be read: {error.strerror or error}", path=path) from error
