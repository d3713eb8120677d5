import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.verifier.provider.provider_server import (
    Draw,
    ModelLogits,
    Serving,
    drawing,
    numpy_drawing,
    provider_server,
)
from weightwarden.cli.main import verify
from weightwarden.verifier import http_client
from weightwarden.verifier.replay.transformers.replayer import TransformersReplayer

pytestmark = pytest.mark.slow

SMALL = ("--prompts", "4", "--tokens", "12")


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(verify, [str(argument) for argument in arguments])


def serving(replayer: TransformersReplayer, draw: Draw, **how: Any) -> Serving:
    tokenizer: Any = replayer.tokenizer
    return Serving(
        logits=ModelLogits(replayer),
        draw=draw,
        encode=partial(tokenizer.encode, add_special_tokens=True),
        decode=lambda ids: tokenizer.decode(ids, skip_special_tokens=True),
        **how,
    )


@pytest.mark.parametrize("name", ["vllm-cpu", "inverse-cdf"])
def test_a_server_of_the_embedded_model_is_named(name: str, replayer: TransformersReplayer, model_folder: Path) -> None:
    with provider_server(serving(replayer, drawing(name))) as url:
        found = invoke("probe", "--url", url, "--model", model_folder, *SMALL)
    assert found.exit_code == 0, found.output
    agreed = re.search(rf"Samples by {name}: (\d+) of 48 unfiltered tokens", found.output)
    assert agreed is not None, found.output
    assert int(agreed[1]) >= 44  # the server computes step by step, which rounds otherwise; chance gives 10
    assert "told by the server" in found.output
    assert "Finding" not in found.output


def test_a_server_that_tells_text_alone_is_named_from_its_text(
    replayer: TransformersReplayer, model_folder: Path
) -> None:
    known = frozenset(
        {"model", "prompt", "seed", "max_tokens", "temperature", "top_k", "top_p", "min_p", "repeat_penalty"}
    )
    server = serving(replayer, drawing("inverse-cdf"), tells_ids=False, takes_ids=False, known=known)
    with provider_server(server) as url:
        found = invoke("probe", "--url", url, "--model", model_folder, "--prompts", 8, "--tokens", 8, "--json")
    assert found.exit_code == 0, found.output
    report = json.loads(found.output)
    assert report["format"] == "weightwarden-probe/1"
    assert report["scheme"] == "inverse-cdf"
    assert report["asked_as"] == "llama-cpp-python"
    assert report["retokenised_answers"] > 0
    assert report["unfiltered"]["best"]["log10_p"] < -9


def test_a_server_with_numpys_generator_is_none(replayer: TransformersReplayer, model_folder: Path) -> None:
    with provider_server(serving(replayer, numpy_drawing)) as url:
        found = invoke("probe", "--url", url, "--model", model_folder, *SMALL)
    assert found.exit_code == 1, found.output
    assert "Samples by none of the known schemes." in found.output


def test_a_server_that_is_not_there_is_an_error(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(http_client, "MAX_WAIT", 0.0)
    found = invoke("probe", "--url", "http://127.0.0.1:9", "--model", model_folder)
    assert found.exit_code == 2
    assert "cannot be reached" in found.output
