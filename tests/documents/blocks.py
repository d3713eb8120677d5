"""The code blocks of a page, and the comments that state how they run.

A comment directly before a block, invisible on the rendered page, is its marker:

    <!-- not run here: needs a CUDA GPU -->      the block is not run; the reason begins with "needs" or "takes"
    <!-- a server, ready at URL -->              the block runs in a terminal of its own until the page ends
    <!-- exits with 1 -->                        the exit code of the block's last command

A page that goes on where another ends holds `<!-- continues PAGE.md -->`.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.places import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SHELL = frozenset({"sh", "bash", "shell", "console"})
_FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT_BEFORE = re.compile(r"<!--\s*((?:(?!-->).)*?)\s*-->\s*\Z", re.DOTALL)
_NOT_RUN = re.compile(r"not run here: ((?:needs|takes) .+)", re.DOTALL)
_SERVER = re.compile(r"a server, ready at (http\S+)")
_EXITS = re.compile(r"exits with (\d+)")
_CONTINUES = re.compile(r"<!-- continues (\S+) -->")
_MARKERS = re.compile(r"<!--\s*(?:not run|a server|exits with)")


class MalformedMarker(ValueError):
    """A comment that looks like a marker, and is none."""


@dataclass(frozen=True)
class Command:
    """One command of a block.

    Attributes:
        line: line of the page at which it begins, from 1.
        text: the command as it is typed, with its continuation lines.
    """

    line: int
    text: str


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        line: line of the page with the opening fence, from 1.
        language: the word behind the fence; empty without one.
        content: the lines between the fences.
        not_run: the reason why it is not run, or None.
        ready_at: URL that responds once the block's server serves, or None for a block that ends.
        exit_code: exit code of its last command.
    """

    line: int
    language: str
    content: str
    not_run: str | None = None
    ready_at: str | None = None
    exit_code: int = 0

    @property
    def commands(self) -> list[Command]:
        """The commands of a shell block. In a `console` block they are behind `$`; the rest is output."""
        return list(_commands(self.typed, self.line + 1))

    @property
    def typed(self) -> list[str]:
        """What is typed in a shell block, by line; output lines of a `console` block are empty."""
        lines = self.content.splitlines()
        if self.language != "console":
            return lines
        return [line[2:] if line.startswith(("$ ", "> ")) else "" for line in lines]


def blocks_of(page: Path) -> list[Block]:
    """All code blocks of a page, in order.

    Raises:
        MalformedMarker: a comment begins like a marker and has another form, or no block follows it.
    """
    text = page.read_text(encoding="utf-8")
    found, markers = [], 0
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        comment = _COMMENT_BEFORE.search(text[: match.start()])
        marker = " ".join(comment[1].split()) if comment else ""
        not_run, server, exits = (form.fullmatch(marker) for form in (_NOT_RUN, _SERVER, _EXITS))
        markers += any((not_run, server, exits))
        found.append(
            Block(
                line=line,
                language=match[1],
                content=match[2],
                not_run=not_run[1] if not_run else None,
                ready_at=server[1] if server else None,
                exit_code=int(exits[1]) if exits else 0,
            )
        )
    if markers != len(_MARKERS.findall(text)):
        raise MalformedMarker(f"{page.name}: {len(_MARKERS.findall(text)) - markers} markers without a block or a form")
    return found


def predecessor(page: Path) -> Path | None:
    """The page that a page continues, or None."""
    found = _CONTINUES.search(page.read_text(encoding="utf-8"))
    return page.parent / found[1] if found else None


def _commands(lines: list[str], first: int) -> Iterator[Command]:
    """Lines joined to whole commands, as bash reads them."""
    held: list[str] = []
    begun = first
    for number, line in enumerate(lines, first):
        if not held:
            begun = number
        held.append(line)
        text = "\n".join(held)
        if not text.strip() or text.lstrip().startswith("#"):
            held = []
        elif not line.endswith("\\") and _is_whole(text):
            yield Command(begun, text)
            held = []
    if held:
        yield Command(begun, "\n".join(held))


def _is_whole(text: str) -> bool:
    """True if bash would run the text now, and not wait for more of it (a quote, a here-document, a loop)."""
    done = subprocess.run(["bash", "-n"], input=text + "\n", capture_output=True, text=True)
    return done.returncode == 0 and not done.stderr
