"""The content of a run's reports: identity, meaning of the figures, and what too few records say."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from jsonschema_rs import Draft202012Validator

from tests.cli.commands.log.test_log import Logs
from tests.cli.commands.test_run import invoke, run, write
from tests.cli.commands.test_schema import schema
from tests.places import BUNDLED_POLICY
from tests.recorded import FILTERED, GREEDY, records_of
from weightwarden import __version__
from weightwarden.cli.reports.units import duration_text
from weightwarden.verifier.statistics.rounding import upper_bytes

AUDITOR = 'Jane <b>"Doe"</b>, Example Audits'


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """A folder with the reports and the tokens of a run on two traffic files."""
    folder = tmp_path_factory.mktemp("reports")
    write(folder / "a.jsonl", records_of(GREEDY)[:2])
    write(folder / "b.jsonl", records_of(FILTERED)[:3])
    result = run(
        *(folder / "a.jsonl", model_folder, folder / "b.jsonl", "--auditor", AUDITOR),
        *("--json", folder / "r.json", "--html", folder / "r.html", "--tokens", folder / "r.parquet"),
    )
    assert result.exit_code == 0, result.output
    (folder / "summary.txt").write_text(result.stdout)
    return folder


@pytest.fixture(scope="module")
def report(written: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((written / "r.json").read_text())
    return found


def test_the_report_follows_the_published_schema(report: dict[str, Any]) -> None:
    validator = Draft202012Validator(schema("report"))
    validator.validate(report)
    assert not validator.is_valid(report | {"unknown": 1})
    assert not validator.is_valid({name: value for name, value in report.items() if name != "inputs"})


def test_the_report_names_version_time_inputs_model_policy_and_auditor(written: Path, report: dict[str, Any]) -> None:
    assert report["weightwarden_version"] == __version__
    assert re.fullmatch(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report["created"])
    assert report["auditor"] == AUDITOR
    assert [(Path(one["path"]).name, one["sha256"], one["records"]) for one in report["inputs"]] == [
        (name, sha256(written / name), count) for name, count in (("a.jsonl", 2), ("b.jsonl", 3))
    ]
    assert report["policy"]["sha256"] == sha256(BUNDLED_POLICY)
    assert report["policy"]["digest"] == report["policy_digest"]
    assert report["policy"]["model_digest"] == report["model_digest"]
    software = report["environments"][0]["software"]
    assert software.keys() == {"python", "torch", "transformers", "numpy"}
    assert report["environments"][0]["processor"]
    page = (written / "r.html").read_text()
    for stated in (
        *(report["created"], __version__, report["model_digest"], report["policy_digest"], report["audit_digest"]),
        *(one["sha256"] for one in report["inputs"]),
    ):
        assert stated in page
    assert AUDITOR not in page  # its markup is escaped
    assert "Jane &lt;b&gt;" in page


def test_each_figure_has_its_sentence_and_what_is_no_bound_stands_apart(written: Path) -> None:
    summary, page = (written / "summary.txt").read_text(), (written / "r.html").read_text()
    bounds, lengths = (" ".join(part.split()) for part in summary.split("Code lengths, bits a token: no bounds"))
    for name in ("counting bound", "pooled bound", "mismatch", "suspicious", "dangerous"):
        assert re.search(rf"{name} [^a-z]+.*?For all 5 records, which were all audited", bounds), name
    assert "charged" not in bounds.partition("What could have been hidden")[2]
    assert "charged" in lengths
    assert lengths.count("It is no limit") == 2
    assert page.count('<tr class="meaning">') == 8
    assert page.index("no limits") < page.index(">charged<")


def test_the_plots_have_numbers_at_their_axes_and_marks_beside_colours(written: Path) -> None:
    page = (written / "r.html").read_text()
    assert re.search(r'text-anchor="end">100</text>', page)
    assert re.search(r'text-anchor="end">1%</text>', page)
    assert "url(#hatched)" in page
    assert "@media print" in page
    assert 'class="chosen"' in page


def test_the_tokens_are_those_of_the_report(written: Path, report: dict[str, Any]) -> None:
    table = pq.read_table(written / "r.parquet")
    rows = table.to_pylist()
    records = records_of(GREEDY)[:2] + records_of(FILTERED)[:3]
    assert [(row["record"], row["position"], row["token"]) for row in rows] == [
        (at, position, token)
        for at, record in enumerate(records)
        for position, token in enumerate(record.output_token_ids)
    ]
    assert sum(row["verdict"] == "safe" for row in rows) == report["safe"]
    assert sum(not row["exact"] for row in rows) == sum(report["statistics"]["records"]["mismatches"])
    charged = sum(row["charged_bits"] for row in rows) / report["verified_tokens"]
    assert charged == pytest.approx(report["charged_bits_per_token"])
    metadata = pq.read_metadata(written / "r.parquet").metadata or {}
    assert metadata[b"weightwarden.format"] == b"weightwarden-tokens/1"
    identity = json.loads(metadata[b"weightwarden.report"])
    assert identity == {name: report[name] for name in identity}
    assert {"inputs", "created", "auditor", "policy", "verdict", "audit_digest"} <= identity.keys()
    assert not [path for path in written.iterdir() if path.name.startswith(".")]


def test_a_run_that_fails_leaves_no_tokens(tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("defect")

    monkeypatch.setattr("weightwarden.verifier.verification.run.Exposure.of", broken)
    result = run(write(tmp_path / "t.jsonl", records_of(GREEDY)[:1]), model_folder, "--tokens", tmp_path / "t.parquet")
    assert result.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]


@pytest.mark.parametrize("auditor", ["", " ", "two\nlines", "\x1b[2J", "x" * 201])
def test_an_auditors_name_that_could_forge_lines_is_refused_before_the_work(auditor: str) -> None:
    result = invoke("run", FILTERED, "--policy", BUNDLED_POLICY, "--unsafe-unsigned", "--auditor", auditor)
    assert result.exit_code == 2
    assert "printable characters" in result.output


def test_few_records_of_many_are_inconclusive_and_the_report_says_what_is_missing(
    tmp_path: Path, model_folder: Path
) -> None:
    logs = Logs(tmp_path)
    logs.append(12)
    logs.seal()
    audit_key = logs.write_audit_key(0.3, wanted=4)
    result = invoke(
        *("run", logs.archives, "--public-key", logs.public, "--policy", BUNDLED_POLICY, "--model", model_folder),
        *("--audit-rate", 0.3, "--audit-key", audit_key),
        *("--json", tmp_path / "r.json", "--html", tmp_path / "r.html", "--tokens", tmp_path / "r.parquet"),
    )
    assert result.exit_code == 2, result.output
    assert "Verdict: INCONCLUSIVE" in result.output
    assert "more audited tokens" in result.output
    assert "at most" not in result.output.partition("What could have been hidden")[2].partition("Share")[0].replace(
        "a verdict needs at most", ""
    ).replace("carried at most this", "")
    report = json.loads((tmp_path / "r.json").read_text())
    Draft202012Validator(schema("report")).validate(report)
    assert report["verdict"] == "inconclusive"
    for bound in ("counting", "pooled"):
        found = report["statistics"]["bits_per_token"][bound]
        assert found["conclusive"] is False
        assert "a verdict needs" in found["needs"]
    (archive,) = report["inputs"]
    (path,) = logs.archives.iterdir()
    assert (archive["sha256"], archive["start"], archive["end"], archive["size"]) == (sha256(path), 0, 12, 12)
    assert archive["origin"] == "example.org/log"
    (key,) = archive["keys"]
    assert logs.public.read_text().startswith(f"{key}+")
    assert "audit key " not in json.dumps(report)
    assert report["selection"]["key_digest"].startswith("sha256:")
    assert "inconclusive" in (tmp_path / "r.html").read_text()
    selected = report["selection"]["ranges"][0]["selected"]
    assert pq.read_table(tmp_path / "r.parquet")["record"].unique().to_pylist() == selected
    estimate = invoke("estimate", "--output-tokens-per-day", 1e9, "--report", tmp_path / "r.json")
    assert estimate.exit_code == 2
    assert "too little was audited for an estimate" in estimate.output


@pytest.mark.parametrize(
    ("bits", "said"),
    [(0, "0 bytes"), (1, "0.125 bytes"), (8 * 594, "594 bytes"), (8 * 999.9, "1 kB"), (8e6 * 1.2301, "1.24 MB")],
)
def test_a_size_has_the_unit_that_fits_and_is_not_below_the_limit(bits: float, said: str) -> None:
    assert upper_bytes(bits) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.5, "0.5 seconds"), (119, "119 seconds"), (150, "2.5 minutes"), (7200, "2 hours"), (172800, "2 days")],
)
def test_a_duration_has_the_unit_that_fits(seconds: float, said: str) -> None:
    assert duration_text(seconds) == said
