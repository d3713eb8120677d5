"""The tokens that a grammar must hold by their ids are those that llguidance takes for special ones."""

import json

from llguidance import LLMatcher, LLTokenizer
from tokenizers import AddedToken, Tokenizer

from weightwarden.logger.grammar.special_ids import special_ids

PLAIN = ["word_of_its_own", "<begun", "[plain]", " <spaced>"]
BRACKETED = ["<tool_call>", "</think>", "<|x y|>", "<a>b>", "<>"]
SPECIAL = ["special_word", "[S]"]


def test_special_and_bracketed_tokens_are_never_matched_by_text(tokenizer: Tokenizer) -> None:
    added = Tokenizer.from_str(tokenizer.to_str())
    added.add_tokens([AddedToken(text, special=False) for text in PLAIN + BRACKETED])
    added.add_special_tokens(SPECIAL)
    compiled = LLTokenizer(added.to_str(), n_vocab=added.get_vocab_size(), eos_token=2)
    by_text = special_ids(added)
    every: dict[int, AddedToken] = added.get_added_tokens_decoder()
    id_of = {token.content: i for i, token in every.items()}
    assert {i for i in every if compiled.is_special_token(i)} == set(by_text.values())
    assert by_text.keys() >= {*BRACKETED, *SPECIAL}
    assert by_text.keys().isdisjoint(PLAIN)
    for text in (*PLAIN, *BRACKETED, *SPECIAL):
        i = id_of[text]
        forced = LLMatcher(compiled, LLMatcher.grammar_from_lark(f"start: {json.dumps(text)}"), log_level=0)
        assert forced.consume_token(i) is (text in PLAIN)
        by_id = LLMatcher(compiled, LLMatcher.grammar_from_lark(f"start: <[{i}]>"), log_level=0)
        assert by_id.consume_token(i)
