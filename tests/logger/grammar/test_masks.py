"""The masks are those of the engine: the same grammar, tokenizer and calls as vLLM's backend `guidance`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer, grammar_from
from llguidance.hf import from_tokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask
from tokenizers import Tokenizer

from tests.logger.grammar.examples import EXAMPLES, PERSON
from weightwarden.logger.grammar.process import GrammarProcess

EOS = 2
V = 49_152


@pytest.fixture(scope="module")
def engines(model_folder: Path) -> LLTokenizer:
    """llguidance's tokenizer as vLLM 0.32 makes it: from transformers' own (`backend_guidance._build_ll_tokenizer`)."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    return from_tokenizer(tokenizer, max(V, len(tokenizer)))


def serialized(kind: str, text: str) -> str:
    """The grammar as vLLM 0.32 gives it to llguidance (`backend_guidance.serialize_guidance_grammar`)."""
    if kind == "json":
        return LLMatcher.grammar_from_json_schema(text, defaults={"whitespace_flexible": True})
    kinds: dict[str, Any] = {"regex": "regex", "choice": "choice", "grammar": "grammar"}
    return grammar_from(kinds[kind], json.dumps(json.loads(text)) if kind == "choice" else text)


@pytest.mark.parametrize(("kind", "text", "answer"), EXAMPLES)
def test_masks_equal_those_of_vllms_own_calls(
    process: GrammarProcess, engines: LLTokenizer, tokenizer: Tokenizer, kind: str, text: str, answer: str
) -> None:
    ids = [*tokenizer.encode(answer, add_special_tokens=False).ids, EOS]
    masks = process.masks(kind, text, ids)
    matcher = LLMatcher(engines, serialized(kind, text))
    row = allocate_token_bitmask(1, engines.vocab_size)
    assert len(masks) == (len(ids) if masks.outside_at is None else masks.outside_at + 1)
    for at, token in enumerate(ids[: len(masks)]):
        fill_next_token_bitmask(matcher, row)
        np.testing.assert_array_equal(masks.packed_nw[at], row[0].view(np.uint32)[: V // 32])
        if not matcher.is_stopped():
            matcher.consume_token(token)
    is_prefix = answer.endswith("{")
    assert masks.outside_at == (len(ids) - 1 if is_prefix else None)


def test_the_mask_of_the_first_token_outside_is_the_last(process: GrammarProcess, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode('{"name": "x", "age": "old"}', add_special_tokens=False).ids
    masks = process.masks("json", PERSON, ids)
    assert masks.outside_at is not None
    assert len(masks) == masks.outside_at + 1 < len(ids)
    bits = np.unpackbits(masks.packed_nw.view(np.uint8), axis=1, bitorder="little")
    assert bits[np.arange(len(masks)), ids[: len(masks)]].tolist() == [1] * masks.outside_at + [0]
    assert tokenizer.decode(ids[: masks.outside_at]).startswith('{"name": "x", "age":')


def test_special_tokens_are_not_allowed_within_strings(process: GrammarProcess, tokenizer: Tokenizer) -> None:
    inside = tokenizer.encode('{"name": "', add_special_tokens=False).ids
    masks = process.masks("json", PERSON, [*inside, 1])
    assert masks.outside_at == len(inside)
    bits = np.unpackbits(masks.packed_nw[-1:].view(np.uint8), bitorder="little")
    assert bits.sum() > 40_000
    assert not bits[:17].any()


def test_when_a_grammar_must_end_the_end_of_sequence_alone_is_allowed(process: GrammarProcess) -> None:
    masks = process.masks("regex", "a", [81, EOS])
    bits = np.unpackbits(masks.packed_nw.view(np.uint8), axis=1, bitorder="little")
    assert masks.outside_at is None
    assert bits.sum(1).tolist() == [1, 1]
    assert bits[1, EOS]


def test_no_answer_has_no_masks(process: GrammarProcess) -> None:
    masks = process.masks("regex", "a", [])
    assert masks.packed_nw.shape == (0, V // 32)
    assert masks.outside_at is None


def test_a_token_outside_the_vocabulary_is_outside_the_grammar(process: GrammarProcess) -> None:
    assert process.masks("regex", ".*", [V + 5]).outside_at == 0


def test_bits_outside_a_vocabulary_of_any_width_are_0(model_folder: Path, tokenizer: Tokenizer) -> None:
    narrow = GrammarProcess(model_folder, 1003)
    masks = narrow.masks("regex", "(.|\n)*", [500, 600])
    narrow.close()
    bits = np.unpackbits(masks.packed_nw.view(np.uint8), axis=1, bitorder="little")
    assert masks.packed_nw.shape == (2, 32)
    assert bits[:, 500].all()
    assert not bits[:, 1003:].any()


def test_equal_masks_are_held_once(process: GrammarProcess, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode('{"name": "' + "word " * 2000, add_special_tokens=False).ids
    masks = process.masks("json", PERSON, ids)
    assert len(masks) == len(ids) > 2000
    assert len(masks.distinct_uw) < 20
    np.testing.assert_array_equal(masks.rows(1000, 1002), masks.packed_nw[1000:1002])


def test_a_grammar_has_the_same_masks_every_time(process: GrammarProcess, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode('{"name": "Alice", "age": 42}', add_special_tokens=False).ids
    first, other = process.masks("json", PERSON, ids), process.masks("json", '{"type": "object"}', ids)
    again = process.masks("json", PERSON, ids)
    np.testing.assert_array_equal(first.packed_nw, again.packed_nw)
    assert not np.array_equal(first.packed_nw, other.packed_nw)
