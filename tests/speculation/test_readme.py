"""The plugin's README: its profile is one."""

import re
import tomllib

from benchmarks.speculation.engine_kernels import PLUGIN
from weightwarden.logger.engine_profile import EngineProfile


def test_its_speculation_is_that_of_an_engine_profile() -> None:
    [block] = re.findall(r"^```toml\n(.*?)^```$", (PLUGIN / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    engine = {"engine": "vllm", "version": "0.32.0", "sampler": "vllm-v2", "dtype": "bfloat16"}
    profile = EngineProfile.model_validate(engine | tomllib.loads(block))
    assert profile.speculation is not None
    assert profile.speculation.acceptance == "coupled"
