"""Audits in proportion to tokens, beside audits that draw all records with one probability."""

import hashlib
import hmac

import numpy as np
import pytest
from scipy.stats import binom, kstest

from tests.recorded import FILTERED, records_of
from weightwarden.errors import WeightwardenError
from weightwarden.verifier.audit_selection import (
    METHODS,
    AuditDraw,
    NothingSelected,
    file_sha256,
    is_drawn,
    select_records,
    threshold,
    traffic_root,
)
from weightwarden.verifier.statistics.errors import StatisticsError
from weightwarden.verifier.statistics.sampling_design import AUDIT_BY, AuditBy, SamplingDesign
from weightwarden.verifier.verification.run_input import audit_digest, from_traffic

KEY = b"k" * 32
ROOT = bytes(32)
LENGTHS = np.minimum(np.random.default_rng(5).lognormal(np.log(182), 1, 20_000), 4096).astype(int)


def audits(draw: AuditDraw, lengths: list[int], roots: int) -> list[set[int]]:
    """The selections under so many roots."""
    return [
        set(np.flatnonzero([draw.selects(root.to_bytes(32, "big"), i, n) for i, n in enumerate(lengths)]))
        for root in range(roots)
    ]


def test_one_long_answer_full_of_payload_is_drawn_more_often_by_tokens_at_the_same_audited_tokens() -> None:
    lengths = [4096, *LENGTHS[:400].tolist()]
    by_records = SamplingDesign(0.01)
    audited = (by_records.probabilities(lengths) * lengths).sum()
    by_tokens = AuditDraw(audited / sum(n * (n + 8) / 1024 for n in lengths), KEY, "tokens")
    assert (by_tokens.probabilities(lengths) * lengths).sum() == pytest.approx(audited)
    found = {draw.by: audits(draw, lengths, 1000) for draw in (AuditDraw(0.01, KEY), by_tokens)}
    caught = {by: sum(0 in one for one in many) for by, many in found.items()}
    assert binom.ppf(1e-4, 1000, 0.01) <= caught["records"] <= binom.ppf(1 - 1e-4, 1000, 0.01)
    assert caught["tokens"] > 3 * caught["records"]
    tokens = {by: np.mean([sum(lengths[i] for i in one) for one in many]) for by, many in found.items()}
    assert tokens["tokens"] == pytest.approx(tokens["records"], rel=0.15)


@pytest.mark.parametrize("by", AUDIT_BY)
@pytest.mark.parametrize("rate", [0.01, 0.5, 1.0])
def test_records_of_every_length_are_drawn_with_their_probability(by: AuditBy, rate: float) -> None:
    draw, times = AuditDraw(rate, KEY, by), 4000
    for tokens in (0, 1, 100, 1016, 1600, 4096, 10**6):
        drawn = sum(draw.selects(ROOT, index, tokens) for index in range(times))
        p = draw.probability(tokens)
        assert binom.ppf(1e-5, times, p) <= drawn <= binom.ppf(1 - 1e-5, times, p)


def test_the_draw_is_the_written_one() -> None:
    draw = AuditDraw(0.3, KEY, "tokens")
    for index, tokens in enumerate(LENGTHS[:2000].tolist()):
        mac = hmac.digest(KEY, ROOT + index.to_bytes(8, "big"), "sha256")
        number = int.from_bytes(mac[:8], "big")
        assert draw.selects(ROOT, index, tokens) == (number < int(min(1.0, 0.3 * (tokens + 8) / 1024) * 2**64))
    assert "(n + 8) / 1024" in METHODS["tokens"]


@pytest.mark.parametrize("by", AUDIT_BY)
def test_other_records_do_not_move_the_draw_of_one(by: AuditBy) -> None:
    draw, lengths = AuditDraw(0.2, KEY, by), LENGTHS[:1000].tolist()
    found = select_records(draw, ROOT, lengths)
    others = [1 if place % 2 else length for place, length in enumerate(lengths)]
    same = select_records(draw, ROOT, [*others, 4096])
    assert [i for i in found if i % 2 == 0] == [i for i in same if i % 2 == 0 and i < 1000]


