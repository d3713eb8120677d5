"""Token ids to text, one token at a time: the text is the UTF-8 of the tokens' bytes, whatever their number."""

import codecs
from collections.abc import Sequence

from weightwarden.logger.text.token_bytes import BROKEN, TokenBytes

_MAX_CHARACTER_BYTES = 4
"""Bytes of UTF-8."""


class Detokenizer:
    """The text of one answer as its tokens come.

    The pieces joined are the text of prompt and answer, less what the prompt completes. Bytes that are no UTF-8 become
    U+FFFD as the Unicode standard recommends (section 3.9), whatever the tokenizer. As in vLLM, text that ends within a
    character or with U+FFFD is held back until a token ends it otherwise, so that stop strings are complete with the
    same token. What a token costs does not depend on what came before it.
    """

    def __init__(
        self,
        table: TokenBytes,
        *,
        prompt: Sequence[int] = (),
        skip_special: bool = True,
        spaces_between_special: bool = True,
    ) -> None:
        """Begin an answer.

        Args:
            prompt: what the answer goes on from: its first space stays where a text that begins would lose it.
            skip_special: whether special tokens are left out.
            spaces_between_special: where they are not, whether an added token after another one is decoded like any
                token, and not as its plain content.
        """
        self._table = table
        self._of_id, self._text_of_id = table.of_id, table.text_of_id
        self._skipped = table.absent | table.special if skip_special else table.absent
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._strips = table.strips
        self._first = table.first_of_id is not None
        self._bare_added = not (skip_special or spaces_between_special)
        self._has_memory = table.has_memory or self._bare_added
        self._last: int | None = None
        self._after_added = False
        self._held: list[str] = []
        self._at_rest = False  # nothing that came before changes what a token is
        self._begin(prompt)

    def add(self, token: int) -> str:
        """The text that a token completes; may be empty.

        Raises:
            IndexError: outside the vocabulary.
        """
        if token in self._skipped:
            self._after_added = False
            return ""
        text = self._text_of_id[token]
        if text is not None and self._at_rest:
            return text
        text = self._utf8.decode(self._bytes(token))
        begun = bool(self._utf8.getstate()[0])
        if begun or text.endswith(BROKEN) or (self._held and not text):
            self._held.append(text)
            self._at_rest = False
            return ""
        self._at_rest = not (self._strips or self._first or self._has_memory)
        return self._released() + text

    def end(self) -> str:
        """What is held back: text that ends with U+FFFD, or nothing."""
        return self._released() + self._utf8.decode(b"", final=True)

    def _released(self) -> str:
        held, self._held = "".join(self._held), []
        return held

    def _begin(self, prompt: Sequence[int]) -> None:
        """Take the end of the prompt: as many tokens as can matter."""
        enough = self._strips + _MAX_CHARACTER_BYTES
        start, size = len(prompt), 0
        while start and size < enough:
            start -= 1
            if prompt[start] not in self._skipped:
                size += len(self._of_id[prompt[start]])
        for token in prompt[start:]:
            self.add(token)
        self._held, self._after_added = [], False

    def _bytes(self, token: int) -> bytes:
        """The bytes that a token adds here."""
        table, last, self._last = self._table, self._last, token
        if self._bare_added:
            before, self._after_added = self._after_added, token in table.added
            if before and self._after_added:
                return table.added[token]
        if table.merges_repeats and token == last:
            return b""
        data = self._of_id[token]
        if self._first and table.first_of_id is not None:
            data, self._first = table.first_of_id[token], False
        if last in table.word_ends:
            data = b" " + data
        while self._strips and data:
            rest = data.removeprefix(table.stripped)
            self._strips = self._strips - 1 if rest != data else 0
            data = rest
        return data
