"""Every kind of incident has its place in the runbook, in the documents and in the server, and they are the same."""

import re
from typing import get_args

import pytest

from tests.places import ROOT
from weightwarden.logger.archive.check import FindingKind
from weightwarden.verifier.server.alerting.incident_kinds import CONCERNS, KINDS, links_of
from weightwarden.verifier.server.alerting.runbook import page, served_page
from weightwarden.verifier.server.ingest.quarantine import GRAVE

CONDITION = re.compile(r'Condition\(\s*"(\w+)"')
QUARANTINED = re.compile(r'(?:_quarantine\(number, |UnfitArchive\(|note_archive\(\w+, \S+, )"(\w+)"')
ROOM = ROOT / "verifier" / "server"


def kinds_in_code() -> set[str]:
    """The kinds that the conditions and the intake name, and the findings of an archive's check."""
    alerting = "".join((ROOM / "alerting" / name).read_text(encoding="utf-8") for name in ("conditions.py", "taps.py"))
    conditions = CONDITION.findall(alerting)
    ingest = "".join(path.read_text(encoding="utf-8") for path in (ROOM / "ingest").glob("*.py"))
    findings = set(get_args(FindingKind)) - {"rollback"}  # of a witness, which the server has not
    return {*conditions, *QUARANTINED.findall(ingest), *findings}


def test_every_kind_that_the_server_reports_is_in_the_runbook_and_no_other() -> None:
    found = kinds_in_code()
    assert {"monitor", "seal", "unreadable", "model", "gap", "defect"} <= found  # the search finds what there is
    assert found == set(KINDS)


def test_the_page_of_the_documents_is_that_of_the_server() -> None:
    remedy = "python -m weightwarden.verifier.server.alerting.runbook > docs/runbook.md"
    assert (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8") == page(), remedy


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_has_an_anchor_steps_and_a_place_in_the_dashboard(kind: str) -> None:
    said = KINDS[kind]
    assert f"\n### {kind}\n" in page()
    assert served_page().count(f'id="{kind}"') == 1
    assert said.steps
    assert said.concern in CONCERNS
    assert not said.title.endswith(".")
    assert said.explanation.endswith(".")
    place = said.dashboard.partition("?")[0]
    assert f'id="{place}"' in (ROOM / "dashboard" / "index.html").read_text(encoding="utf-8")
    shown = (ROOM / "dashboard" / "incidents.js").read_text(encoding="utf-8")
    assert re.search(rf'^  {place}: "\w', shown, re.MULTILINE)  # the words of the link
    assert links_of(kind, 7) == {
        "shown": f"#{said.dashboard}",
        "runbook": f"runbook#{kind}",
        "acknowledge": "#incident-7",
    }


def test_only_an_attack_on_the_log_or_a_broken_store_is_of_the_logs_integrity() -> None:
    assert {kind for kind, said in KINDS.items() if said.concern == "log"} == {*GRAVE, "gap", "cosignature"}
    assert {kind for kind, said in KINDS.items() if said.concern == "evidence"} == {
        "monitor",
        "unaccounted",
        "egress_unexplained",
    }
