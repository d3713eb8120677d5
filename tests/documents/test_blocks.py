"""The code blocks of the pages: their form, and that none is left out silently."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.documents.blocks import PAGES, SHELL, Block, Command, MalformedMarker, blocks_of
from tests.places import ROOT

NOT_RUN = frozenset({"text", "toml", "json", "jsonl", "yaml", "sql", "ini"})
"""Languages of blocks that show content, and hold no command."""
PROGRAMS = re.compile(r"^(?:\$ |(?:verify|sidecar|weightwarden|make|pip|uv|python|curl) )", re.MULTILINE)
EXTRA = re.compile(r"\[([a-z, ]+)\]['\"]?(?:\s|$)")
PINNED = re.compile(r"\b([a-z][\w-]*)==([\w.]+)")


def page_of(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text)
    return path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_states_its_language_and_commands_are_in_shell_blocks(page: Path) -> None:
    for block in blocks_of(page):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        assert block.language in SHELL | NOT_RUN | {"python"}, f"{where}: language {block.language!r}"
        if block.language in NOT_RUN:
            assert not PROGRAMS.search(block.content), f"{where}: a command in a block that does not run"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_install_lines_name_extras_and_pins_that_exist(page: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    pins = dict(PINNED.findall((ROOT / "constraints.txt").read_text(encoding="utf-8")))
    for block in blocks_of(page):
        for command in block.commands if block.language in SHELL else []:
            if "pip install" not in command.text:
                continue
            named = {name.strip() for found in EXTRA.findall(command.text) for name in found.split(",")}
            assert named <= set(extras), f"{page.name}:{command.line}: {named - set(extras)}"
            for package, version in PINNED.findall(command.text):
                assert pins.get(package, version) == version, f"{page.name}:{command.line}: {package}"


def test_a_marker_belongs_to_the_block_behind_it(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        "<!-- not run here: needs a CUDA\nGPU -->\n\n```sh\nnvidia-smi\n```\n\ntext\n\n```sh\ntrue\n```\n\n"
        "<!-- a server, ready at http://127.0.0.1:80/ready -->\n```sh\nserve\n```\n<!-- exits with 1 -->\n"
        "```console\n$ false\n```\n",
    )
    assert [(block.not_run, block.ready_at, block.exit_code) for block in blocks_of(page)] == [
        ("needs a CUDA GPU", None, 0),
        (None, None, 0),
        (None, "http://127.0.0.1:80/ready", 0),
        (None, None, 1),
    ]


@pytest.mark.parametrize(
    "marker",
    [
        "<!-- not run here -->",
        "<!-- not run here: -->",
        "<!-- not run here: because -->",
        "<!-- not run: needs a GPU -->",
        "<!-- a server -->",
        "<!-- exits with -->",
    ],
)
def test_a_marker_without_a_reason_is_refused(tmp_path: Path, marker: str) -> None:
    with pytest.raises(MalformedMarker):
        blocks_of(page_of(tmp_path, f"{marker}\n```sh\ntrue\n```\n"))


def test_a_marker_without_a_block_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedMarker):
        blocks_of(page_of(tmp_path, "<!-- not run here: needs a GPU -->\n\nA sentence.\n\n```sh\ntrue\n```\n"))


def test_commands_are_joined_as_the_shell_reads_them() -> None:
    content = "# a note\nverify run a \\\n    --json b\n\n(umask 077\n true)\ncat > f <<END\nverify\nEND\necho 'a\nb'\n"
    assert Block(10, "sh", content).commands == [
        Command(12, "verify run a \\\n    --json b"),
        Command(15, "(umask 077\n true)"),
        Command(17, "cat > f <<END\nverify\nEND"),
        Command(20, "echo 'a\nb'"),
    ]
    assert Block(1, "console", "$ make \\\n>   demo\nits output\n").commands == [Command(2, "make \\\n  demo")]
