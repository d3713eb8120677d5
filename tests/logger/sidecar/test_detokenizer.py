from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders

from logger.errors import ModelError
from logger.sidecar.detokenizer import Detokenizer
from logger.sidecar.token_bytes import TokenBytes, load_tokenizer, token_bytes_of
from tests.logger.sidecar.tokenizers_of import sentence_piece, word_piece

SENTENCE_PIECE = sentence_piece()
SENTENCE_TABLE = token_bytes_of(SENTENCE_PIECE, 270)


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> Tokenizer:
    return load_tokenizer(model_folder)


@pytest.fixture(scope="module")
def table(tokenizer: Tokenizer) -> TokenBytes:
    return token_bytes_of(tokenizer, 49_152)


def pieces(table: TokenBytes, ids: list[int], **options: Any) -> list[str]:
    detokenizer = Detokenizer(table, **options)
    return [*(detokenizer.add(i) for i in ids), detokenizer.end()]


@given(ids=st.lists(st.integers(0, 49_151), max_size=40), skip=st.booleans())
def test_byte_level_text_is_the_tokenizers_own_whatever_the_ids(
    tokenizer: Tokenizer, table: TokenBytes, ids: list[int], skip: bool
) -> None:
    made = "".join(pieces(table, ids, skip_special=skip))
    assert made == tokenizer.decode(ids, skip_special_tokens=skip)


@given(text=st.text(max_size=60))
def test_any_text_comes_back_character_by_character(tokenizer: Tokenizer, table: TokenBytes, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    whole = tokenizer.decode(ids, skip_special_tokens=False)  # not `text`: this vocabulary lacks a few rare bytes
    detokenizer = Detokenizer(table, skip_special=False)
    so_far = ""
    for token in ids:
        so_far += detokenizer.add(token)
        assert whole.startswith(so_far)
    assert so_far + detokenizer.end() == whole


def test_a_character_comes_with_the_token_that_completes_it(tokenizer: Tokenizer, table: TokenBytes) -> None:
    ids = tokenizer.encode("a🙂b", add_special_tokens=False).ids
    assert len(ids) > 3
    made = pieces(table, ids)
    assert "".join(made) == "a🙂b"
    assert "�" not in "".join(made)
    assert "🙂" in made
    assert "" in made[1:-2]


@given(text=st.text(alphabet="ab é🙂中", max_size=30))
def test_sentence_piece_text_with_byte_fallback_is_the_tokenizers_own(text: str) -> None:
    ids = SENTENCE_PIECE.encode(text.replace(" ", "▁"), add_special_tokens=False).ids
    assert "".join(pieces(SENTENCE_TABLE, ids)) == SENTENCE_PIECE.decode(ids)


@given(ids=st.lists(st.sampled_from([1, 2, *range(259, 270)]), max_size=20), skip=st.booleans())
def test_sentence_piece_without_broken_bytes_is_the_tokenizers_own(ids: list[int], skip: bool) -> None:
    made = "".join(pieces(SENTENCE_TABLE, ids, skip_special=skip))
    assert made == SENTENCE_PIECE.decode(ids, skip_special_tokens=skip)


def test_broken_bytes_become_replacement_characters_and_hold_nothing_back() -> None:
    lone = [3 + 0xFF] * 3
    assert pieces(SENTENCE_TABLE, [260, *lone, 260]) == ["a", "�", "�", "�", "a", ""]
    assert pieces(SENTENCE_TABLE, [260, 3 + 0xE4]) == ["a", "", "�"]


def test_ids_that_the_tokenizer_does_not_have_are_nothing(tokenizer: Tokenizer) -> None:
    wide = token_bytes_of(tokenizer, 49_200)
    assert pieces(wide, [49_199, 49_160]) == ["", "", ""]
    with pytest.raises(IndexError):
        Detokenizer(wide).add(49_200)


def test_another_kind_of_decoder_is_refused() -> None:
    with pytest.raises(ModelError, match="neither byte-level BPE nor SentencePiece"):
        token_bytes_of(word_piece(), 3)


def test_a_decoder_that_makes_other_text_is_refused() -> None:
    tokenizer = sentence_piece()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Replace("b", "B")]
    )
    with pytest.raises(ModelError, match="in a way that is not known"):
        token_bytes_of(tokenizer, 270)


def test_a_missing_or_broken_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="not a tokenizer"):
        load_tokenizer(tmp_path)
