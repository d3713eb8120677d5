"""Compiler of grammars with llguidance, as vLLM 0.32 compiles them for its backend `guidance`.

Source: vLLM 0.32, `v1/structured_output/backend_guidance.py` and `sampling_params.py` (docs/sampling.md, section 6.8).
Client-supplied text comes here: only a worker process compiles (`worker`).
"""

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llguidance import LLMatcher, LLTokenizer, grammar_from

from weightwarden.logger.grammar.errors import GrammarRefused
from weightwarden.logger.text.end_ids import own_end_id
from weightwarden.logger.text.tokenizer import read_tokenizer
from weightwarden.text import first_line, printable

MAX_NESTING = 64
"""Most levels of objects and arrays in a JSON schema; vLLM refuses more."""
KEPT_MATCHERS = 32
"""Number of compiled grammars that are kept."""
TRIED_TOKENS = 8
"""Number of tokens that a check goes on: some grammars exceed llguidance's limits after the first token only."""
_SILENT = 0
_NO_TEXT = ("NoExtension", "NoExtensionBias")
"""llguidance's words for a grammar without an answer."""


class GrammarCompiler:
    """Compiler of grammars for one model's tokenizer.

    Attributes:
        vocabulary: width of the model's logits, tokens.
    """

    def __init__(self, folder: Path, vocabulary: int) -> None:
        """The compiler of a model folder.

        Raises:
            ModelError: the tokenizer cannot be read.
            ValueError: llguidance cannot use the tokenizer.
        """
        backend = read_tokenizer(folder)
        width = max(vocabulary, backend.get_vocab_size(with_added_tokens=True))
        self.vocabulary = vocabulary
        self._tokenizer = LLTokenizer(backend.to_str(), n_vocab=width, eos_token=own_end_id(folder, backend))
        self._compiled: OrderedDict[tuple[str, str], LLMatcher] = OrderedDict()

    def matcher(self, kind: str, text: str) -> LLMatcher:
        """A matcher at the start of a grammar.

        Its state, and with it the fuel that llguidance spends on each mask, is that of a newly compiled grammar.

        Raises:
            GrammarRefused: the grammar is invalid.
        """
        key = (kind, text)
        if key not in self._compiled:
            made = LLMatcher(self._tokenizer, _serialized(kind, text), log_level=_SILENT)
            if made.is_error():
                raise _refusal(kind, made.get_error())
            self._compiled[key] = made
            if len(self._compiled) > KEPT_MATCHERS:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(key)
        return self._compiled[key].deep_copy()

    def check(self, kind: str, text: str) -> None:
        """Compile a grammar, and begin an answer of the first token that each mask allows.

        Raises:
            GrammarRefused: the grammar is invalid.
        """
        matcher = self.matcher(kind, text)
        for _ in range(TRIED_TOKENS):
            mask = matcher.compute_bitmask()
            if matcher.is_error():
                raise _refusal(kind, matcher.get_error())
            if matcher.is_stopped():
                return
            matcher.consume_token(_first_of(mask))

    def masks(self, kind: str, text: str, ids: Sequence[int]) -> Iterator[tuple[bytes, bool]]:
        """The mask of each token of an answer, up to the first token that the grammar does not allow.

        Yields:
            bytes of 32-bit little-endian words, and whether the mask allows the token.

        Raises:
            GrammarRefused: the grammar is invalid.
        """
        matcher, width = self.matcher(kind, text), 4 * (-(-self.vocabulary // 32))
        for token in ids:
            mask = matcher.compute_bitmask()[:width]
            allowed = token < self.vocabulary and bool(mask[token >> 3] >> (token & 7) & 1)
            yield mask, allowed
            if not allowed:
                return
            if not matcher.is_stopped():
                matcher.consume_token(token)


def _serialized(kind: str, text: str) -> str:
    """The grammar in llguidance's own form.

    Raises:
        GrammarRefused: the text is not of its kind.
    """
    if not text.strip() and kind != "regex":
        raise GrammarRefused("the grammar is empty")
    try:
        if kind == "json":
            if _nested_deeper(json.loads(text), MAX_NESTING):
                raise GrammarRefused(f"the JSON schema is nested more than {MAX_NESTING} levels deep")
            return LLMatcher.grammar_from_json_schema(text, defaults={"whitespace_flexible": True})
        if kind == "regex" and "\0" in text:
            raise GrammarRefused("the regular expression holds a NUL character")
        if kind == "choice":
            _check_choices(json.loads(text))
        return grammar_from(kind, text)  # type: ignore[arg-type]  # a record's kinds are names that it knows
    except RecursionError:
        raise GrammarRefused("the grammar is nested too deeply") from None
    except GrammarRefused:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise _refusal(kind, first_line(error)) from None


def _check_choices(choices: Any) -> None:
    if not isinstance(choices, list) or not choices or not all(isinstance(one, str) for one in choices):
        raise GrammarRefused("the choices are not a list of one or more strings")


def _nested_deeper(value: Any, limit: int) -> bool:
    """True if a JSON value has more levels of objects and arrays than a limit."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _first_of(mask: bytes) -> int:
    """The first token that a mask allows."""
    at = next(at for at, byte in enumerate(mask) if byte)
    return 8 * at + (mask[at] & -mask[at]).bit_length() - 1


def _refusal(kind: str, problem: str) -> GrammarRefused:
    """The refusal for what llguidance says: its first line, or the line with the cause in a regular expression."""
    lines = [line.strip() for line in problem.strip().splitlines()]
    said = next((line for line in lines if line.startswith("error: ")), lines[0] if lines else "")
    if said in _NO_TEXT:
        said = "no answer fits it"
    names = {"json": "JSON schema", "regex": "regular expression", "choice": "choice", "grammar": "grammar"}
    return GrammarRefused(f"the {names[kind]} cannot be compiled: {printable(said)}")
