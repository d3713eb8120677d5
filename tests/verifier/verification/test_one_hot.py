"""A whole verification of an engine that accepts drafts by chance: calibration, honest answers, and attackers."""

from functools import cache

import numpy as np

from tests.verifier.candidates.engine_samplers import KnownReplayer, Logits, answer, known_logits
from weightwarden.cli.reports.weakness import weakness
from weightwarden.logger.record import Record
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.calibration.fit import calibrate
from weightwarden.verifier.calibration.limits import CalibrationLimits
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.replay import Replay
from weightwarden.verifier.scoring.codes import CountingCode
from weightwarden.verifier.scoring.token_scores import score
from weightwarden.verifier.verification.verifier import Verifier

SCHEME = "vllm-v2-one-hot"
RECORDS, CALIBRATION = 60, 40
SETTINGS = ({"temperature": 1.0}, {"temperature": 0.7, "top_p": 0.9}, {"temperature": 1.0, "top_k": 20})


@cache
def traffic() -> tuple[Logits, list[Record], KnownReplayer, Policy]:
    """Honest answers, a replayer whose logits differ from the server's, and a policy of the first answers."""
    rng = np.random.default_rng(21)
    logits = known_logits(RECORDS, 4)
    records = [answer(SCHEME, logits[i], i, 500 + 31 * i, SETTINGS[i % 3], rng) for i in range(RECORDS)]
    replayer = KnownReplayer(logits + rng.normal(0, 0.01, logits.shape).astype(np.float32))
    limits = CalibrationLimits(max_dangerous_rate=0.002, max_unsafe_rate=0.01)
    return logits, records, replayer, calibrate(replayer, records[:CALIBRATION], limits, unlisted_engine=True).policy


def lengths(policy: Policy, replayer: KnownReplayer, records: list[Record]) -> tuple[FloatArray, FloatArray]:
    """Bits of every token under the counting and the pooled code."""
    vocabulary = replayer.identity.vocabulary
    codes = (policy.counting_code(vocabulary), policy.pooled_code(vocabulary))
    scores = [score(t.table, policy.tolerance, 0) for t in Replay(replayer, policy.window).tables(records)]
    counting, pooled = (np.concatenate([code.lengths(s) for s in scores]) for code in codes)
    return counting, pooled


def test_honest_answers_are_clear_and_no_test_counts_which_drafts_were_accepted() -> None:
    _, records, replayer, policy = traffic()
    assert policy.made_for.scheme == SCHEME
    assert policy.noise.boundary_upper is None
    found = Verifier(replayer, policy).verify(records[CALIBRATION:])
    assert not found.flagged
    assert not found.alarm
    assert 0.3 < found.exact_match_rate < 0.95
    assert 0.2 < found.charged_bits_per_token < 2


def test_a_better_drafter_than_the_calibrations_is_no_alarm() -> None:
    """All drafts are the likeliest token."""
    logits, _, replayer, policy = traffic()

    class Best:
        def integers(self, high: int) -> int:
            return min(1, high - 1)

    records = [answer(SCHEME, logits[i], i, 9000 + i, SETTINGS[i % 3], Best()) for i in range(RECORDS)]  # type: ignore[arg-type]
    found = Verifier(replayer, policy).verify(records)
    assert not found.alarm
    assert not found.flagged


def test_tokens_that_no_draft_gives_flag_their_records() -> None:
    logits, records, replayer, policy = traffic()
    altered = []
    for record in records[CALIBRATION:]:
        tokens = logits[record.prompt_token_ids[0]].argmin(axis=1).tolist()
        altered.append(Record.model_validate(record.model_dump() | {"output_token_ids": tokens}))
    found = Verifier(replayer, policy).verify(altered)
    assert found.alarm
    assert len(found.flagged) == len(altered)


def test_an_attacker_within_the_admissible_sets_is_charged_what_they_hold() -> None:
    """A message is written by the choice of drafts: each token of an admissible set has the same length."""
    _, records, replayer, policy = traffic()
    code = policy.counting_code(replayer.identity.vocabulary)
    assert isinstance(code, CountingCode)
    rng = np.random.default_rng(2)
    carried, sent = 0.0, []
    honest = records[CALIBRATION:]
    tables = list(Replay(replayer, policy.window).tables(honest))
    for placed in tables:
        found = score(placed.table, policy.tolerance, 0)
        said = []
        for at in range(len(found)):
            inside = np.flatnonzero(np.append(found.margin_n[at], found.rival_margin_nk[at]) <= policy.tolerance.margin)
            carried += float(np.log2(len(inside)))
            said.append(int(placed.table.ids_nk[at, rng.choice(inside)]))
        record = honest[int(placed.record_n[0])]
        sent.append(Record.model_validate(record.model_dump() | {"output_token_ids": said}))
    counting, pooled = lengths(policy, replayer, sent)
    assert carried > 100
    assert counting.sum() >= carried
    assert not Verifier(replayer, policy).verify(sent).alarm  # weak: what is admissible is no evidence
    # Any code that is a bound charges this attacker at least what the sets hold, on average.
    assert pooled.sum() > 0.95 * carried


def test_the_sentence_names_the_scheme_and_its_charge() -> None:
    assert weakness("vllm-v2", 1.0) == []
    (said,) = weakness(SCHEME, 0.5)
    assert said.startswith("Weak scheme: vllm-v2-one-hot accepts drafted tokens by chance")
    assert said.endswith("Charged: 0.5000 bits a token.")
