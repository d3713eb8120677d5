"""The gate of grammars: a refusal names the field, and what was checked passes at once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from weightwarden.logger.errors import ModelError
from weightwarden.logger.grammar.backend import GrammarBackend
from weightwarden.logger.grammar.process import GrammarProcess
from weightwarden.logger.sidecar.errors import ApiError
from weightwarden.logger.sidecar.grammar_gate import GrammarGate

BACKEND = GrammarBackend("1.7.6")
V = 49_152


@pytest.fixture(scope="module")
def gate(model_folder: Path) -> Iterator[GrammarGate]:
    made = GrammarGate.open(BACKEND, model_folder, V)
    yield made
    made.close()


def test_a_grammar_that_compiles_is_what_the_record_holds(gate: GrammarGate) -> None:
    grammar = asyncio.run(gate.check("json", '{"type" : "object"}', "response_format"))
    assert grammar.model_dump() == {
        "kind": "json",
        "text": '{"type" : "object"}',
        "backend": "guidance",
        "version": "1.7.6",
    }


def test_a_refusal_names_the_field(gate: GrammarGate) -> None:
    for _ in range(2):
        with pytest.raises(ApiError, match="regular expression cannot be compiled: error: unclosed group") as caught:
            asyncio.run(gate.check("regex", "(", "structured_outputs"))
        assert (caught.value.status, caught.value.param) == (400, "structured_outputs")


def test_without_a_backend_a_grammar_is_refused_with_what_to_set() -> None:
    gate = GrammarGate()
    with pytest.raises(ApiError, match="no --grammar-backend") as caught:
        asyncio.run(gate.check("json", "{}", "response_format"))
    assert (caught.value.status, caught.value.param) == (400, "response_format")
    gate.close()


def test_what_was_checked_passes_without_the_process(model_folder: Path) -> None:
    process = GrammarProcess(model_folder, V)
    gate = GrammarGate(BACKEND, process)
    asyncio.run(gate.check("regex", "a+", "structured_outputs"))
    process.close()
    asyncio.run(gate.check("regex", "a+", "structured_outputs"))
    with pytest.raises(ApiError) as caught:
        asyncio.run(gate.check("regex", "b+", "structured_outputs"))
    assert caught.value.status == 503
    gate.close()


def test_too_many_that_wait_are_turned_away(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightwarden.logger.sidecar.grammar_gate.THREADS", 2)
    gate = GrammarGate.open(BACKEND, model_folder, V)

    async def several() -> list[object]:
        asked = [gate.check("regex", f"a{{{count}}}", "structured_outputs") for count in range(1, 10)]
        return list(await asyncio.gather(*asked, return_exceptions=True))

    found = asyncio.run(several())
    turned_away = [one for one in found if isinstance(one, ApiError)]
    assert {one.status for one in turned_away} == {429}
    assert len(turned_away) == 7
    gate.close()


def test_the_event_loop_goes_on_while_a_grammar_compiles(gate: GrammarGate) -> None:
    ticks = 0

    async def count() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    async def both() -> None:
        counting = asyncio.ensure_future(count())
        with pytest.raises(ApiError):
            await gate.check("regex", "(a{1000}){900}", "structured_outputs")
        counting.cancel()

    asyncio.run(both())
    assert ticks > 100


def test_a_model_that_cannot_be_used_prevents_the_start(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        GrammarGate.open(BACKEND, tmp_path, V)
