"""The mechanical rules of docstrings: the first line names the thing, and a section has one name an entry."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import ROOT

PACKAGES = ("verifier", "logger", "sampler", "cli", "benchmarks", "examples/coupled-speculation")
QUESTION = re.compile(r"(What|Whether|Which|How|Where|Who|When)\b")
SECTION = re.compile(r"(Attributes|Args|Raises|Returns):")
SECTIONS_OF_NAMES = ("Attributes", "Args", "Raises")
ENTRY = re.compile(r"([*\w.]+): \S")
EXCEPTION = r"[A-Z]\w*[a-z]\w*"

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> list[Path]:
    packages = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted([*packages, *(ROOT / "weightwarden").glob("*.py")])


def documented(path: Path) -> Iterator[tuple[str, Documented, str | None]]:
    """The module, its classes and functions, each with its place and its docstring."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Documented):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"
            yield place, node, ast.get_docstring(node)


def entries(text: str) -> Iterator[tuple[str, str]]:
    """The entries of a docstring's sections: the section's title, and the entry with its continuations joined."""
    title, entry = "", ""
    for line in [*text.splitlines(), ""]:
        continued = title and line.startswith(" " * 5)
        if entry and not continued:
            yield title, entry
            entry = ""
        if continued:
            entry = f"{entry} {line.strip()}"
        elif title and line.startswith(" " * 4):
            entry = line.strip()
        elif line:
            section = SECTION.fullmatch(line)
            title = section[1] if section else ""


def names_of(node: Documented) -> set[str]:
    """The arguments of a function; the attributes and methods of a class, with the arguments of its constructor."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
    names: set[str] = set()
    for child in node.body:
        if isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            names.add(child.target.id)
        elif isinstance(child, ast.Assign):
            names.update(target.id for target in child.targets if isinstance(target, ast.Name))
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(child.name)
            if child.name == "__init__":
                names |= names_of(child)
                names.update(place.attr for place in ast.walk(child) if isinstance(place, ast.Attribute))
    return names


def faults_of_sections(node: Documented, text: str) -> Iterator[str]:
    """Entries that hold several names."""
    found = list(entries(text))
    names = names_of(node) | {entry[1] for _, line in found if (entry := ENTRY.match(line))}
    alternatives = "|".join(re.escape(name) for name in sorted(names))
    for title, line in found:
        if title in SECTIONS_OF_NAMES and not ENTRY.match(line):
            yield f"{title}: not one name before the colon: {line}"
            continue
        second = rf"[.;,)] ({EXCEPTION}|{alternatives}): " if title == "Raises" else rf"[.;,)] ({alternatives}): "
        if alternatives and re.search(second, line):
            yield f"{title}: a second entry: {line}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_docstring_names_the_thing_and_lists_one_name_an_entry(path: Path) -> None:
    faults = []
    for place, node, text in documented(path):
        if text is None:
            public = isinstance(node, ast.ClassDef) and not node.name.startswith("_")
            if public or isinstance(node, ast.Module):
                faults.append(f"{place} no docstring")
            continue
        if QUESTION.match(text):
            faults.append(f"{place} begins with a question: {text.splitlines()[0]}")
        if SECTION.match(text):
            faults.append(f"{place} begins with a section")
        faults += [f"{place} {fault}" for fault in faults_of_sections(node, text)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("text", "faulty"),
    [
        ("Sum.\n\nArgs:\n    a: left.\n    b: right, for example\n        with a: colon.", 0),
        ("Sum.\n\nArgs:\n    a: left. b: right.", 1),
        ("Sum.\n\nArgs:\n    a: left; it is long and\n        broken. b: right.", 1),
        ("Sum.\n\nArgs:\n    a, b: both of them.", 1),
        ("Sum.\n\nRaises:\n    ValueError: none. KeyFileError: none.", 1),
        ("Sum.\n\nRaises:\n    ValueError, KeyFileError.", 1),
        ("Sum.\n\nReturns:\n    The sum, a number.", 0),
    ],
)
def test_a_second_name_in_an_entry_is_found(text: str, faulty: int) -> None:
    function = ast.parse("def add(a, b): ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    assert len(list(faults_of_sections(function, text))) == faulty
