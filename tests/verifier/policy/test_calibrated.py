import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.places import BUNDLED_POLICY, DATA
from weightwarden.errors import WeightwardenError
from weightwarden.verifier.errors import PolicyError
from weightwarden.verifier.policy.calibrated import FORMAT, Policy
from weightwarden.verifier.policy.file import MAX_POLICY_BYTES
from weightwarden.verifier.policy.file import read_policy as read_any_policy
from weightwarden.verifier.scoring.noise_model import MARGIN_EDGES

DIGEST = "sha256:" + "5e" * 32
BINS = len(MARGIN_EDGES) - 1
seeded = settings(deadline=None, derandomize=True, max_examples=150)


def fields() -> dict[str, Any]:
    """A policy as its file holds it; the numbers are made up."""
    rate = {"value": 0.02, "low": 0.015, "high": 0.03}
    return {
        "format": FORMAT,
        "made_for": {
            "model_digest": DIGEST,
            "engine": "vllm",
            "engine_version": "0.32.0",
            "scheme": "vllm-cpu",
            "replay": "transformers",
            "dtype": "float32",
        },
        "thresholds": {
            "margin_logits": 0.15,
            "logit_slack_logits": 0.3,
            "mass_slack": 0.015,
            "rank_limit": 32,
            "noise_scale_logits": 0.047,
            "noise_scale_cdf": 0.001,
        },
        "noise": {
            "margin_edges_logits": list(MARGIN_EDGES),
            "chosen_upper": [0.5, 0.45, *(0.4 / 2**i for i in range(BINS - 2))],
            "outlier_margin_logits": 0.3,
            "outlier_upper": 0.0007,
        },
        "code": {
            "alternative": [0.2, 0.4, *(0.3 / 2**i for i in range(BINS - 1))],
            "suspicious": 0.001,
            "dangerous": 0.0001,
            "outliers_near": 0.0001,
            "outliers_far": 0.0001,
        },
        "calibration": {
            "records": 55,
            "tokens": 6500,
            "split_seed": 0,
            "max_dangerous_rate": 0.0005,
            "max_unsafe_rate": 0.002,
            "traffic": ["sha256:" + "0a" * 32],
        },
        "evaluation": {
            "records": 55,
            "tokens": 6513,
            "exact_match": {"value": 0.981, "low": 0.978, "high": 0.984},
            "suspicious": dict(rate),
            "dangerous": dict(rate),
            "outliers": dict(rate),
            "charged_bits_per_token": {"value": 0.12, "low": 0.11, "high": 0.13},
            "counting_bits_per_token": {"value": 0.13, "low": 0.12, "high": 0.14},
            "pooled_bits_per_token": {"value": 0.07, "low": 0.06, "high": 0.08},
            "entropy_bits_per_token": {"value": 0.06, "low": 0.05, "high": 0.07},
            "flagged_records": 0,
        },
    }


def policy() -> Policy:
    return Policy.model_validate(fields())


def with_value(place: str, value: object) -> str:
    """The policy's text with one field, named by its dotted place, replaced or added."""
    changed = fields()
    section: Any = changed
    *parents, name = place.split(".")
    for parent in parents:
        section = section[parent]
    section[name] = value
    return tomli_w.dumps(changed)


def lacking(place: str) -> str:
    """The policy's text without one field or section."""
    changed = fields()
    section: Any = changed
    *parents, name = place.split(".")
    for parent in parents:
        section = section[parent]
    del section[name]
    return tomli_w.dumps(changed)


def read_policy(path: Path) -> Policy:
    read = read_any_policy(path)
    assert isinstance(read, Policy)
    return read


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "policy.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# What a policy holds


def test_policy_read_back_from_its_text_is_equal(tmp_path: Path) -> None:
    read = read_policy(written(tmp_path, policy().to_toml()))
    assert read == policy()
    assert (read.to_toml(), read.digest()) == (policy().to_toml(), policy().digest())


def test_a_policy_of_before_there_was_a_bound_of_the_boundary_has_none(tmp_path: Path) -> None:
    first = read_policy(DATA / "versions" / "0.1" / "calibrated.toml")
    assert first.token_noise.boundary_upper is None
    assert first.likelihood_ratio_bets.upper_c[0] == 1.0  # nothing is bet on it
    assert "boundary_upper" not in first.to_toml()
    read = read_policy(written(tmp_path, with_value("noise.boundary_upper", 0.25)))
    assert read.token_noise.boundary_upper == read.likelihood_ratio_bets.upper_c[0] == 0.25
    assert read.likelihood_ratio_bets.upper_c[1:].tolist() == read.noise.chosen_upper
    for wrong in (0.0, 1.5, -0.25):
        with pytest.raises(PolicyError, match=r"noise\.boundary_upper"):
            read_policy(written(tmp_path, with_value("noise.boundary_upper", wrong)))


