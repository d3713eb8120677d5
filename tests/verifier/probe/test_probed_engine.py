"""What a probe says of a server's engine, and the profile that it drafts."""

import tomllib
from pathlib import Path

import pytest

from weightwarden.logger.engine_profile import EngineProfile, EngineProfileError
from weightwarden.verifier.probe.probed_engine import ProbedEngine


@pytest.mark.parametrize(
    ("scheme", "version", "listed", "said"),
    [
        (
            "vllm-cpu",
            "0.32.0",
            True,
            "A known pair: scheme vllm-cpu was compared with vllm 0.32.x, and this is vllm 0.32.0",
        ),
        (
            "vllm-v2",
            "0.33.0",
            False,
            "Not a known pair: scheme vllm-v2 was compared with vllm 0.32.x only, and this is",
        ),
        ("sglang-ranked", None, None, "Not known whether this is a known pair: scheme sglang-ranked was compared with"),
        ("inverse-cdf", "b1", True, "A known pair"),
        ("greedy", None, True, "nothing is drawn"),
    ],
)
def test_it_says_whether_scheme_and_version_are_a_known_pair(
    scheme: str, version: str | None, listed: bool | None, said: str
) -> None:
    found = ProbedEngine(scheme=scheme, version=version)
    assert found.listed is listed
    assert said in str(found)


def test_the_draft_holds_what_is_known_and_is_a_profile_once_it_is_complete(tmp_path: Path) -> None:
    draft = ProbedEngine(scheme="vllm-v2", version='0.32.0"\n').profile_draft()
    assert tomllib.loads(draft)["version"] == '0.32.0"\n'  # the server stated it: it is quoted
    draft = ProbedEngine(scheme="vllm-v2", version="0.32.0").profile_draft()
    path = tmp_path / "profile.toml"
    path.write_text(draft)
    with pytest.raises(EngineProfileError, match=r"profile.toml: dtype"):
        EngineProfile.read(path)
    path.write_text(draft.replace("# dtype =", "dtype ="))
    profile = EngineProfile.read(path)
    assert (profile.engine, profile.version, profile.sampler) == ("vllm", "0.32.0", "vllm-v2")
    assert "version" not in tomllib.loads(ProbedEngine(scheme="vllm-v2", version=None).profile_draft())
