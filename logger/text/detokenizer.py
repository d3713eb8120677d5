"""Detokenizer, one token at a time: the text is the UTF-8 of the tokens' bytes."""

import codecs
from collections.abc import Sequence

from weightwarden.logger.text.token_bytes import BROKEN, TokenBytes

_MAX_CHARACTER_BYTES = 4
"""Bytes of UTF-8."""


class Detokenizer:
    """The text of one answer, token by token.

    The joined pieces are the text of prompt and answer, without the text that the prompt completes. Bytes that are not
    UTF-8 become U+FFFD as the Unicode standard recommends (section 3.9), with every tokenizer. As in vLLM, text that
    ends within a character or with U+FFFD is held back until a later token completes it, so that stop strings are
    complete at the same token. The cost of a token does not depend on the tokens before it.
    """

    def __init__(
        self,
        table: TokenBytes,
        *,
        prompt: Sequence[int] = (),
        skip_special: bool = True,
        spaces_between_special: bool = True,
    ) -> None:
        """The beginning of an answer.

        Args:
            table: bytes of the tokens.
            prompt: token ids that the answer continues. After a prompt, a first space stays that the beginning of a
                text would lose.
            skip_special: True: special tokens are omitted.
            spaces_between_special: used if they are not omitted. True: an added token after another is decoded like any
                token. False: it is decoded as its plain content.
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
        self._at_rest = False  # earlier tokens do not affect the next ones
        self._begin(prompt)

    def add(self, token: int) -> str:
        """The text that a token completes; may be empty.

        Raises:
            IndexError: the token is outside the vocabulary.
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
        """The text that is held back: empty, or ending with U+FFFD."""
        return self._released() + self._utf8.decode(b"", final=True)

    def _released(self) -> str:
        held, self._held = "".join(self._held), []
        return held

    def _begin(self, prompt: Sequence[int]) -> None:
        """Take the last tokens of the prompt, as far back as they can affect the text."""
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
        """The bytes that a token adds at this position."""
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
