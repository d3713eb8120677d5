from pathlib import Path

import pytest

from weightwarden.logger.engine_profile import EngineProfile, EngineProfileError

TEXT = """
engine = "vllm"
version = "0.32.0"
runner = "V2"
sampler = "vllm-v2"
dtype = "bfloat16"
attention_backend = "FLASH_ATTN"
[speculation]
method = "ngram"
tokens = 4
acceptance = "coupled"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "profile.toml"
    path.write_text(text)
    return path


def test_a_file_is_a_profile_that_records_name_by_its_digest(tmp_path: Path) -> None:
    profile = EngineProfile.read(written(tmp_path, TEXT))
    assert profile.speculation is not None
    assert profile.speculation.acceptance == "coupled"
    engine = profile.of_record()
    assert (engine.name, engine.version, engine.sampler) == ("vllm", "0.32.0", "vllm-v2")
    assert engine.profile == profile.digest()


def test_what_is_said_counts_and_not_how_it_is_said(tmp_path: Path) -> None:
    digest = EngineProfile.read(written(tmp_path, TEXT)).digest()
    said = 'format = "weightwarden engine profile/1"\ntensor_parallel = 1\nbatch_invariant = false\n'
    assert EngineProfile.read(written(tmp_path, said + TEXT)).digest() == digest
    for other in ('dtype = "float16"', 'dtype = "bfloat16"\nbatch_invariant = true'):
        changed = TEXT.replace('dtype = "bfloat16"', other)
        assert EngineProfile.read(written(tmp_path, changed)).digest() != digest


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("engine =", "profile.toml: not TOML"),
        (TEXT.replace('sampler = "vllm-v2"', 'sampler = "vllm-v9"'), "profile.toml: sampler: unknown sampling scheme"),
        (
            TEXT.replace('acceptance = "coupled"', 'acceptance = "block"'),
            "profile.toml: speculation.acceptance: block acceptance cannot be verified .* depends on later drafts",
        ),
        (
            TEXT.replace('acceptance = "coupled"', 'acceptance = "probabilistic"'),
            "speculation.acceptance: probabilistic acceptance cannot be verified .* a draft's probability is not",
        ),
        (
            TEXT.replace('acceptance = "coupled"', 'acceptance = "synthetic"'),
            "speculation.acceptance: synthetic acceptance cannot be verified .* accepted at a set rate",
        ),
        (TEXT.replace('acceptance = "coupled"', 'acceptance = "lossy"'), "profile.toml: speculation.acceptance"),
        (
            TEXT.replace('acceptance = "coupled"', 'acceptance = "one-hot"'),
            "profile.toml: sampler: speculation.acceptance one-hot and scheme vllm-v2-one-hot need each other",
        ),
        (
            TEXT.replace('sampler = "vllm-v2"', 'sampler = "vllm-v2-one-hot"'),
            "profile.toml: sampler: speculation.acceptance one-hot and scheme vllm-v2-one-hot need each other",
        ),
        (
            TEXT.replace('sampler = "vllm-v2"', 'sampler = "vllm-cpu"'),
            "profile.toml: speculation.acceptance: draws of .* alone can be coupled",
        ),
        (TEXT.replace('dtype = "bfloat16"', ""), "profile.toml: dtype"),
        ("magic = 1\n" + TEXT, "profile.toml: magic"),
        ("#" * 70_000, "at most"),
    ],
)
def test_a_file_that_is_no_profile_is_refused_by_file_and_field(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(EngineProfileError, match=complaint):
        EngineProfile.read(written(tmp_path, text))


def test_a_missing_file_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(EngineProfileError, match=r"none\.toml"):
        EngineProfile.read(tmp_path / "none.toml")


def test_stock_speculation_is_a_scheme_of_its_own(tmp_path: Path) -> None:
    text = TEXT.replace('"coupled"', '"one-hot"').replace('sampler = "vllm-v2"', 'sampler = "vllm-v2-one-hot"')
    assert EngineProfile.read(written(tmp_path, text)).of_record().sampler == "vllm-v2-one-hot"
