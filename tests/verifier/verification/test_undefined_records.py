"""Records that have no definite answer: charged, never flagged, and no loss to the others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.places import BUNDLED_POLICY
from tests.recorded import FILTERED, records_of
from weightwarden.cli.main import verify
from weightwarden.logger.record import Record
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.verification.run_verdict import NothingToVerify
from weightwarden.verifier.verification.verifier import Verifier

EOS = 2
POISON: dict[str, dict[str, Any]] = {
    "no token is allowed": {"allowed_token_ids": [EOS], "min_tokens": 8},
    "a penalty that overflows": {"repetition_penalty": 1e-40},
    "a penalty past judging": {"repetition_penalty": 100.0},
    "every word is bad": {"allowed_token_ids": [28, 3297], "bad_words": [","]},
}


def short(record: Record, **sampling: Any) -> Record:
    """The first tokens of a record, drawn with other parameters if any are given."""
    said = record.model_dump(exclude_defaults=True) | {
        "output_token_ids": record.output_token_ids[:8],
        "finish_reason": "length",
        "stop_reason": None,
    }
    said["sampling"] = dict(record.sampling.model_dump(exclude_defaults=True), max_tokens=8) | sampling
    return Record.model_validate(said)


@pytest.fixture(scope="module")
def good() -> list[Record]:
    return [short(record) for record in records_of(FILTERED)[:6]]


@pytest.fixture(scope="module")
def verifier(replayer: TransformersReplayer, bundled_policy: Policy) -> Verifier:
    return Verifier(replayer, bundled_policy)


@pytest.mark.parametrize("poison", POISON)
def test_the_others_keep_their_verdicts_and_the_poisoned_one_is_charged_and_not_flagged(
    verifier: Verifier, good: list[Record], poison: str
) -> None:
    alone = verifier.verify(good)
    bad = short(good[3], **POISON[poison])
    bad = bad.model_copy(update={"output_token_ids": [0] * 8})
    found = verifier.verify([*good[:2], bad, *good[2:]])
    assert (found.records, found.tokens, found.exact) == (6, alone.tokens, alone.exact)
    assert not found.alarm
    assert not found.flagged
    assert [(aside.place, aside.tokens) for aside in found.unverifiable] == [(2, 8)]
    assert found.unverifiable[0].why
    charged = found.charges.counting_bits_r
    assert charged[2] >= 8 * np.log2(49152)
    assert np.delete(charged, 2) == pytest.approx(alone.charges.counting_bits_r, abs=1e-3)
    watched = found.watched
    assert all((watched[name][2] == 0).all() for name in watched)  # a client would have an honest server accused


def test_a_run_gives_a_figure_for_six_and_a_row_for_the_seventh(tmp_path: Path, good: list[Record]) -> None:
    bad = short(good[0], **POISON["no token is allowed"])
    path = tmp_path / "t.jsonl"
    path.write_text("".join(r.model_dump_json(exclude_defaults=True) + "\n" for r in [*good, bad]))
    arguments = ["run", path, "--policy", BUNDLED_POLICY, "--unsafe-unsigned", "--json", tmp_path / "r.json"]
    result = CliRunner().invoke(verify, [*map(str, arguments), "--html", str(tmp_path / "r.html")])
    assert result.exit_code == 2
    assert "Verdict: INCOMPLETE" in result.output
    assert "record 6 (t.jsonl:7): 8 tokens; sampling.allowed_token_ids: every one ends the answer" in result.output
    checked = CliRunner().invoke(verify, ["report", "check", str(tmp_path / "r.json")])
    assert checked.exit_code == 0, checked.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["verified_records"] == 6
    assert report["flagged"] == []
    assert [aside["line"] for aside in report["unverifiable"]] == [7]
    assert "every one ends the answer" in (tmp_path / "r.html").read_text()
    monitored = CliRunner().invoke(
        verify, ["monitor", str(tmp_path / "r.json"), "--policy", str(BUNDLED_POLICY), "--json"]
    )
    assert monitored.exit_code == 0, monitored.output
    series = json.loads(monitored.output)
    assert series["audits"][0]["tokens"] == report["verified_tokens"]  # the seventh is no evidence
    assert series["audits"][0]["flagged"] == 0
    assert series["limit"]["tokens"] == report["verified_tokens"] + 8  # and it is limited like the others


def test_a_run_of_nothing_else_says_why(verifier: Verifier, good: list[Record]) -> None:
    with pytest.raises(NothingToVerify, match="allowed_token_ids"):
        verifier.verify([short(good[0], **POISON["no token is allowed"])])
