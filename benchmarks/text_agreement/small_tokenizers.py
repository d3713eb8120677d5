"""Small tokenizers with every kind of decoder of the `tokenizers` library, built here."""

from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models

BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
SPECIAL = ("<unk>", "<s>", "</s>")
PLAIN = ("<think>", "▁x y")
"""Added tokens that are not special; one of them is changed by decoders."""


def sentence_piece(*, strip: bool = True) -> Tokenizer:
    """A tokenizer like Llama 2's: pieces with a low line for a space, bytes as fallback, and three special tokens."""
    pieces = [*SPECIAL, *BYTES, "▁", "a", "b", "▁a", "ab", "é", "▁▁"]
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if strip:
        steps.append(decoders.Strip(" ", 1, 0))
    return _tokenizer(pieces, decoders.Sequence(steps))


def small_tokenizers() -> dict[str, Tokenizer]:
    """A tokenizer for each kind of decoder, by name, except byte-level ones: all real tokenizers are."""
    letters = ["a", "b", "ab", ",", ".", "é", "\ufffd", "b\ufffd"]
    spaced = ["▁", "▁▁", "▁a", "▁b▁", "▁.", *letters]
    words = ["##a", "##b", "n't", "'s", "I", "##", *letters]
    ends = ["a</w>", "b</w>", "</w>", *letters]
    return {
        "none": _tokenizer([*SPECIAL, *letters], None),
        "ByteFallback, Fuse": sentence_piece(strip=False),
        "ByteFallback, Fuse, Strip": sentence_piece(),
        "ByteFallback, Fuse, Strip of three": _tokenizer(
            [*SPECIAL, *BYTES, *spaced],
            decoders.Sequence(
                [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 3, 0)]
            ),
        ),
        "Metaspace": _tokenizer([*SPECIAL, *spaced], decoders.Metaspace()),
        "Metaspace, always": _tokenizer([*SPECIAL, *spaced], decoders.Metaspace(prepend_scheme="never")),
        "WordPiece": _tokenizer([*SPECIAL, *words], decoders.WordPiece()),
        "WordPiece, no cleanup": _tokenizer([*SPECIAL, *words], decoders.WordPiece(cleanup=False)),
        "BPEDecoder": _tokenizer([*SPECIAL, *ends], decoders.BPEDecoder(suffix="</w>")),
        "CTC": _tokenizer(["<pad>", "|", *SPECIAL, *letters], decoders.CTC()),
        "Replace by pattern": _tokenizer([*SPECIAL, *spaced], decoders.Replace(Regex("▁+"), " ")),
        "Strip of each": _tokenizer([*SPECIAL, *spaced], decoders.Strip("▁", 1, 0)),
        "Fuse": _tokenizer([*SPECIAL, *spaced], decoders.Fuse()),
    }


def _tokenizer(pieces: Sequence[str], decoder: decoders.Decoder | None) -> Tokenizer:
    vocabulary = {piece: at for at, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>", fuse_unk=True))  # noqa: S106
    if decoder is not None:
        tokenizer.decoder = decoder
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in SPECIAL])
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in PLAIN])
    return tokenizer