def test_the_bundled_policy_bounds_the_boundary() -> None:
    bounded = read_policy(BUNDLED_POLICY).token_noise.boundary_upper
    assert bounded is not None
    assert 0.1 < bounded < 0.4


def test_optional_noise_scale_is_left_out_of_the_text_and_read_back_as_none(tmp_path: Path) -> None:
    path = written(tmp_path, lacking("thresholds.noise_scale_cdf"))
    read = read_policy(path)
    assert read.thresholds.noise_scale_cdf is None
    assert "noise_scale_cdf" not in read.to_toml()
    assert read_policy(written(tmp_path, read.to_toml())) == read


@seeded
@given(
    margin=st.floats(1e-9, 100),
    mass=st.floats(0, 1, exclude_max=True),
    rank=st.integers(1, 2**62),
    rate=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3).map(sorted),
    upper=st.lists(st.floats(1e-12, 0.5), min_size=BINS, max_size=BINS).map(lambda u: sorted(u, reverse=True)),
    engine=st.text(min_size=1, max_size=20),
)
def test_any_policy_survives_its_text(
    margin: float, mass: float, rank: int, rate: list[float], upper: list[float], engine: str
) -> None:
    changed = fields()
    changed["made_for"]["engine"] = engine
    changed["thresholds"] |= {"margin_logits": margin, "mass_slack": mass, "rank_limit": rank}
    changed["noise"]["chosen_upper"] = upper
    changed["evaluation"]["outliers"] = dict(zip(("low", "value", "high"), rate, strict=True))
    ours = Policy.model_validate(changed)
    assert Policy.model_validate(tomllib.loads(ours.to_toml())) == ours


def test_whole_numbers_and_comments_are_read_as_the_policy_that_they_mean(tmp_path: Path) -> None:
    text = "# by hand\n" + with_value("thresholds.margin_logits", 1)
    read = read_policy(written(tmp_path, text))
    assert read.thresholds.margin_logits == 1.0
    assert read.digest() == read_policy(written(tmp_path, with_value("thresholds.margin_logits", 1.0))).digest()


def test_digest_names_the_content() -> None:
    digest = policy().digest()
    assert digest.startswith("sha256:")
    assert len(digest) == len(DIGEST)
    changed = fields()
    changed["thresholds"]["margin_logits"] = 0.1500001
    assert Policy.model_validate(changed).digest() != digest


def test_policy_is_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        policy().thresholds.rank_limit = 10**9  # type: ignore[misc]


def test_tolerance_is_that_of_the_thresholds() -> None:
    tolerance = policy().tolerance
    assert (tolerance.margin, tolerance.logit_slack, tolerance.mass_slack) == (0.15, 0.3, 0.015)


def test_token_noise_is_that_of_the_bounds() -> None:
    noise = policy().token_noise
    np.testing.assert_array_equal(noise.edges_b, MARGIN_EDGES)
    np.testing.assert_array_equal(noise.upper_b, fields()["noise"]["chosen_upper"])
    assert (noise.outlier_margin, noise.outlier_upper) == (0.3, 0.0007)


# What a policy is for


