"""One simulated server, its attackers' decoder, and the verifier."""

from pathlib import Path

import pytest

from benchmarks.attackers.__main__ import ENGINE
from benchmarks.attackers.interface import Outside, Site
from benchmarks.attackers.payload import Payload
from benchmarks.attackers.serving import ServedModel
from tests.benchmarks.attackers.small import KEY, SETTING
from weightwarden.verifier.model.identity import identify_model
from weightwarden.verifier.policy.calibrated import Policy
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer
from weightwarden.verifier.verification.verifier import Verifier


@pytest.fixture(scope="package")
def site(model_folder: Path, bundled_policy: Policy) -> Site:
    identity = identify_model(model_folder)
    engine = {"engine": ENGINE["name"], "engine_version": ENGINE["version"], "unlisted_engine": True}
    policy = bundled_policy.model_copy(update={"made_for": bundled_policy.made_for.model_copy(update=engine)})
    payload = Payload(next(model_folder.glob("*.safetensors")), KEY, 16 * SETTING.tokens + 64)
    return Site(ServedModel.load(identity), ServedModel.load(identity, "float32"), policy, KEY, payload)


@pytest.fixture(scope="package")
def outside(site: Site) -> Outside:
    return Outside(KEY, site.policy, site.server, site.replica)


@pytest.fixture(scope="package")
def verifier(site: Site, replayer: TransformersReplayer) -> Verifier:
    return Verifier(replayer, site.policy)
