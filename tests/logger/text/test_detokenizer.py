from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders

from benchmarks.text_agreement.small_tokenizers import sentence_piece, small_tokenizers
from weightwarden.logger.errors import ModelError
from weightwarden.logger.text.detokenizer import Detokenizer
from weightwarden.logger.text.token_bytes import TokenBytes, token_bytes_of
from weightwarden.logger.text.tokenizer import ModelTokenizer, read_tokenizer

SMALL = {name: ModelTokenizer.of(small, small.get_vocab_size() + 2) for name, small in small_tokenizers().items()}
SENTENCE_PIECE = SMALL["ByteFallback, Fuse, Strip"].backend
SENTENCE_TABLE = SMALL["ByteFallback, Fuse, Strip"].table


@pytest.fixture(scope="module")
def tokenizer(model_folder: Path) -> Tokenizer:
    return read_tokenizer(model_folder)


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


@given(data=st.data(), kind=st.sampled_from(sorted(SMALL)), skip=st.booleans())
def test_the_text_of_every_kind_of_decoder_is_the_tokenizers_own_where_its_bytes_are_text(
    data: st.DataObject, kind: str, skip: bool
) -> None:
    small = SMALL[kind]
    known = [i for i in range(len(small.table.of_id)) if not is_byte(small, i)]
    ids = data.draw(st.lists(st.sampled_from(known), max_size=12))
    assert "".join(pieces(small.table, ids, skip_special=skip)) == small.backend.decode(ids, skip_special_tokens=skip)


@given(data=st.data(), kind=st.sampled_from(sorted(SMALL)), skip=st.booleans())
def test_an_answer_is_the_rest_of_the_text_wherever_its_prompt_ends(data: st.DataObject, kind: str, skip: bool) -> None:
    table = SMALL[kind].table
    ids = data.draw(st.lists(st.integers(0, len(table.of_id) - 1), max_size=14))
    cut = data.draw(st.integers(0, len(ids)))
    *prompt, held = pieces(table, ids[:cut], skip_special=skip)
    if not held:
        answer = pieces(table, ids[cut:], prompt=ids[:cut], skip_special=skip)
        assert "".join(prompt + answer) == "".join(pieces(table, ids, skip_special=skip))


def is_byte(tokenizer: ModelTokenizer, token: int) -> bool:
    return str(tokenizer.backend.id_to_token(token)).startswith("<0x")


@given(text=st.text(alphabet="ab é🙂中", max_size=30))
def test_sentence_piece_text_with_byte_fallback_is_the_tokenizers_own(text: str) -> None:
    ids = SENTENCE_PIECE.encode(text.replace(" ", "▁"), add_special_tokens=False).ids
    assert "".join(pieces(SENTENCE_TABLE, ids)) == SENTENCE_PIECE.decode(ids)


def test_an_answer_keeps_the_space_that_a_text_would_lose() -> None:
    vocabulary = SENTENCE_PIECE.get_vocab()
    b, space_a = vocabulary["b"], vocabulary["▁a"]
    assert "".join(pieces(SENTENCE_TABLE, [space_a])) == "a"
    assert "".join(pieces(SENTENCE_TABLE, [space_a], prompt=[b])) == " a"
    assert "".join(pieces(SENTENCE_TABLE, [space_a], prompt=[1])) == "a"  # a special token is no text
    assert "".join(pieces(SENTENCE_TABLE, [space_a], prompt=[1], skip_special=False)) == " a"


def test_what_breaks_a_character_is_held_back_until_text_follows() -> None:
    lone = [3 + 0xFF] * 3
    assert pieces(SENTENCE_TABLE, [260, *lone, 260]) == ["a", "", "", "", "���a", ""]
    assert pieces(SENTENCE_TABLE, [260, *lone]) == ["a", "", "", "", "���"]
    assert pieces(SENTENCE_TABLE, [260, 3 + 0xE4]) == ["a", "", "�"]


def test_a_character_that_the_prompt_begins_comes_with_the_token_that_completes_it() -> None:
    euro = [3 + byte for byte in "€".encode()]
    assert pieces(SENTENCE_TABLE, euro[2:], prompt=[260, *euro[:2]]) == ["€", ""]


def test_ids_that_the_tokenizer_does_not_have_are_nothing(tokenizer: Tokenizer) -> None:
    wide = token_bytes_of(tokenizer, 49_200)
    assert pieces(wide, [49_199, 49_160]) == ["", "", ""]
    with pytest.raises(IndexError):
        Detokenizer(wide).add(49_200)


@pytest.mark.parametrize(
    "steps",
    [
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Replace("b", "B")],
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 0, 1)],
        [decoders.ByteFallback(), decoders.Metaspace()],
        [decoders.Fuse(), decoders.WordPiece()],
        [decoders.BPEDecoder(), decoders.Metaspace()],
        [decoders.CTC(), decoders.Metaspace()],
        [decoders.Strip("a", 1, 1)],
    ],
)
def test_decoders_that_rewrite_text_across_tokens_are_refused(steps: list[decoders.Decoder]) -> None:
    tokenizer = sentence_piece()
    tokenizer.decoder = decoders.Sequence(steps)
    with pytest.raises(ModelError, match="rewrites text across tokens"):
        ModelTokenizer.of(tokenizer, 270)


def test_a_word_that_ends_in_the_middle_of_a_token_is_refused() -> None:
    tokenizer = sentence_piece()
    tokenizer.decoder = decoders.BPEDecoder(suffix="a")
    with pytest.raises(ModelError, match="ends a word in its middle"):
        ModelTokenizer.of(tokenizer, 270)


def test_a_missing_or_broken_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        read_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="not a tokenizer"):
        read_tokenizer(tmp_path)
