"""The documents: every relative link leads somewhere, and every term of the glossary stands once, in order."""

import re
from pathlib import Path

import pytest

from tests.places import ROOT

REFERENCE = re.compile(r"docs/(design|sampling)\.md ((?:\d+(?:\.\d+)?(?:, | and )?)+)")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Markdown renderers make them."""
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in LINK.findall(text):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_the_glossary_has_each_term_once_in_order() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = [term.lower() for term in re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE)]
    assert len(terms) > 30
    assert terms == sorted(set(terms))


def test_the_architecture_names_files_that_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:sampler|logger|verifier|cli|benchmarks|tests|weightwarden)/[\w/.]*)`", text):
        assert (ROOT / path).exists(), path


def test_references_of_the_sources_lead_to_sections() -> None:
    pages = {name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("design", "sampling")}
    sections = {name: set(re.findall(r"^#+ (\d+(?:\.\d+)?)\.? ", text, re.MULTILINE)) for name, text in pages.items()}
    found = 0
    for folder in ("sampler", "logger", "verifier", "cli", "benchmarks", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for page, numbers in REFERENCE.findall(path.read_text(encoding="utf-8")):
                for number in re.findall(r"\d+(?:\.\d+)?", numbers):
                    found += 1
                    assert number in sections[page], f"{path.relative_to(ROOT)}: docs/{page}.md {number}"
    assert found > 40
