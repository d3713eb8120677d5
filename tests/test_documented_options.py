"""The documents and examples: every command, option and metric that they name exists."""

import re
import shlex
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import click
import pytest

from tests.places import ROOT
from weightwarden.cli.main import verify
from weightwarden.cli.sidecar.main import sidecar
from weightwarden.cli.weightwarden import weightwarden

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*") if path.is_file())
FENCE = re.compile(r"^```.*?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`]+)`")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
METRIC = re.compile(r"\bweightwarden_\w+")
DATABASES = {"weightwarden_log", "weightwarden_verdicts"}
METRIC_FILES = ("logger/sidecar/metrics.py", "verifier/server/api/metrics.py")
SUFFIXES = ("_total", "_bucket", "_count", "_sum", "_created")

FOREIGN = {
    "vLLM": """
        --enable-lora --lora-modules --max-lora-rank
        --override-generation-config --generation-config --logprobs-mode --max-logprobs --max-num-batched-tokens
        --no-enable-chunked-prefill --enable-prefix-caching --use-fp64-gumbel --hf-overrides --gpu-memory-utilization
        --max-model-len --dtype --host --port --structured-outputs-config --reasoning-parser
    """,
    "SGLang": "--enable-deterministic-inference",
    "pip": "--no-deps --constraint --no-cache-dir --index-url --editable",
    "uv": "--torch-backend",
    "curl": "--fail",
    "PostgreSQL": """
        --pwprompt --owner --no-owner --dbname --no-psqlrc --file --format --username --auth-local --auth-host
        --data-checksums
    """,
    "podman, docker": """
        --build --format --tag --publish --volume --read-only --tmpfs --env --detach --stop-timeout --interval --timeout
        --start-period --retries
    """,
    "useradd, groupadd, install": """
        --gid --uid --create-home --home-dir --no-log-init --group --owner --mode --directory
    """,
    "systemctl": "--now",
    "kubectl": "--from-file --namespace",
    "nft": "--includepath",
    "ethtool": "--pause",
    "a program of an example": "--source",
}
"""Options of other programs that pages and examples name, by program."""


def commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Each command below a command, as its words, with its options."""
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    yield path, names | {"--help"} | ({"--version"} if len(path) == 1 else set())
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, (*path, name))


PROGRAMS = {"verify": verify, "sidecar": sidecar, "weightwarden": weightwarden}
OPTIONS = {path: given for name, program in PROGRAMS.items() for path, given in commands(program, (name,))}
GROUPS = {path for path in OPTIONS if any(other[: len(path)] == path for other in OPTIONS.keys() - {path})}
OURS = set().union(*OPTIONS.values())


def benchmark_options() -> set[str]:
    """The options of the benchmarks."""
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").rglob("*.py"))
    return {option for source in sources for option in re.findall(r"[\"'](--[a-z][a-z0-9-]*)[\"']", source)}


def snippets(path: Path) -> list[str]:
    """The code blocks and the inline code of a page; the whole of an example."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".md":
        return [text]
    return [*FENCE.findall(text), *CODE.findall(FENCE.sub("", text))]


def calls(snippet: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """The calls of our commands in a snippet: the command's words, and the options given."""
    for line in snippet.replace("\\\n", " ").replace("\n", "\n ").split("\n "):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        if words[:1] == ["$"]:
            words = words[1:]
        if not words or words[0] not in PROGRAMS:
            continue
        given = [option for word in words for option in OPTION.findall(word) if word.startswith(("--", "[--"))]
        for call in product(*(word.split("|") for word in words)):
            path = max((path for path in OPTIONS if call[: len(path)] == path), key=len)
            if path in GROUPS and len(call) > len(path) and re.fullmatch(r"[a-z][a-z-]*", call[len(path)]):
                pytest.fail(f"there is no command {' '.join(call[: len(path) + 1])}")
            yield path, given


@pytest.mark.parametrize("path", [*PAGES, *EXAMPLES], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_and_option_that_a_page_names_exists(path: Path) -> None:
    known = OURS | benchmark_options() | set(" ".join(FOREIGN.values()).split())
    for snippet in snippets(path):
        unknown = sorted(set(OPTION.findall(snippet)) - known)
        assert unknown == []
        for command, given in calls(snippet):
            foreign = sorted(set(given) - OPTIONS[command])
            assert foreign == [], " ".join(command)


def test_no_foreign_option_is_listed_in_vain() -> None:
    named = {option for path in [*PAGES, *EXAMPLES] for one in snippets(path) for option in OPTION.findall(one)}
    unused = sorted(set(" ".join(FOREIGN.values()).split()) - named)
    assert unused == []


@pytest.mark.parametrize("path", [*PAGES, *EXAMPLES], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_metric_that_a_page_names_exists(path: Path) -> None:
    sources = "".join((ROOT / file).read_text(encoding="utf-8") for file in METRIC_FILES)
    known = set(METRIC.findall(sources))
    for name in set(METRIC.findall(path.read_text(encoding="utf-8"))) - DATABASES:
        bare = next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), name)
        assert {name, bare} & known, name
