"""`verify calibrate` and `verify run` on answers of an engine that accepts drafts by chance, of the embedded model."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.recorded import UNFILTERED, records_of
from tests.verifier.provider.provider_server import ModelLogits, drawing
from weightwarden.cli.main import verify
from weightwarden.logger.record import Record
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

pytestmark = pytest.mark.slow
ANSWERS, TOKENS = 20, 24


def speculating(replayer: TransformersReplayer) -> list[Record]:
    """Answers of a server that drafts the likeliest token."""
    draw, logits = drawing("vllm-v2-one-hot"), ModelLogits(replayer)
    answers = []
    for number, record in enumerate(records_of(UNFILTERED)[:ANSWERS]):
        sampling: dict[str, Any] = {"temperature": 1.0, "max_tokens": TOKENS, "ignore_eos": True}
        if number % 2:
            sampling |= {"top_k": 50}
        said = draw(logits, record.prompt_token_ids, sampling | {"seed": 100 + number}, TOKENS)
        fields = {
            "engine": {"name": "vllm", "version": "0.32.0", "sampler": "vllm-v2-one-hot"},
            "output_token_ids": said,
            "seed": 100 + number,
            "sampling": sampling,
            "finish_reason": "length",
            "stop_reason": None,
        }
        answers.append(Record.model_validate(record.model_dump() | fields))
    return answers


def test_honest_traffic_of_a_speculating_server_passes_and_the_scheme_is_called_weak(
    tmp_path: Path, model_folder: Path, replayer: TransformersReplayer
) -> None:
    lines = [record.model_dump_json(exclude_defaults=True) + "\n" for record in speculating(replayer)]
    fitted, judged, policy = tmp_path / "fitted.jsonl", tmp_path / "judged.jsonl", tmp_path / "policy.toml"
    fitted.write_text("".join(lines[:12]))
    judged.write_text("".join(lines[12:]))
    made = CliRunner().invoke(verify, ["calibrate", str(fitted), "--model", str(model_folder), "--out", str(policy)])
    assert made.exit_code == 0, made.output
    assert "Weak scheme: vllm-v2-one-hot accepts drafted tokens by chance" in made.output
    arguments = ["run", str(judged), "--model", str(model_folder), "--policy", str(policy), "--unsafe-unsigned"]
    result = CliRunner().invoke(
        verify, [*arguments, "--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")]
    )
    assert result.exit_code == 0, result.output
    assert "Weak scheme: vllm-v2-one-hot" in result.output
    assert "Weak scheme: vllm-v2-one-hot" in (tmp_path / "r.html").read_text()
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["verdict"] == "clear"
    assert 0.2 < report["charged_bits_per_token"] < 3
