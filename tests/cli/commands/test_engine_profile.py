"""`verify run --engine-profile`: the report shows what answered."""

import json
from pathlib import Path

from tests.cli.commands.test_run import invoke, write
from tests.recorded import FILTERED, records_of
from weightwarden.cli.reports.reading import read_report
from weightwarden.logger.engine_profile import EngineProfile
from weightwarden.verifier.policy.calibrated import Policy

TEXT = 'engine = "vllm"\nversion = "0.32.0"\nsampler = "vllm-cpu"\ndtype = "bfloat16"\n'


def test_the_profile_that_records_name_is_in_the_report(
    tmp_path: Path, model_folder: Path, bundled_policy: Policy
) -> None:
    ours, other = tmp_path / "profile.toml", tmp_path / "other.toml"
    ours.write_text(TEXT)
    other.write_text(TEXT.replace("bfloat16", "float16"))
    profile = EngineProfile.read(ours)
    record = min(records_of(FILTERED), key=lambda one: len(one.output_token_ids))
    named = record.model_copy(update={"engine": profile.of_record()})
    traffic, report = write(tmp_path / "t.jsonl", [named]), tmp_path / "r.json"
    made_for = bundled_policy.made_for.model_copy(update={"profile": profile.digest()})
    policy = tmp_path / "policy.toml"
    policy.write_text(bundled_policy.model_copy(update={"made_for": made_for}).to_toml())
    common = ("--model", model_folder, "--policy", policy, "--unsafe-unsigned", "--json", report)

    refused = invoke("run", traffic, *common, "--engine-profile", other)
    assert refused.exit_code == 2
    assert f"t.jsonl:1: engine.profile: {profile.digest()}, and {other} is sha256:" in refused.output

    page = tmp_path / "r.html"
    invoke("run", traffic, *common, "--engine-profile", ours, "--html", page)
    shown = json.loads(report.read_text())["engine_profile"]
    assert shown == {"digest": profile.digest(), "contents": profile.contents()}
    found = read_report(report)
    assert found.policy.profile == profile.digest()
    assert found.engine_profile is not None
    assert found.engine_profile.contents == profile
    assert profile.digest() in page.read_text()
