"""Grammars compiled by llguidance in this process, as vLLM 0.32 compiles them. For grammars of one's own only."""

from collections.abc import Sequence
from typing import Any

import llguidance
import llguidance.numpy
import numpy as np
import transformers

from weightwarden.logger.record import Grammar
from weightwarden.sampler.types import BoolArray, IntArray
from weightwarden.verifier.model.identity import ModelIdentity


class GrammarMatchers:
    """Matchers of a model's tokenizer."""

    def __init__(self, identity: ModelIdentity) -> None:
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(identity.path, local_files_only=True)
        self._vocabulary = identity.vocabulary
        self._tokenizer = llguidance.LLTokenizer(
            tokenizer.backend_tokenizer.to_str(),
            n_vocab=max(identity.vocabulary, len(tokenizer)),
            eos_token=tokenizer.eos_token_id,
        )

    def start(self, grammar: Grammar) -> llguidance.LLMatcher:
        """A matcher at the start of an answer."""
        if grammar.kind == "json":
            compiled = llguidance.LLMatcher.grammar_from_json_schema(
                grammar.text, defaults={"whitespace_flexible": True}
            )
        else:
            compiled = llguidance.grammar_from(grammar.kind, grammar.text)
        matcher = llguidance.LLMatcher(self._tokenizer, compiled)
        assert not matcher.is_error(), matcher.get_error()
        return matcher

    def allowed(self, matcher: llguidance.LLMatcher) -> BoolArray:
        """The tokens [V] that a matcher allows next."""
        words = llguidance.numpy.allocate_token_bitmask(1, self._vocabulary)
        llguidance.numpy.fill_next_token_bitmask(matcher, words)
        allowed: BoolArray = np.unpackbits(words.view(np.uint8), bitorder="little")[: self._vocabulary].astype(np.bool_)
        return allowed

    def allowed_count(self, grammar: Grammar, output: Sequence[int]) -> IntArray:
        """Number of tokens that a grammar allows at each position of an answer, up to the first token outside."""
        matcher, counts = self.start(grammar), []
        for token in output:
            counts.append(int(self.allowed(matcher).sum()))
            if not matcher.consume_token(token):
                break
        return np.array(counts)
