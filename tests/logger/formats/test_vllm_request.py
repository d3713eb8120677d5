"""The vLLM request of a record."""

from typing import Any

import pytest

from tests.logger.examples import edited
from weightwarden.logger.formats.vllm_request import request_sampling
from weightwarden.logger.record import Record


@pytest.mark.parametrize(
    ("kind", "text", "sent"),
    [
        ("json", '{"b": 1.0, "a" : {}}', '{"b": 1.0, "a" : {}}'),
        ("regex", "a+", "a+"),
        ("choice", '["yes", "no"]', ["yes", "no"]),
        ("grammar", 'start: "a"', 'start: "a"'),
    ],
)
def test_a_grammar_is_sent_with_its_exact_text(kind: Any, text: str, sent: Any) -> None:
    grammar = {"kind": kind, "text": text, "backend": "guidance", "version": "1.7.6"}
    asked = Record.model_validate(edited(grammar=grammar))
    assert request_sampling(asked)["structured_outputs"] == {kind: sent}


def test_without_a_grammar_the_field_is_not_sent() -> None:
    assert "structured_outputs" not in request_sampling(Record.model_validate(edited()))