def test_policy_holds_for_what_it_was_made_for() -> None:
    policy().check_made_for(model_digest=DIGEST, replay="transformers", dtype="float32")


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"model_digest": "sha256:" + "00" * 32}, f"for model {DIGEST}, not sha256:{'00' * 32}"),
        ({"model_digest": ""}, f"for model {DIGEST}, not "),
        ({"replay": "vllm"}, "for replay transformers, not vllm"),
        ({"dtype": "bfloat16"}, "for replay dtype float32, not bfloat16"),
    ],
)
def test_policy_is_refused_for_anything_else(other: dict[str, str], says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        policy().check_made_for(**{"model_digest": DIGEST, "replay": "transformers", "dtype": "float32", **other})


# Files that are not policies

HALVES = [0.5 / 2**i for i in range(BINS)]

MALFORMED: dict[str, tuple[str | bytes, str]] = {
    # name: (content, what the message says after the path)
    "unknown key": (with_value("comment", "x"), "comment: unknown field"),
    "unknown key in a section": (with_value("thresholds.margin", 0.1), "thresholds.margin: unknown field"),
    "misspelled key": (
        with_value("thresholds.margin_logit", 0.1),
        "thresholds.margin_logit: unknown field; did you mean margin_logits?",
    ),
    "unknown section": (with_value("extra", {"a": 1}), "extra: unknown field"),
    "no format": (lacking("format"), "format: missing"),
    "no thresholds": (lacking("thresholds"), "thresholds: missing"),
    "no evaluation": (lacking("evaluation"), "evaluation: missing"),
    "no margin": (lacking("thresholds.margin_logits"), "thresholds.margin_logits: missing"),
    "no upper end of a rate": (lacking("evaluation.outliers.high"), "evaluation.outliers.high: missing"),
    "other version of the format": (with_value("format", "weightwarden-policy/2"), "format: "),
    "section is a string": (with_value("noise", "none"), "noise: "),
    "margin nan": (with_value("thresholds.margin_logits", float("nan")), "thresholds.margin_logits: "),
    "margin inf": (with_value("thresholds.margin_logits", float("inf")), "thresholds.margin_logits: "),
    "margin 0": (with_value("thresholds.margin_logits", 0.0), "thresholds.margin_logits: "),
    "margin negative": (with_value("thresholds.margin_logits", -0.1), "thresholds.margin_logits: "),
    "margin above any logit": (with_value("thresholds.margin_logits", 101.0), "thresholds.margin_logits: "),
    "margin is a string": (with_value("thresholds.margin_logits", "0.15"), "thresholds.margin_logits: "),
    "slack is a boolean": (with_value("thresholds.logit_slack_logits", True), "thresholds.logit_slack_logits: "),
    "mass slack 1": (with_value("thresholds.mass_slack", 1.0), "thresholds.mass_slack: "),
    "rank limit is a float": (with_value("thresholds.rank_limit", 32.0), "thresholds.rank_limit: "),
    "rank limit 0": (with_value("thresholds.rank_limit", 0), "thresholds.rank_limit: "),
    "noise scale 0": (with_value("thresholds.noise_scale_logits", 0), "thresholds.noise_scale_logits: "),
    "rate nan": (with_value("evaluation.dangerous.high", float("nan")), "evaluation.dangerous.high: "),
    "model digest too short": (with_value("made_for.model_digest", DIGEST[:-1]), "made_for.model_digest: "),
    "model digest in capitals": (with_value("made_for.model_digest", DIGEST.upper()), "made_for.model_digest: "),
    "model digest with a line end": (with_value("made_for.model_digest", DIGEST + "\n"), "made_for.model_digest: "),
    "model digest of another hash": (with_value("made_for.model_digest", "md5:" + "0" * 32), "made_for.model_digest: "),
    "traffic digest bad": (with_value("calibration.traffic", ["x"]), "calibration.traffic.0: "),
    "unknown scheme": (
        with_value("made_for.scheme", "vllm-v9"),
        "made_for.scheme: unknown sampling scheme 'vllm-v9'",
    ),
    "engine without a name": (with_value("made_for.engine", ""), "made_for.engine: "),
    "edges unsorted": (
        with_value("noise.margin_edges_logits", [0.0, 0.02, 0.01, *MARGIN_EDGES[3:]]),
        "noise.margin_edges_logits: must rise from 0",
    ),
    "edge twice": (
        with_value("noise.margin_edges_logits", [0.0, 0.01, 0.01, *MARGIN_EDGES[3:]]),
        "noise.margin_edges_logits: must rise from 0",
    ),
    "edges from above 0": (
        with_value("noise.margin_edges_logits", list(MARGIN_EDGES[1:])),
        "noise.margin_edges_logits: must rise from 0",
    ),
    "no edges": (with_value("noise.margin_edges_logits", []), "noise.margin_edges_logits: must rise from 0"),
    "edges of another version": (
        with_value("noise.margin_edges_logits", [0.0, 0.5, 1.0]),
        "noise.margin_edges_logits: not the bins of this version",
    ),
    "one bound too few": (
        with_value("noise.chosen_upper", HALVES[:-1]),
        f"noise.chosen_upper: {BINS - 1} bounds for {BINS} bins",
    ),
    "one bound too many": (
        with_value("noise.chosen_upper", [*HALVES, 1e-9]),
        f"noise.chosen_upper: {BINS + 1} bounds for {BINS} bins",
    ),
    "bounds rise": (
        with_value("noise.chosen_upper", [*HALVES[:3], 0.2, *HALVES[4:]]),
        "noise.chosen_upper: must fall",
    ),
    "bound above a half": (with_value("noise.chosen_upper", [0.6, *HALVES[1:]]), "noise.chosen_upper: must fall"),
    "bound 0": (with_value("noise.chosen_upper", [*HALVES[:-1], 0.0]), "noise.chosen_upper: must fall"),
    "bound above 1": (with_value("noise.chosen_upper", [1.5, *HALVES[1:]]), "noise.chosen_upper.0: "),
    "an alternative never taken": (with_value("code.alternative", [0.0] * (BINS + 1)), "code.alternative"),
    "too few alternatives": (with_value("code.alternative", [0.1] * BINS), "code.alternative"),
    "alternatives that rise": (
        with_value("code.alternative", [0.1, *(0.01 * (1 + i) for i in range(BINS))]),
        "code.alternative",
    ),
    "nothing suspicious ever": (with_value("code.suspicious", 0.0), "code.suspicious"),
    "outlier bound 0": (with_value("noise.outlier_upper", 0.0), "noise.outlier_upper: "),
    "rate above its interval": (
        with_value("evaluation.suspicious.value", 0.5),
        "evaluation.suspicious.value: must lie between low and high",
    ),
    "interval the wrong way round": (
        with_value("evaluation.exact_match", {"value": 0.5, "low": 0.6, "high": 0.4}),
        "evaluation.exact_match.value: must lie between low and high",
    ),
    "no calibration records": (with_value("calibration.records", 0), "calibration.records: "),
    "split seed negative": (with_value("calibration.split_seed", -1), "calibration.split_seed: "),
    "flagged records is a float": (with_value("evaluation.flagged_records", 1.0), "evaluation.flagged_records: "),
    "threshold beyond the rivals that inverse-cdf keeps": (
        with_value("made_for.scheme", "inverse-cdf").replace("\nmargin_logits = 0.15", "\nmargin_logits = 0.3"),
        "thresholds.margin_logits: ",
    ),
    "not TOML": (b"this is no policy\n", "not TOML: "),
    "JSON": (b'{"format": "weightwarden-policy/1"}', "not TOML: "),
    "key twice": (policy().to_toml().replace("records = 55", "records = 55\nrecords = 55", 1), "not TOML: "),
    "section twice": (policy().to_toml() + "\n[thresholds]\n", "not TOML: "),
    "cut off": (policy().to_toml()[:-3], "not TOML: "),
    "nested too deeply": ("x = " + "[" * 50_000, "not TOML: "),
    "byte order mark": ("\ufeff" + policy().to_toml(), "not TOML: "),
    "empty": (b"", "empty"),
    "white space": (b" \n\t\n", "empty"),
    "only a comment": (b"# nothing yet\n", "format: missing"),
    "not UTF-8": (policy().to_toml().replace("vllm", "vll\u00fc", 1).encode("latin-1"), "not UTF-8 at byte "),
    "too long": (policy().to_toml() + "#" * MAX_POLICY_BYTES, f"longer than {MAX_POLICY_BYTES} bytes"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_policy_is_refused_with_file_and_field(name: str, tmp_path: Path) -> None:
    content, says = MALFORMED[name]
    path = written(tmp_path, content)
    with pytest.raises(PolicyError) as caught:
        read_policy(path)
    assert str(caught.value).startswith(f"{path}: {says}")
    assert isinstance(caught.value, WeightwardenError)
    assert isinstance(caught.value, ValueError)


def test_number_of_5000_digits_is_refused_as_a_policy_error(tmp_path: Path) -> None:
    path = written(tmp_path, policy().to_toml().replace("records = 55", "records = " + "9" * 5000, 1))
    with pytest.raises(PolicyError) as caught:
        read_policy(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_policy_of_exactly_the_longest_length_is_read(tmp_path: Path) -> None:
    text = policy().to_toml()
    path = written(tmp_path, text + "#" * (MAX_POLICY_BYTES - len(text.encode())))
    assert path.stat().st_size == MAX_POLICY_BYTES
    assert read_policy(path) == policy()


@pytest.mark.parametrize(
    ("where", "why"), [(lambda folder: folder, "directory"), (lambda folder: folder / "missing.toml", "No such file")]
)
def test_directory_and_missing_file_are_refused_by_name(
    where: Callable[[Path], Path], why: str, tmp_path: Path
) -> None:
    with pytest.raises(PolicyError, match=why) as caught:
        read_policy(where(tmp_path))
    assert str(caught.value).startswith(f"{where(tmp_path)}: cannot be read: ")


TEXT = policy().to_toml().encode()


@seeded
@given(at=st.integers(0, len(TEXT) - 1), byte=st.integers(-1, 255))
def test_text_with_one_byte_changed_or_lost_is_a_policy_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    damaged = TEXT[:at] + (bytes([byte]) if byte >= 0 else b"") + TEXT[at + 1 :]
    path = written(tmp_path_factory.getbasetemp(), damaged)
    try:
        read = read_policy(path)
    except PolicyError as error:
        message = str(error)
    else:
        assert read_policy(written(tmp_path_factory.getbasetemp(), read.to_toml())) == read
        return
    assert message.startswith(f"{path}: ")
