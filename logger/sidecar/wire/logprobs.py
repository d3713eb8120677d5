"""Log probabilities of a choice in OpenAI's forms for chats and for completions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from weightwarden.logger.sidecar.logprobs.scored_token import ScoredToken
from weightwarden.logger.text.tokenizer import ModelTokenizer

_JSON = msgspec.json.Encoder()


@dataclass(frozen=True, kw_only=True)
class ChoiceLogprobs:
    """The log probabilities of one choice. Their texts are the sidecar's own.

    A token that is part of a character has U+FFFD as its text; its bytes are exact.

    Attributes:
        tokens: the tokens: the prompt's if they are wanted, then the answer's.
        offsets: for each token, the number of characters before it in the text that the client gets.
        tokenizer: the served model's tokenizer.
    """

    tokens: Sequence[ScoredToken]
    offsets: Sequence[int]
    tokenizer: ModelTokenizer

    def of_chat(self) -> msgspec.Raw:
        """The field `logprobs` of a choice of a chat. Each position is encoded by itself, so that no other waits."""
        return msgspec.Raw(b'{"content":[' + b",".join(map(_JSON.encode, self._contents())) + b'],"refusal":null}')

    def of_completion(self) -> msgspec.Raw:
        """The field `logprobs` of a choice of a completion.

        The emitted token comes first among the most likely ones, also where it is none of them. Of several with one
        text, the most likely counts.
        """
        top = b",".join(_JSON.encode(self._by_text(one)) for one in self.tokens)
        rest = {
            "tokens": [self._text(one.token) for one in self.tokens],
            "token_logprobs": [one.logprob for one in self.tokens],
            "text_offset": self.offsets,
        }
        return msgspec.Raw(_JSON.encode(rest)[:-1] + b',"top_logprobs":[' + top + b"]}")

    def _contents(self) -> Iterator[dict[str, Any]]:
        for one in self.tokens:
            top = [self._content(token, logprob) for token, logprob in one.top]
            yield {**self._content(one.token, one.logprob), "top_logprobs": top}

    def _content(self, token: int, logprob: float | None) -> dict[str, Any]:
        known = self.tokenizer.table.of_id
        data = known[token] if token < len(known) else b""
        return {"token": data.decode(errors="replace"), "logprob": logprob, "bytes": list(data)}

    def _by_text(self, one: ScoredToken) -> dict[str, float] | None:
        if one.logprob is None:
            return None
        found = {self._text(one.token): one.logprob}
        for token, logprob in one.top:
            text = self._text(token)
            found[text] = max(logprob, found.get(text, logprob))
        return found

    def _text(self, token: int) -> str:
        return self.tokenizer.token_text(token)


def text_and_offsets(pieces: Sequence[str], rest: str = "", *, start: int = 0) -> tuple[str, list[int]]:
    """The text of tokens, and for each the number of characters before it.

    Args:
        pieces: the text that each token completes.
        rest: text after them all.
        start: number of characters before the first.
    """
    offsets = []
    for piece in pieces:
        offsets.append(start)
        start += len(piece)
    return "".join([*pieces, rest]), offsets
