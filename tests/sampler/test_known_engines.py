"""The engines and versions that are known to draw by a scheme, and what is said of all others."""

import pytest

from weightwarden.sampler.known_engines import COMPARED, unlisted
from weightwarden.sampler.schemes import SCHEMES

KNOWN = {
    "vllm": ("0.32.0", "0.32", "0.32.7", "0.32.0+cpu", "0.32.0.post1"),
    "sglang": ("0.5.23", "0.5.23.post2"),
    "llama.cpp": ("b11549", "11549", "anything"),
}


def test_every_scheme_and_no_other_was_compared_with_something() -> None:
    assert COMPARED.keys() == SCHEMES.keys()
    assert [name for name, compared in COMPARED.items() if compared is None] == ["greedy"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_is_known_for_its_own_engine_alone(scheme: str) -> None:
    for engine, versions in KNOWN.items():
        for version in versions:
            own = COMPARED[scheme] is None or COMPARED[scheme].engine == engine  # type: ignore[union-attr]
            for written in (engine, engine.upper()):
                assert (unlisted(scheme, written, version) is None) == own, (engine, version)
    assert (unlisted(scheme, "another", "1") is None) == (scheme == "greedy")


@pytest.mark.parametrize(
    ("scheme", "engine", "version"),
    [
        ("vllm-v2", "vllm", "0.31.0"),
        ("vllm-v2", "vllm", "0.33.0"),
        ("vllm-v2", "vllm", "0.320"),
        ("vllm-cpu", "vllm", "0.32.1.dev512+gabc123"),  # of the branch of the next release
        ("vllm-cpu", "vllm", "0.32.0rc1"),
        ("vllm-cpu", "vllm", "0.32.0\n"),
        ("vllm-v1", "vllm", "unknown"),
        ("sglang", "sglang", "0.5.22"),
        ("sglang", "sglang", "0.5.3"),
        ("sglang", "sglang", "0.6.0"),
        ("sglang-ranked", "sglang", "0.5.24"),
    ],
)
def test_other_versions_are_unlisted_and_the_reason_says_what_to_do(scheme: str, engine: str, version: str) -> None:
    said = unlisted(scheme, engine, version)
    assert said is not None
    assert scheme in said
    assert f"not with {engine} {version}" in said
    assert "verify probe --url" in said


def test_unfiltered_noise_of_sglang_is_that_of_later_versions_too() -> None:
    for version in ("0.5.24", "0.5.30", "0.5.99", "0.5.100"):
        assert unlisted("sglang", "sglang", version) is None
