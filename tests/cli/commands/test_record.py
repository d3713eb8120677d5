import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.recorded import GREEDY, records_of
from tests.verifier.provider.provider_server import ModelLogits, Serving, drawing, provider_server
from weightwarden.cli.main import verify
from weightwarden.logger.formats.traffic_file import read_traffic
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

PROMPTS = [
    {"messages": [{"role": "user", "content": "What is the capital of France?"}]},
    {"messages": [{"role": "user", "content": "Say hello in three languages."}]},
]


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(verify, [str(argument) for argument in arguments])


def lines(path: Path, content: list[Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in content), encoding="utf-8")
    return path


@pytest.fixture
def serving(replayer: TransformersReplayer) -> Callable[..., Serving]:
    """Servers of the embedded model; their texts hold no special token."""
    tokenizer: Any = replayer.tokenizer
    encode = partial(tokenizer.encode, add_special_tokens=True)

    def make(**how: Any) -> Serving:
        return Serving(
            logits=ModelLogits(replayer),
            draw=drawing("vllm-cpu"),
            encode=encode,
            decode=lambda ids: tokenizer.decode(ids, skip_special_tokens=True),
            render=lambda messages: encode(
                tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            ),
            end=replayer.identity.eos_ids[0],
            **how,
        )

    return make


def verified(traffic: Path, folder: Path, model: Path) -> tuple[dict[str, Any], str]:
    """JSON report and summary of a run over greedy traffic, under a policy calibrated on recorded greedy traffic."""
    policy, honest = folder / "policy.toml", folder / "honest.jsonl"
    engine = {"name": "openai-compatible", "version": "unknown", "sampler": "greedy"}
    known = [record.model_dump(exclude_defaults=True) | {"engine": engine} for record in records_of(GREEDY)[:12]]
    made = invoke("calibrate", lines(honest, known), "--model", model, "--out", policy)
    assert made.exit_code == 0, made.output
    arguments = ["--model", model, "--policy", policy, "--unsafe-unsigned", "--json", folder / "r.json"]
    ran = invoke("run", traffic, *arguments, "--html", folder / "r.html")
    assert ran.exit_code == 0, ran.output
    return json.loads((folder / "r.json").read_text()), ran.output


def test_token_ids_of_a_provider_are_recorded_as_they_are(
    tmp_path: Path, model_folder: Path, serving: Callable[..., Serving]
) -> None:
    out = tmp_path / "t.jsonl"
    with provider_server(serving()) as url:
        made = invoke(
            "record", lines(tmp_path / "q.jsonl", PROMPTS), "--url", url, "--model", model_folder, "--out", out,
            "--max-tokens", 12,
        )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert "re-tokenised" not in made.output
    placed = read_traffic(out)
    assert [item.retokenised for item in placed] == [False, False]
    assert placed[0].record.sampling.is_greedy
    assert placed[0].record.model == "served"


def test_text_alone_is_retokenised_and_every_report_says_so(
    tmp_path: Path, model_folder: Path, serving: Callable[..., Serving], replayer: TransformersReplayer
) -> None:
    out = tmp_path / "t.jsonl"
    known = frozenset({"model", "messages", "temperature", "max_tokens", "top_p"})
    server = serving(tells_ids=False, known=known)
    with provider_server(server) as url:
        made = invoke(
            "record", lines(tmp_path / "q.jsonl", PROMPTS), "--url", url, "--model", model_folder, "--out", out,
            "--max-tokens", 40,
        )  # fmt: skip
    assert made.exit_code == 0, made.output
    assert "2 records were re-tokenised from text: special tokens" in made.output
    assert [body.keys() <= known for body in server.asked].count(False) == 2  # two dialects were refused, once each
    placed = read_traffic(out)
    assert all(item.retokenised for item in placed)
    stopped = [item.record for item in placed if item.record.finish_reason == "stop"]
    assert stopped
    assert all(record.output_token_ids[-1] in replayer.identity.eos_ids for record in stopped)

    report, summary = verified(out, tmp_path, model_folder)
    assert report["retokenised_records"] == 2
    assert report["statistics"]["rates"]["mismatch"]["value"] < 0.05
    assert "Note: 2 of 2 records were re-tokenised from text" in summary
    assert "2 of 2 records were re-tokenised from text" in (tmp_path / "r.html").read_text()

    invoke("log", "key", "new", "logs.example.org/import-1", "--out", tmp_path / "k.key")
    archived = invoke("log", "import", out, "--signing-key", tmp_path / "k.key", "--out", tmp_path / "a.parquet")
    assert archived.exit_code == 2
    assert "t.jsonl:1: re-tokenised from text; a log holds the token ids of the engine" in archived.output


def test_saved_exchanges_become_records_and_what_cannot_is_named(tmp_path: Path, model_folder: Path) -> None:
    request = {"model": "m", "prompt": "The capital of France is", "temperature": 0, "max_tokens": 2, "stream": False}
    text = {"choices": [{"text": " Paris.", "finish_reason": "length"}], "usage": {"completion_tokens": 2}}
    by_name = {
        "choices": [
            {
                "text": " Paris.",
                "finish_reason": "length",
                "logprobs": {"tokens": ["token_id:7042", "token_id:30"], "token_logprobs": [-0.1, -0.2]},
            }
        ]
    }
    bad = {
        "two tokens of three": (request, {**text, "usage": {"completion_tokens": 3}}),
        "another prompt": (request, {**text, "usage": {"prompt_tokens": 50}}),
        "sampled without a seed": ({**request, "temperature": 0.7}, text),
        "temperature unknown": ({k: v for k, v in request.items() if k != "temperature"}, text),
        "a field that is not understood": ({**request, "best_of": 3}, text),
        "a tool call": (request, {"choices": [{"text": "", "finish_reason": "tool_calls"}]}),
        "no completion": (request, {"error": "overloaded"}),
        "a stop string": ({**request, "stop": ["."]}, {"choices": [{"text": " Paris", "finish_reason": "stop"}]}),
        "broken text": (request, {"choices": [{"text": "\ufffd<|im_end|>\ud83d", "finish_reason": "length"}]}),
        "ids out of range": (request, {"choices": [{"text": "", "token_ids": [-1], "finish_reason": "length"}]}),
        "two prompts": ({**request, "messages": [{"role": "user", "content": "x"}]}, text),
    }
    exchanges = [{"request": a, "response": b} for a, b in [(request, text), (request, by_name), *bad.values()]]
    out = tmp_path / "t.jsonl"
    made = invoke("record", lines(tmp_path / "e.jsonl", exchanges), "--model", model_folder, "--out", out)
    assert made.exit_code == 0, made.output
    assert f"2 records, 4 tokens; {len(bad)} answers left out" in made.output
    for number, what in enumerate(bad, start=3):
        assert f"e.jsonl:{number}: " in made.output, what
    placed = read_traffic(out)
    assert [item.retokenised for item in placed] == [True, False]
    assert placed[0].record.output_token_ids == placed[1].record.output_token_ids == [7042, 30]


def test_nothing_recorded_is_an_error_and_leaves_no_file(tmp_path: Path, model_folder: Path) -> None:
    made = invoke(
        "record", lines(tmp_path / "e.jsonl", [{"prompt": "x"}]), "--model", model_folder, "--out", tmp_path / "t"
    )
    assert made.exit_code == 2
    assert "e.jsonl:1: not an exchange" in made.output
    assert not (tmp_path / "t").exists()