def test_a_longer_record_is_drawn_wherever_a_shorter_one_is() -> None:
    draw = AuditDraw(0.5, KEY, "tokens")
    for index in range(500):
        drawn = [draw.selects(ROOT, index, tokens) for tokens in (0, 10, 100, 1000, 2040, 5000)]
        assert drawn == sorted(drawn)
        assert drawn[-2:] == [True, True]  # from 2,040 tokens on, every record


@pytest.mark.parametrize("by", AUDIT_BY)
def test_selected_records_are_in_a_random_order_whatever_their_lengths(by: AuditBy) -> None:
    draw, lengths = AuditDraw(0.3, KEY, by), LENGTHS.tolist()
    places = select_records(draw, ROOT, lengths)
    scaled = np.array(list(places.values())) / 2**64
    long = np.array([lengths[index] > 300 for index in places])
    assert kstest(scaled, "uniform").pvalue > 1e-3
    assert kstest(scaled[long], "uniform").pvalue > 1e-3
    assert kstest(scaled[~long], "uniform").pvalue > 1e-3


def test_the_rate_is_that_of_an_answer_of_1016_tokens_and_ends_count_for_eight() -> None:
    design = SamplingDesign(0.01, "tokens")
    assert design.probability(1016) == 0.01
    assert design.probability(0) == pytest.approx(0.01 / 128)
    assert design.probability(2040) == pytest.approx(0.02)
    assert design.probability(2**40) == 1.0
    assert design.certain_tokens == 102_392
    assert design.probability(design.certain_tokens) == 1.0
    assert SamplingDesign(1.0, "tokens").probability(1015) < 1
    assert threshold(SamplingDesign(1.0, "tokens").probability(1016)) == 2**64
    assert SamplingDesign(0.01).certain_tokens == np.inf
    assert SamplingDesign(1.0).certain_tokens == 0


@pytest.mark.parametrize("by", AUDIT_BY)
def test_probabilities_of_many_records_are_those_of_each(by: AuditBy) -> None:
    for rate in (1e-300, 1e-6, 0.037, 1 / 3, 1.0):
        design, lengths = SamplingDesign(rate, by), [0, 1, 7, 1016, 4095, 2**20 + 1, 2**31]
        assert design.probabilities(lengths).tolist() == [design.probability(length) for length in lengths]


def test_a_probability_of_one_selects_and_one_that_rounds_to_nothing_does_not() -> None:
    assert is_drawn(2**64 - 1, 1.0)
    assert not is_drawn(0, SamplingDesign(1e-300, "tokens").probability(0))


@pytest.mark.parametrize(("rate", "by"), [(0.0, "tokens"), (1.1, "tokens"), (float("nan"), "records"), (0.5, "words")])
def test_no_other_design_exists(rate: float, by: AuditBy) -> None:
    with pytest.raises(StatisticsError, match="no sampling design"):
        SamplingDesign(rate, by)
    if by in AUDIT_BY:
        with pytest.raises(WeightwardenError, match="an audit rate lies in"):
            AuditDraw(rate, KEY, by)


def test_an_audit_by_tokens_of_nothing_says_so() -> None:
    with pytest.raises(NothingSelected, match="no record of 3 was selected at rate 1e-09 by tokens"):
        select_records(AuditDraw(1e-9, KEY, "tokens"), ROOT, [5, 5, 5])


def test_traffic_files_are_drawn_by_tokens_and_an_audits_digest_says_so() -> None:
    lengths = [len(record.output_token_ids) for record in records_of(FILTERED)]
    draw = AuditDraw(1.0, KEY, "tokens")
    given = from_traffic([FILTERED], draw)
    root = traffic_root([file_sha256(FILTERED)])
    assert list(given.indices) == list(select_records(draw, root, lengths))
    assert given.tokens == sum(lengths[index] for index in given.indices)
    assert given.design == draw.design
    selection = given.provenance["selection"]
    assert (selection["by"], selection["rate"], selection["method"]) == ("tokens", 1.0, METHODS["tokens"])
    digests = {audit_digest(root, design, [1, 2]) for design in (None, SamplingDesign(1.0), draw.design)}
    assert len(digests) == 3
    text = f'["{root.hex()}", 1.0, [1, 2]]'
    assert audit_digest(root, SamplingDesign(1.0), [1, 2]) == hashlib.sha256(text.encode()).hexdigest()
