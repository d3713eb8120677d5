"""The documents: every reference to a numbered section, every link with its anchor, and every path leads somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import ROOT

REFERENCE = re.compile(r"docs/(\w+)\.md,\ssections?\s((?:\d+(?:\.\d+)*(?:,\s|\sand\s)?)+)")
NUMBERED = re.compile(r"^#+ (\d+(?:\.\d+)*)\.? ", re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
SOURCES = ("benchmarks", "cli", "examples", "logger", "sampler", "tests", "verifier", "weightwarden")
PATH = re.compile(r"`((?:" + "|".join(SOURCES) + r")/[\w./-]*)`")
MODULE = re.compile(r"\b((?:benchmarks|tests)\.[a-z_]\w*(?:\.[a-z_]\w*)*)")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def text_of(path: Path) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors_of(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = [re.sub(r"[`*]", "", heading) for heading in HEADING.findall(text_of(path))]
    return {re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def references() -> Iterator[tuple[Path, str, str]]:
    """The file, the document and the section number of each reference."""
    files = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    for path in {path.resolve() for path in files} | set(PAGES):
        for document, numbers in REFERENCE.findall(path.read_text(encoding="utf-8")):
            for number in re.findall(r"\d+(?:\.\d+)*", numbers):
                yield path, document, number


def test_every_reference_to_a_section_leads_to_a_heading() -> None:
    numbers = {
        path.stem: set(NUMBERED.findall(path.read_text(encoding="utf-8"))) for path in PAGES if path.parent != ROOT
    }
    found = list(references())
    assert {document for _, document, _ in found} >= {"design", "sampling"}
    for path, document, number in found:
        assert number in numbers.get(document, set()), f"{path.relative_to(ROOT)}: docs/{document}.md, section {number}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_an_anchor(page: Path) -> None:
    for link in LINK.findall(text_of(page)):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.relative_to(ROOT)}: {link}"
        if anchor:
            assert anchor in anchors_of(target), f"{page.relative_to(ROOT)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_and_module_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in PATH.findall(text):
        assert (ROOT / path).exists(), f"{page.relative_to(ROOT)}: {path}"
    for module in MODULE.findall(text):
        place = ROOT.joinpath(*module.split("."))
        assert place.is_dir() or place.with_suffix(".py").exists(), f"{page.relative_to(ROOT)}: {module}"


INCLUDED = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_what_a_page_of_the_site_includes_from_elsewhere_has_no_relative_link(page: Path) -> None:
    """On the site, the link would begin at the folder docs/."""
    for name in INCLUDED.findall(page.read_text(encoding="utf-8")):
        links = LINK.findall(text_of(ROOT / name))
        assert all(link.startswith(("https://", "#")) for link in links), name
