"""The decoders of a tokenizer.json, split into their effects on a single token."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tokenizers import Tokenizer

from weightwarden.logger.errors import ModelError
from weightwarden.text import printable

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_BY_TOKEN = frozenset({"Replace", "Strip", "WordPiece", "Metaspace", "BPEDecoder", "CTC"})
"""Decoders that turn each token into a separate text."""
_ALONE = frozenset({"BPEDecoder", "CTC"})
"""Those of them that also read neighbouring tokens, and are supported only as the sole decoder."""
_ANCHOR = "a"


@dataclass(frozen=True)
class Pieces:
    """The bytes of one token.

    Attributes:
        first: bytes as the first token of a text, before anything is stripped.
        later: bytes after another token.
        ends_word: True if a space follows once another token does.
    """

    first: bytes
    later: bytes
    ends_word: bool = False


@dataclass(frozen=True, kw_only=True)
class DecoderSteps:
    """The effects of a tokenizer's decoders.

    Attributes:
        of: returns the bytes of a token, by its name in the vocabulary.
        strips: largest number of times that `stripped` is removed from the beginning of a text.
        stripped: bytes that are removed there.
        merges_repeats: True if a token right after itself adds nothing.
    """

    of: Callable[[str], Pieces]
    strips: int = 0
    stripped: bytes = b" "
    merges_repeats: bool = False


def decoder_steps(tokenizer: Tokenizer) -> DecoderSteps:
    """The steps of a tokenizer's decoder.

    1. Steps that work on each token by itself.
    2. A step that makes bytes of tokens, if any: byte-level, or byte fallback.
    3. Steps on the whole text: only its beginning may change.

    Raises:
        ModelError: a decoder that rewrites text across tokens, or is not known.
    """
    if tokenizer.decoder is None:
        return DecoderSteps(of=_spaced)
    steps = _flat(json.loads(tokenizer.decoder.__getstate__()))
    # 1
    count = next((at for at, step in enumerate(steps) if step["type"] not in _BY_TOKEN), len(steps))
    by_token, rest = steps[:count], steps[count:]
    names = [step["type"] for step in by_token]
    if len(names) > 1 and not _ALONE.isdisjoint(names):
        raise _unknown(steps)
    if any(step["type"] == "Strip" and step["stop"] for step in by_token):  # the library fails on short tokens
        raise _unknown(steps)
    text_of = _by_token(by_token)
    # 2
    kind = rest[0]["type"] if rest else None
    of: Callable[[str], Pieces]
    if kind == "ByteLevel":
        of, rest = partial(_as_bytes, text_of, byte_level), rest[1:]
    elif kind == "ByteFallback":
        of, rest = partial(_as_bytes, text_of, _byte_fallback), rest[1:]
        if rest and rest[0]["type"] != "Fuse":
            raise _unknown(steps)
    else:
        of = text_of
    # 3
    strips, stripped = 0, b" "
    for step in rest:
        if step["type"] == "Fuse":
            continue
        content = str(step.get("content", "")).encode()
        if step["type"] != "Strip" or step["stop"] or strips or len(content) != 1:
            raise _unknown(steps)
        strips, stripped = step["start"], content
    return DecoderSteps(of=of, strips=strips, stripped=stripped, merges_repeats="CTC" in names)


def byte_level(name: str) -> bytes:
    """Bytes of a name in GPT-2's alphabet: printable bytes as themselves, others from U+0100 on; else its text."""
    try:
        return name.translate(_ALPHABET).encode("latin-1")
    except UnicodeEncodeError:
        return name.encode("utf-8")


def is_byte(name: str) -> bool:
    """True if a token stands for a single byte (byte fallback)."""
    return _BYTE_TOKEN.fullmatch(name) is not None


def _alphabet() -> dict[int, int]:
    """Translation of GPT-2's code points to bytes. Code points that occur in no name become U+FFFF: no byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return dict.fromkeys(others, 0xFFFF) | {0x100 + at: byte for at, byte in enumerate(others)}


_ALPHABET = _alphabet()


def _byte_fallback(name: str) -> bytes:
    byte = _BYTE_TOKEN.fullmatch(name)
    return bytes([int(byte[1], 16)]) if byte else name.encode("utf-8")


def _spaced(name: str) -> Pieces:
    """Bytes of a token without a decoder: tokens are words, with a space between them."""
    return Pieces(name.encode(), b" " + name.encode())


def _as_bytes(text_of: Callable[[str], Pieces], to_bytes: Callable[[str], bytes], name: str) -> Pieces:
    pieces = text_of(name)
    first = to_bytes(pieces.first.decode())
    return Pieces(first, first if pieces.first == pieces.later else to_bytes(pieces.later.decode()))


def _flat(decoder: dict[str, Any]) -> list[dict[str, Any]]:
    if decoder["type"] != "Sequence":
        return [decoder]
    return [step for one in decoder["decoders"] for step in _flat(one)]


def _by_token(steps: Sequence[dict[str, Any]]) -> Callable[[str], Pieces]:
    """The function that applies these steps to one token."""
    plain = [(step["pattern"]["String"], step["content"]) for step in steps if _replaces_a_string(step)]
    if len(plain) == len(steps):
        return partial(_replaced, plain)
    decode = _library_decoder(steps)
    suffix = steps[0]["suffix"] if steps[0]["type"] == "BPEDecoder" else None
    return partial(_by_library, decode, decode([_ANCHOR]), suffix)


def _replaces_a_string(step: dict[str, Any]) -> bool:
    return step["type"] == "Replace" and "String" in step["pattern"]


def _replaced(steps: Sequence[tuple[str, str]], name: str) -> Pieces:
    for pattern, content in steps:
        name = name.replace(pattern, content)
    data = name.encode()
    return Pieces(data, data)


def _by_library(decode: Callable[[list[str]], str], before: str, suffix: str | None, name: str) -> Pieces:
    """Bytes of a token by the library's decoder: of the token alone, and after another token."""
    first, both = decode([name]), decode([_ANCHOR, name])
    if name == _ANCHOR:  # a repeated token may add nothing
        both = decode(["b", _ANCHOR]).replace("b", _ANCHOR, 1)
    ends_word = False
    if suffix:
        ends_word = name.endswith(suffix)
        if suffix in name.removesuffix(suffix):
            raise ModelError(f"the tokenizer's token {printable(name)} ends a word in its middle")
    return Pieces(first.encode(), both.removeprefix(before).encode(), ends_word)


def _library_decoder(steps: Sequence[dict[str, Any]]) -> Callable[[list[str]], str]:
    model = {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"}
    decoder = {"type": "Sequence", "decoders": list(steps)}
    whole = {"version": "1.0", "added_tokens": [], "model": model, "decoder": decoder}
    built = Tokenizer.from_str(json.dumps(whole)).decoder
    return lambda names: str(built.decode(names))


def _unknown(steps: Sequence[dict[str, Any]]) -> ModelError:
    kinds = ", ".join(str(step["type"]) for step in steps)
    return ModelError(f"the tokenizer decodes by {kinds}, which rewrites text across tokens or is not known here")
