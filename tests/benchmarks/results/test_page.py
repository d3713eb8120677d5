"""The results page is what its files give, and every figure in its sentences is one of theirs."""

import re
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.results import page as results_page
from benchmarks.results.page import FILES, MARKED, PAGE, TABLES, ResultsPageError, generated, main
from benchmarks.results.tables.noise_models import NOISE_MODELS
from tests.benchmarks.results.claims import README, RESULTS, claims
from tests.places import ROOT

CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"\]\([^)]*\)")
NUMBER = re.compile(r"(?<![\w.-])\d")
SETTINGS = (
    "an audit of 1% of the output tokens",
    "for honest records with 0.068 bits a token",
    "lognormal with sigma 1, a mean of 300 tokens and at most 4,096.",
    "with probability 1% and left the audit",
    "(series and rates of tokens: 250)",
    "said on 2026-11-29",
    "T = 1, top-p 0.95, top-k 50), the verifier",
    "Guessing gains 0 bits",
    "a false-positive rate of 1e-2 and 1e-4",
    "until the monitor's alarm at 1e-4",
    "vLLM 0.32.0 (CPU, bfloat16; T = 1, top-p 0.95, top-k 50)",
    '"generate 100 random numbers"',
    "with 95% bands",
    "which is a capital of 10,000",
    "arXiv 2511.02620",
    "what the rate is at most (95%, were tokens independent)",
)
README_SETTINGS = ("(vLLM 0.32 on a CPU", "with 95% intervals")
"""Fragments of the pages whose numbers say how something was measured, or what is supported."""
NOT_KEPT = (
    "13,167 tokens, all of them judged, had 0.039%",
    "What is left is work of the host, 3 to 4 microseconds a token",
    "the GPU itself is busy 2% longer than in the bare prefill at 7B and 1.7B, 14 to 21% at 135M",
    "in 201 of 400 answers under other seeds",
    "With them left out, 0 of 40.",
    "40 seeds each: 0 of 800 flagged",
    "by up to 0.8 there, and rounding of 2^-9 on every layer",
    "whose min-p is 0.88 at temperature 0.05, and one is an end that stands 0.21 logits below",
)
"""Fragments of the page whose numbers come from runs of which no file was kept."""


@cache
def prose(page: str) -> str:
    """The sentences of a page: no block of code, no generated table, no target of a link; every gap one space."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return " ".join(TARGET.sub("]", CODE.sub("", MARKED.sub("", text))).split())


def test_the_page_is_what_the_files_give() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert generated(page, FILES) == page


def test_every_file_is_one_of_its_table_and_the_page_leads_to_it() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert {path.stem for path in FILES.glob("*.json")} == set(TABLES)
    for name, table in TABLES.items():
        assert table.read(FILES / f"{name}.json").rows, name
        assert f"](results/{name}.json)" in page


def test_the_page_has_no_table_but_those_of_its_files() -> None:
    assert not re.search(r"^\|", MARKED.sub("", PAGE.read_text(encoding="utf-8")), re.MULTILINE)


def test_every_claim_stands_in_its_page_with_the_figures_of_its_file() -> None:
    absent = [f"{claim.page}: {claim.sentence}" for claim in claims() if prose(claim.page).count(claim.sentence) != 1]
    assert not absent, (
        "not in the page, or twice: the page or tests/benchmarks/results/claims.py has to follow the files"
    )


def test_what_claims_say_in_words_holds() -> None:
    assert not [claim.sentence for claim in claims() if not claim.holds]


@pytest.mark.parametrize(
    ("page", "text", "untied"),
    [
        (RESULTS, prose(RESULTS), [*SETTINGS, *NOT_KEPT]),
        (README, prose(README).partition("## What it measures")[2].partition(" ## ")[0], README_SETTINGS),
    ],
    ids=[RESULTS, README],
)
def test_every_number_is_claimed_or_known_to_be_untied(page: str, text: str, untied: Sequence[str]) -> None:
    assert not [fragment for fragment in untied if fragment not in text]
    sentences = [claim.sentence for claim in claims() if claim.page == page]
    for fragment in sorted([*untied, *sentences], key=len, reverse=True):
        text = text.replace(fragment, "")
    assert not [text[max(found.start() - 40, 0) : found.end() + 20] for found in NUMBER.finditer(text)]


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page and its files, which the command takes for the project's."""
    shutil.copytree(FILES, tmp_path / "results", ignore=shutil.ignore_patterns("*.png"))
    shutil.copy(PAGE, tmp_path / "results.md")
    monkeypatch.setattr(results_page, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(results_page, "FILES", tmp_path / "results")
    return tmp_path


def test_a_new_measurement_is_published_by_its_file_alone(copied: Path) -> None:
    file, page = copied / "results" / "noise-models.json", copied / "results.md"
    results = NOISE_MODELS.read(file)
    other = results.rows[0].model_copy(update={"bits_per_token": 0.5})
    file.write_text(results.model_copy(update={"rows": [other]}).to_json(), encoding="utf-8")
    before = page.read_text(encoding="utf-8")
    checked = CliRunner().invoke(main, ["--check"])
    assert checked.exit_code == 1
    assert "make results-page" in checked.output
    assert page.read_text(encoding="utf-8") == before
    assert CliRunner().invoke(main, [], catch_exceptions=False).exit_code == 0
    assert NOISE_MODELS.line(other) in page.read_text(encoding="utf-8")
    assert CliRunner().invoke(main, ["--check"]).exit_code == 0


def test_a_marker_without_a_table_and_a_file_that_is_none_are_errors(copied: Path) -> None:
    with pytest.raises(ResultsPageError, match="no table is named 'nobody'; known: attackers"):
        generated("<!-- table: nobody -->\n<!-- end -->\n", FILES)
    (copied / "results" / "gpu.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ResultsPageError, match=r"gpu\.json"):
        generated("<!-- table: gpu -->\n<!-- end -->\n", copied / "results")
