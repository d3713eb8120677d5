"""Random answers that a grammar admits, drawn from its masks over a tokenizer."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from llguidance import LLMatcher, LLTokenizer, grammar_from
from tokenizers import AddedToken, Tokenizer

from weightwarden.logger.sidecar.constraints.constraint import Constraint
from weightwarden.logger.text.detokenizer import Detokenizer
from weightwarden.logger.text.tokenizer import ModelTokenizer, read_tokenizer

LONG, LONGEST = 40, 4000
"""Tokens after which an answer is brought to an end, and after which one without end is a failure."""


@dataclass(frozen=True)
class Sampler:
    """Sampler of answers over one tokenizer.

    Attributes:
        backend: the tokenizer.
        model: the same tokenizer, for text.
        masks: the same tokenizer, for masks.
        end: id of the token that ends an answer.
        special_ids: ids of its special tokens, by their text.
    """

    backend: Tokenizer
    model: ModelTokenizer
    masks: LLTokenizer
    end: int
    special_ids: dict[str, int]

    @classmethod
    def of(cls, folder: Path, special: Sequence[str] = ()) -> "Sampler":
        """A sampler with the tokenizer of a model folder, and further special tokens."""
        backend = read_tokenizer(folder)
        backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
        size = backend.get_vocab_size(with_added_tokens=True)
        end = backend.get_vocab()["<|im_end|>"]
        added = backend.get_added_tokens_decoder().items()
        return cls(
            backend,
            ModelTokenizer.of(backend, size),
            LLTokenizer(backend.to_str(), n_vocab=size, eos_token=end),
            end,
            {token.content: i for i, token in added if token.special},
        )

    def matcher(self, kind: str, text: str) -> LLMatcher:
        made = LLMatcher(self.masks, grammar_from(kind, text), log_level=0)  # type: ignore[arg-type]
        assert not made.is_error(), made.get_error() + text
        return made

    def admits(self, kind: str, text: str, answer: str) -> bool:
        """True if an answer, tokenized in the ordinary way, follows the grammar to its end."""
        matcher, ids = self.matcher(kind, text), self.backend.encode(answer, add_special_tokens=False).ids
        return bool(matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting())

    def pieces(self, constraint: Constraint, draw: random.Random, *, ends: Sequence[str], first: str = "") -> list[str]:
        """The texts of the tokens of a random answer.

        Args:
            constraint: the grammar.
            draw: source of randomness.
            ends: texts that end parts of an answer, of which one follows now and then where it can.
            first: text with which the answer begins.
        """
        matcher = self.matcher(constraint.kind, constraint.text)
        endings = [self.backend.encode(one, add_special_tokens=False).ids for one in ends]
        ids = list(self.backend.encode(first, add_special_tokens=False).ids)
        assert matcher.consume_tokens(ids), f"{first!r} is not the beginning of an answer"
        while len(ids) < LONGEST:
            if len(ids) > LONG and matcher.is_accepting():
                break
            following = draw.choice(endings)
            if draw.random() < (0.1 if len(ids) > LONG else 0.5) or matcher.validate_tokens(following) < len(following):
                bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
                allowed = np.flatnonzero(bits[: self.backend.get_vocab_size()])
                assert len(allowed), "no token is left"
                following = [int(allowed[draw.randrange(len(allowed))])]
            if following == [self.end]:
                break
            assert matcher.consume_tokens(following)
            ids += following
        assert len(ids) < LONGEST
        detokenizer = Detokenizer(self.model.table, prompt=[self.end], skip_special=False)
        return [*map(detokenizer.add, ids), detokenizer.end()]
