"""The engine of a sidecar: from a profile, from options, and what is said where they disagree."""

from pathlib import Path
from typing import Any

import pytest

from weightwarden.cli.sidecar.engine import engine_settings
from weightwarden.errors import WeightwardenError
from weightwarden.logger.engine_profile import EngineProfile

TEXT = """
engine = "vllm"
version = "0.32.0"
sampler = "vllm-v2"
dtype = "bfloat16"
grammar_backend = "guidance==1.7.6"
"""
SPECULATION = '[speculation]\nmethod = "ngram"\ntokens = 4\nacceptance = "{}"\n'
NONE: dict[str, Any] = {
    **dict.fromkeys(("engine_profile", "engine", "engine_version", "sampler", "grammar_backend")),
    "speculative_decoding": False,
    "adapter": (),
    "adapters": (),
}


def profile(folder: Path, text: str = TEXT) -> Path:
    path = folder / "profile.toml"
    path.write_text(text)
    return path


def test_a_profile_gives_all_of_it_and_records_name_its_digest(tmp_path: Path) -> None:
    path = profile(tmp_path)
    found = engine_settings({**NONE, "engine_profile": path})
    assert found.engine == EngineProfile.read(path).of_record()
    assert found.engine.profile == EngineProfile.read(path).digest()
    assert str(found.grammar_backend) == "guidance==1.7.6"
    assert not found.speculative_decoding


def test_options_may_say_the_same_as_the_profile(tmp_path: Path) -> None:
    path = profile(tmp_path, TEXT + SPECULATION.format("greedy"))
    alone = engine_settings({**NONE, "engine_profile": path})
    said = {"engine": "vllm", "engine_version": "0.32.0", "sampler": "vllm-v2", "grammar_backend": "guidance==1.7.6"}
    assert engine_settings({**NONE, **said, "speculative_decoding": True, "engine_profile": path}) == alone


@pytest.mark.parametrize(("acceptance", "speculative"), [("greedy", True), ("coupled", False)])
def test_acceptance_decides_whether_requests_above_temperature_0_are_refused(
    tmp_path: Path, acceptance: str, *, speculative: bool
) -> None:
    path = profile(tmp_path, TEXT + SPECULATION.format(acceptance))
    assert engine_settings({**NONE, "engine_profile": path}).speculative_decoding is speculative


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"engine": "sglang"}, "--engine sglang: .*profile.toml has engine vllm"),
        ({"engine_version": "0.31.0"}, "--engine-version 0.31.0: .*profile.toml has version 0.32.0"),
        ({"sampler": "vllm-v1"}, "--sampler vllm-v1: .*profile.toml has sampler vllm-v2"),
        ({"grammar_backend": "guidance==1.9.1"}, "--grammar-backend guidance==1.9.1: .* has grammar_backend guidance"),
        ({"speculative_decoding": True}, "--speculative-decoding: .*profile.toml has speculation.acceptance none"),
    ],
)
def test_an_option_that_contradicts_the_profile_is_refused_by_option_and_field(
    tmp_path: Path, said: dict[str, Any], why: str
) -> None:
    with pytest.raises(WeightwardenError, match=why):
        engine_settings({**NONE, **said, "engine_profile": profile(tmp_path)})


def test_a_grammar_backend_that_the_profile_lacks_is_refused(tmp_path: Path) -> None:
    path = profile(tmp_path, TEXT.replace('grammar_backend = "guidance==1.7.6"\n', ""))
    with pytest.raises(WeightwardenError, match="has grammar_backend none"):
        engine_settings({**NONE, "grammar_backend": "guidance==1.7.6", "engine_profile": path})
    path = profile(tmp_path, TEXT.replace("guidance==1.7.6", "xgrammar==0.2.8"))
    with pytest.raises(WeightwardenError, match=r"profile.toml: grammar_backend: xgrammar: .* cannot be verified"):
        engine_settings({**NONE, "engine_profile": path})


def test_adapters_are_served_only_where_the_profile_has_them(tmp_path: Path) -> None:
    given = {**NONE, "adapters": (tmp_path,)}
    with pytest.raises(WeightwardenError, match=r"adapters: .*profile.toml says that the server serves none"):
        engine_settings({**given, "engine_profile": profile(tmp_path)})
    path = profile(tmp_path, TEXT + "adapters = true\n")
    assert engine_settings({**given, "engine_profile": path}).engine == EngineProfile.read(path).of_record()


def test_without_a_profile_scheme_and_version_are_required() -> None:
    given = {**NONE, "sampler": "vllm-v2", "engine_version": "0.32.0"}
    found = engine_settings(given)
    assert (found.engine.name, found.engine.profile, found.grammar_backend) == ("vllm", None, None)
    for option, flag in (("sampler", "--sampler"), ("engine_version", "--engine-version")):
        with pytest.raises(WeightwardenError, match=f"{flag} is missing: give it, or an --engine-profile"):
            engine_settings({**given, option: None})
