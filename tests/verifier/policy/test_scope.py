"""The records for which a policy holds: by engine, version, scheme and engine profile."""

from functools import cache
from typing import Any

import pytest

from tests.verifier.verification.forced_answers import FormulaReplayer, plain_answer
from weightwarden.logger.engine_profile import EngineProfile, EngineProfileError
from weightwarden.logger.formats.location import PlacedRecord
from weightwarden.logger.record import Record
from weightwarden.verifier.calibration.exact import calibrate_exact
from weightwarden.verifier.errors import CalibrationError, PolicyError
from weightwarden.verifier.policy.exact import ExactPolicy
from weightwarden.verifier.policy.file import parse_policy
from weightwarden.verifier.verification.compatibility import check_against_policy, check_against_profile

PROFILE = EngineProfile(engine="vllm", version="0.32.0", sampler="vllm-v2-fp64", dtype="bfloat16")
OTHER = f"sha256:{'b' * 64}"
KNOWN = {"name": "vllm", "version": "0.32.0", "sampler": "vllm-v2-fp64"}
UNLISTED = {"name": "vllm", "version": "0.40.0", "sampler": "vllm-v2-fp64"}


@cache
def answers(scheme: str, temperature: float) -> list[Record]:
    return [plain_answer(scheme, number, 4, temperature=temperature) for number in range(10)]


def traffic(engine: dict[str, Any], temperature: float = 1.0) -> list[Record]:
    """Honest answers at that temperature, as if of this engine."""
    some = answers("greedy" if temperature == 0 else engine["sampler"], temperature)
    return [
        Record.model_validate(one.model_dump() | {"engine": engine, "seed": 7 if one.seed is None else one.seed})
        for one in some
    ]


def policy_of(records: list[Record], *, unlisted_engine: bool = False) -> ExactPolicy:
    names = [f"r:{at}" for at in range(len(records))]
    return calibrate_exact(FormulaReplayer(), records, names, unlisted_engine=unlisted_engine)


def named(profile: str | None) -> dict[str, Any]:
    return {**KNOWN, "profile": profile}


def refusal(policy: ExactPolicy, record: Record) -> str:
    with pytest.raises(PolicyError) as caught:
        check_against_policy([PlacedRecord(record, "t.jsonl", 3)], policy)
    assert str(caught.value).startswith("t.jsonl:3: engine.")
    return str(caught.value)


def test_a_policy_for_a_profile_holds_for_records_that_name_it_alone() -> None:
    policy = policy_of(traffic(named(PROFILE.digest())))
    assert policy.made_for.profile == PROFILE.digest()
    assert parse_policy(policy.to_toml().encode(), "p.toml") == policy
    (one, *_) = traffic(named(PROFILE.digest()))
    policy.check_scheme(one)
    assert policy.warnings([one]) == []
    other = refusal(policy, traffic(named(OTHER))[0])
    assert f"engine.profile: the policy was made for engine profile {PROFILE.digest()}, not {OTHER}" in other
    assert "not a record without one" in refusal(policy, traffic(KNOWN)[0])


def test_a_policy_without_a_profile_holds_for_any_and_says_so() -> None:
    policy = policy_of(traffic(KNOWN))
    assert policy.made_for.profile is None
    assert "profile" not in policy.to_toml()
    without, with_one = traffic(KNOWN)[0], traffic(named(OTHER))[0]
    for record in (without, with_one):
        policy.check_scheme(record)
    assert policy.warnings([without]) == []
    assert "made for none" in policy.warnings([without, with_one])[0]


def test_traffic_of_two_profiles_makes_no_policy() -> None:
    mixed = [*traffic(named(OTHER))[:5], *traffic(KNOWN)[:5]]
    with pytest.raises(CalibrationError, match="one engine profile; found: a record without one; sha256:bbb"):
        policy_of(mixed)


def test_an_unlisted_engine_makes_no_policy_unless_it_is_accepted() -> None:
    records = traffic(UNLISTED)
    with pytest.raises(CalibrationError, match=r"record 0: engine.version: .*not with vllm 0.40.0.*--unlisted-engine"):
        policy_of(records)
    policy = policy_of(records, unlisted_engine=True)
    assert policy.made_for.unlisted_engine
    assert parse_policy(policy.to_toml().encode(), "p.toml") == policy
    policy.check_scheme(records[0])
    assert "was not compared" in policy.warnings([])[0]


def test_a_listed_engine_needs_no_acceptance_and_its_policy_says_none() -> None:
    assert policy_of(traffic(KNOWN), unlisted_engine=True).made_for.unlisted_engine is None


def test_a_policy_that_does_not_accept_its_unlisted_engine_holds_for_no_draw() -> None:
    policy = policy_of(traffic(UNLISTED), unlisted_engine=True)
    strict = policy.model_copy(
        update={"made_for": policy.made_for.model_copy(update={"unlisted_engine": None})},
    )
    said = refusal(strict, traffic(UNLISTED)[0])
    assert "engine.version: scheme vllm-v2-fp64 was compared with vllm 0.32.x, not with vllm 0.40.0" in said
    assert "verify probe --url" in said


def test_greedy_answers_of_an_unlisted_engine_are_free_of_its_scheme() -> None:
    records = traffic(UNLISTED, temperature=0.0)
    policy = policy_of(records)
    assert policy.made_for.unlisted_engine is None
    policy.check_scheme(records[0])
    assert "0.40.0" in refusal(policy, traffic(UNLISTED)[0])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sampler": "vllm-v1"}, "engine.sampler"),
        ({"version": "0.32.1"}, "engine.version"),
        ({"name": "x"}, "engine.name"),
    ],
)
def test_a_refusal_names_the_field(change: dict[str, str], field: str) -> None:
    policy = policy_of(traffic(KNOWN))
    one = traffic(KNOWN)[0]
    other = one.model_copy(update={"engine": one.engine.model_copy(update=change)})
    assert f"t.jsonl:3: {field}: the policy was made for" in refusal(policy, other)


def test_an_engine_profile_is_shown_only_of_records_that_name_it() -> None:
    placed = [PlacedRecord(one, "t.jsonl", line) for line, one in enumerate(traffic(named(PROFILE.digest()))[:2], 1)]
    check_against_profile(placed, PROFILE, "profile.toml")
    for profile, said in ((OTHER, OTHER), (None, "none")):
        strange = PlacedRecord(traffic(named(profile))[0], "t.jsonl", 3)
        with pytest.raises(EngineProfileError, match=f"t.jsonl:3: engine.profile: {said}, and profile.toml is sha256:"):
            check_against_profile([*placed, strange], PROFILE, "profile.toml")
