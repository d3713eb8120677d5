"""What each token id of a tokenizer stands for, as bytes, so that text can be made one token at a time.

Two families are known, which is what language models use: byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM), and
SentencePiece with byte fallback (Llama 2, Mistral, Gemma). A tokenizer whose own decoder says otherwise is refused.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from logger.errors import ModelError
from sampler.errors import first_line

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "▁"
_PROBES = 4096
"""Ids that are decoded together when a table is checked against the tokenizer."""


@dataclass(frozen=True)
class TokenBytes:
    """A tokenizer's ids as bytes.

    Attributes:
        of_id: the bytes of each id below the vocabulary's size; none for an id that the tokenizer does not have.
        special: ids that are left out of a text unless it is asked for them.
        strips_first_space: whether a text loses the space that it begins with.
    """

    of_id: Sequence[bytes]
    special: frozenset[int]
    strips_first_space: bool

    @cached_property
    def text_of_id(self) -> Sequence[str | None]:
        """The text of each id that is text by itself."""
        return [_text(data) for data in self.of_id]

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest token."""
        return max(map(len, self.of_id))


def _text(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def load_tokenizer(folder: Path) -> Tokenizer:
    """A model folder's tokenizer.json.

    Raises:
        ModelError: missing or malformed.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file; the sidecar needs the model's fast tokenizer")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more specific
        raise ModelError(f"{path}: not a tokenizer: {first_line(error)}") from None


def token_bytes_of(tokenizer: Tokenizer, vocabulary: int) -> TokenBytes:
    """The bytes of a tokenizer's ids, checked against what the tokenizer itself makes of them.

    Args:
        vocabulary: width of the model's logits, which may be more than the tokenizer has.

    Raises:
        ModelError: a kind of decoder that is not known here, or one that makes other text.
    """
    decoder = json.loads(tokenizer.to_str())["decoder"]
    steps = decoder["decoders"] if decoder and decoder["type"] == "Sequence" else [decoder]
    kinds = [step["type"] if step else None for step in steps]
    added = tokenizer.get_added_tokens_decoder()
    special = frozenset(i for i, token in added.items() if token.special)
    if kinds == ["ByteLevel"]:
        to_bytes, strips = _byte_level, False
    elif set(kinds) <= {"Replace", "ByteFallback", "Fuse", "Strip"} and "ByteFallback" in kinds:
        to_bytes, strips = _sentence_piece, "Strip" in kinds
    else:
        raise ModelError(f"the tokenizer decodes by {kinds}, which is neither byte-level BPE nor SentencePiece")
    pieces = [tokenizer.id_to_token(i) for i in range(vocabulary)]
    table = TokenBytes([b"" if piece is None else to_bytes(piece) for piece in pieces], special, strips)
    _check(tokenizer, table)
    return table


def _byte_level(piece: str) -> bytes:
    """GPT-2's alphabet: printable bytes as themselves, the others from U+0100 on; anything else is text as it is."""
    try:
        return bytes(_ALPHABET[c] for c in piece)
    except KeyError:
        return piece.encode("utf-8")


def _alphabet() -> dict[str, int]:
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + at): byte for at, byte in enumerate(others)}


_ALPHABET = _alphabet()


def _sentence_piece(piece: str) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace(_SPACE, " ").encode("utf-8")


def _check(tokenizer: Tokenizer, table: TokenBytes) -> None:
    """Compare every id's bytes with the tokenizer's text for it, where its bytes alone are text."""
    anchor = next(i for i, data in enumerate(table.of_id) if data.isascii() and data.strip() and i not in table.special)
    first = table.of_id[anchor].decode()
    for start in range(0, len(table.of_id), _PROBES):
        ids = range(start, min(start + _PROBES, len(table.of_id)))
        texts: list[Any] = tokenizer.decode_batch([[anchor, i] for i in ids], skip_special_tokens=False)
        for i, text in zip(ids, texts, strict=True):
            ours = table.text_of_id[i]
            if ours is None:
                continue  # a part of a character
            expected = (first.removeprefix(" ") if table.strips_first_space else first) + ours
            if text != expected:
                raise ModelError(f"the tokenizer decodes id {i} in a way that is not known here")
