"""Token ids to text, one token at a time: the text is the UTF-8 of the tokens' bytes, whatever their number."""

import codecs

from logger.sidecar.token_bytes import TokenBytes


class Detokenizer:
    """The text of one answer as its tokens come.

    The pieces joined are the UTF-8 decoding of the tokens' bytes, joined; a character is given with the token that
    completes it, and bytes that are no UTF-8 become U+FFFD as the Unicode standard recommends (section 3.9). What a
    token costs does not depend on what came before it.
    """

    def __init__(self, table: TokenBytes, *, skip_special: bool = True) -> None:
        self._of_id, self._text_of_id = table.of_id, table.text_of_id
        self._skipped = table.special if skip_special else frozenset[int]()
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._whole = True  # no character is begun
        self._strip = table.strips_first_space

    def add(self, token: int) -> str:
        """The text that a token completes; may be empty.

        Raises:
            IndexError: outside the vocabulary.
        """
        if token in self._skipped:
            return ""
        text = self._text_of_id[token]
        if text is not None and self._whole and not self._strip:
            return text
        data = self._of_id[token]
        if self._strip and data:
            self._strip = False
            data = data.removeprefix(b" ")
        text = self._utf8.decode(data)
        self._whole = not self._utf8.getstate()[0]
        return text

    def end(self) -> str:
        """What is left: U+FFFD where the answer ends within a character, else nothing."""
        return self._utf8.decode(b"", final=True)
