"""Bytes of each token id of a tokenizer, from which text is made one token at a time.

All decoders of the `tokenizers` library whose text grows with each token are supported: byte-level BPE (GPT-2, Llama 3,
Qwen), SentencePiece with or without byte fallback (Llama 2, Gemma, T5), WordPiece, BPE with word ends, CTC, and none. A
sequence of decoders that rewrites text across tokens is refused, and so is a tokenizer whose own text differs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tokenizers import Tokenizer

from weightwarden.logger.errors import ModelError
from weightwarden.logger.text.decoder_steps import decoder_steps, is_byte
from weightwarden.text import printable

BROKEN = "\ufffd"
"""Replacement for bytes that are not UTF-8."""
_PROBES = 4096
"""Number of ids that are decoded together when a table is compared with the tokenizer."""


@dataclass(frozen=True, kw_only=True)
class TokenBytes:
    """A tokenizer's ids as bytes.

    Attributes:
        of_id: bytes that each id below the vocabulary's size adds to a text that has begun.
        first_of_id: bytes of each id as the first of a text, or None where they are the same.
        absent: ids below the vocabulary's size that the tokenizer does not have.
        special: ids that are omitted from a text by default.
        added: content of each added token, special or not.
        strips: largest number of times that `stripped` is removed from the beginning of a text.
        stripped: bytes that are removed there.
        word_ends: ids after which a space follows once another token does (BPE with word ends).
        merges_repeats: True if an id right after itself adds nothing (CTC).
    """

    of_id: Sequence[bytes]
    first_of_id: Sequence[bytes] | None = None
    absent: frozenset[int] = frozenset()
    special: frozenset[int] = frozenset()
    added: Mapping[int, bytes]
    strips: int = 0
    stripped: bytes = b" "
    word_ends: frozenset[int] = frozenset()
    merges_repeats: bool = False

    @cached_property
    def text_of_id(self) -> Sequence[str | None]:
        """The text of each id whose bytes are complete text, and do not end with U+FFFD; None for others."""
        texts = map(_text, self.of_id)
        return [None if text is None or text.endswith(BROKEN) else text for text in texts]

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest token."""
        return max(map(len, self.of_id))

    @property
    def has_memory(self) -> bool:
        """True if the bytes of a token depend on the token before it."""
        return bool(self.word_ends) or self.merges_repeats


def token_bytes_of(tokenizer: Tokenizer, vocabulary: int) -> TokenBytes:
    """The bytes of a tokenizer's ids.

    Args:
        tokenizer: the tokenizer.
        vocabulary: width of the model's logits, which may exceed the tokenizer's size.

    Raises:
        ModelError: a decoder rewrites text across tokens.
    """
    steps = decoder_steps(tokenizer)
    names = [tokenizer.id_to_token(i) for i in range(vocabulary)]
    pieces = [steps.of(name or "") for name in names]
    added = tokenizer.get_added_tokens_decoder()
    first = [piece.first for piece in pieces]
    later = [piece.later for piece in pieces]
    return TokenBytes(
        of_id=later,
        first_of_id=None if first == later else first,
        absent=frozenset(i for i, name in enumerate(names) if name is None),
        special=frozenset(i for i, token in added.items() if token.special),
        added={i: token.content.encode() for i, token in added.items() if i < vocabulary},
        strips=steps.strips,
        stripped=steps.stripped,
        word_ends=frozenset(i for i, piece in enumerate(pieces) if piece.ends_word),
        merges_repeats=steps.merges_repeats,
    )


def _text(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def check_text(tokenizer: Tokenizer, table: TokenBytes, decode: Callable[[Sequence[int]], str]) -> None:
    """Compare the text of every id with the tokenizer's: after another token, and alone where that can differ.

    Args:
        tokenizer: the tokenizer.
        table: the table.
        decode: text of ids by the table, special tokens included.

    Raises:
        ModelError: a text differs.
    """
    ids = [i for i in range(len(table.of_id)) if i not in table.absent]
    plain = (i for i in ids if table.of_id[i].isascii() and table.of_id[i].strip() and i not in table.special)
    anchor = next((i for i in plain if not is_byte(str(tokenizer.id_to_token(i)))), None)
    if anchor is None:
        raise ModelError("the tokenizer has no token of plain text")

    def differs(some: Sequence[int]) -> bool:
        probe = [token for i in some for token in (anchor, i)]
        return decode(probe) != tokenizer.decode(probe, skip_special_tokens=False)

    for start in range(0, len(ids), _PROBES):
        some = ids[start : start + _PROBES]
        if differs(some):
            raise _unknown(tokenizer, next((i for i in some if differs([i])), some[0]))
    if table.strips or table.first_of_id is not None:
        for i in ids:
            if decode([i]) != tokenizer.decode([i], skip_special_tokens=False):
                raise _unknown(tokenizer, i)


def _unknown(tokenizer: Tokenizer, token: int) -> ModelError:
    shown = printable(str(tokenizer.id_to_token(token)))
    return ModelError(f"the tokenizer decodes id {token} ({shown}) in a way that is not known here")
