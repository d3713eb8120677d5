"""HTTP to a vLLM server: its facts, the logits of a transcript, an answer drawn again (docs/sampling.md, section 7)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import ijson
from pydantic import Field

from weightwarden.text import printable
from weightwarden.verifier.errors import ReplayServerError
from weightwarden.verifier.http_client import JsonClient, PartialModel

ENTRY_BYTES = 512
"""Upper bound of the bytes of one candidate in a response, its text included. It bounds a response's length."""
_OVERHEAD_BYTES = 1 << 16
_LIMIT_IN_WORDS = re.compile(r"max(?:imum)? allowed: (\d+)")


@dataclass(frozen=True)
class LogitsRow:
    """The candidates of one position: token ids, their raw logits, and the rank of the transcript's own token.

    The transcript's own token comes first. Ties count above it in its rank, which is None if the server reports none.
    """

    ids: list[int]
    logits: list[float]
    claimed_rank: int | None


@dataclass(frozen=True)
class DrawnAnswer:
    """An answer's token ids, and the candidates of each of its positions, the drawn token first."""

    token_ids: list[int]
    rows: list[LogitsRow]


class _Version(PartialModel):
    version: str


class _ServedModel(PartialModel):
    id: str
    max_model_len: int | None = None  # an adapter has none
    parent: str | None = None


class _Models(PartialModel):
    data: list[_ServedModel] = Field(min_length=1)


class _Choice(PartialModel):
    token_ids: list[int] | None = None
    logprobs: dict[str, Any] | None = None


class _Completion(PartialModel):
    choices: list[_Choice] = Field(min_length=1)


class VllmClient(JsonClient):
    """A vLLM server at a URL."""

    kind = "a vLLM server"

    @property
    def place(self) -> str:
        """Location of the server, for reports."""
        return self.url

    def ready(self) -> None:
        """Prepare for a replay. Called before records are replayed, while no request is under way."""

    def version(self) -> str:
        """The server's vLLM version."""
        return self._parsed(_Version, self._json("GET", "/version")).version

    def served_model(self) -> tuple[str, int]:
        """Name and context length, tokens, of the model that receives the requests."""
        models = self._parsed(_Models, self._json("GET", "/v1/models")).data
        named = [m for m in models if m.id == self._model] if self._model else [m for m in models if m.parent is None]
        if not named:
            known = ", ".join(printable(m.id) for m in models)
            raise ReplayServerError(f"{self.url}: serves no model {printable(self._model)!r}; it serves {known}")
        if named[0].max_model_len is None:
            raise ReplayServerError(f"{self.url}: gives no context length for {printable(named[0].id)}")
        self._model = named[0].id
        return named[0].id, named[0].max_model_len

    def adapters(self) -> list[str]:
        """Names of the low-rank adapters that the server serves."""
        models = self._parsed(_Models, self._json("GET", "/v1/models")).data
        return [model.id for model in models if model.parent is not None]

    def most_logprobs(self, wanted: int) -> int:
        """Number of candidates a position that the server reports, at most `wanted`: its --max-logprobs."""
        body = self._body([1, 1], prompt_logprobs=wanted)
        response = self._sent("POST", "/v1/completions", body)
        if response.status_code == httpx2.codes.BAD_REQUEST:
            found = _LIMIT_IN_WORDS.search(response.text)
            if found is not None and int(found[1]) < wanted:
                return int(found[1])
        self._check_status(response)
        return wanted

    def score(self, token_ids: Sequence[int], top: int, first: int, adapter: str | None = None) -> list[LogitsRow]:
        """Candidates of positions first, first + 1, ... of a transcript, given all tokens before each.

        Parsed during the transfer: the result bounds the memory, and the request bounds the response's length.

        Args:
            adapter: name of the low-rank adapter that computes them; None for the model alone.
        """
        body = self._body(token_ids, adapter, prompt_logprobs=top)
        limit = _OVERHEAD_BYTES + ENTRY_BYTES * (top + 2) * len(token_ids)

        def attempt() -> list[LogitsRow]:
            with self._http.stream("POST", "/v1/completions", json=body) as response:
                if response.status_code != httpx2.codes.OK:
                    response.read()
                self._check_status(response)
                stream = _Reader(response.iter_bytes(), limit)
                rows = []
                at = 0
                for at, entry in enumerate(ijson.items(stream, _ROWS, use_float=True), start=1):
                    if at > first:
                        rows.append(self._row(entry, token_ids[at - 1], top))
            if at != len(token_ids):
                raise ReplayServerError(f"{self.url}: gave logits for {at} of {len(token_ids)} positions")
            return rows

        return self._tried(attempt)

    def next_row(self, token_ids: Sequence[int], top: int, claimed: int, adapter: str | None = None) -> LogitsRow:
        """Candidates of the position after a transcript: the `top` largest, and a claimed token."""
        asked = self._json("POST", "/v1/completions", self._body(token_ids, adapter, logprobs=top))
        ids, logits = self._next_logits(asked)
        at, rank = 0, None
        if claimed in ids:
            at = ids.index(claimed)
            rank = sum(logit >= logits[at] for logit in logits)
        else:
            more = self._body(token_ids, adapter, logprobs=1, logprob_token_ids=[claimed])
            only_ids, only_logits = self._next_logits(self._json("POST", "/v1/completions", more))
            if claimed not in only_ids:
                raise ReplayServerError(f"{self.url}: does not give the logit of a token asked for by id")
            ids, logits = [claimed, *ids], [only_logits[only_ids.index(claimed)], *logits]
        return LogitsRow(
            [ids[at], *ids[:at], *ids[at + 1 :]], [logits[at], *logits[:at], *logits[at + 1 :]], claimed_rank=rank
        )

    def draw(
        self, token_ids: Sequence[int], count: int, sampling: dict[str, Any], adapter: str | None = None
    ) -> list[int]:
        """Tokens, at most `count`, that the engine draws after a prompt with these sampling parameters."""
        body = {**self._body(token_ids, adapter), **sampling, "max_tokens": count, "return_token_ids": True}
        drawn = self._parsed(_Completion, self._json("POST", "/v1/completions", body)).choices[0].token_ids
        if drawn is None:
            raise ReplayServerError(f"{self.url}: gives no token ids (return_token_ids)")
        return drawn

    def draw_with_logits(self, token_ids: Sequence[int], count: int, sampling: dict[str, Any], top: int) -> DrawnAnswer:
        """Like `draw`, with the `top` largest raw logits of each position."""
        more = {**sampling, "max_tokens": count, "return_token_ids": True, "logprobs": top}
        choice = self._parsed(
            _Completion, self._json("POST", "/v1/completions", {**self._body(token_ids), **more})
        ).choices[0]
        drawn, entries = choice.token_ids, (choice.logprobs or {}).get("top_logprobs")
        if drawn is None or not isinstance(entries, list) or len(entries) != len(drawn):
            raise ReplayServerError(f"{self.url}: gives no token ids, or not the logits of all, of an answer")
        rows = []
        for token, entry in zip(drawn, entries, strict=True):
            ids, logits = self._logits_of(entry)
            if token not in ids:
                raise ReplayServerError(f"{self.url}: does not give the logit of a token that it drew")
            at = ids.index(token)
            rows.append(
                LogitsRow(
                    [token, *ids[:at], *ids[at + 1 :]], [logits[at], *logits[:at], *logits[at + 1 :]], claimed_rank=None
                )
            )
        return DrawnAnswer(drawn, rows)

    def _body(self, token_ids: Sequence[int], adapter: str | None = None, **more: Any) -> dict[str, Any]:
        """Body of a scoring request: one greedy token after the transcript, tokens named by id."""
        return {
            "model": adapter or self._model,
            "prompt": list(token_ids),
            "max_tokens": 1,
            "temperature": 0,
            "return_tokens_as_token_ids": True,
            **more,
        }

    def _row(self, entry: Any, claimed: int, top: int) -> LogitsRow:
        """One position of `prompt_logprobs`: {token id: {logprob, rank}}, the transcript's own token first."""
        try:
            ids = [int(token) for token in entry]
            logits = [float(item["logprob"]) for item in entry.values()]
            rank = int(entry[str(claimed)]["rank"])
        except (TypeError, KeyError, ValueError, AttributeError):
            raise ReplayServerError(f"{self.url}: gave a position of prompt_logprobs that cannot be read") from None
        if not top <= len(ids) <= top + 1 or ids[0] != claimed or min(ids) < 0:
            raise ReplayServerError(
                f"{self.url}: gave {len(ids)} candidates of a position, not the {top} asked for and the claimed token"
            )
        return LogitsRow(ids, logits, rank)

    def _next_logits(self, content: Any) -> tuple[list[int], list[float]]:
        logprobs = self._parsed(_Completion, content).choices[0].logprobs
        try:
            return self._logits_of((logprobs or {})["top_logprobs"][0])
        except (TypeError, KeyError, IndexError):
            raise ReplayServerError(f"{self.url}: gave logprobs that cannot be read") from None

    def _logits_of(self, top: Any) -> tuple[list[int], list[float]]:
        """Ids and logits of one position's `top_logprobs`."""
        try:
            ids = [int(token.removeprefix("token_id:")) for token in top]
            return ids, [float(value) for value in top.values()]
        except (TypeError, KeyError, ValueError, AttributeError, IndexError):
            raise ReplayServerError(f"{self.url}: gave logprobs that cannot be read") from None


_ROWS = "choices.item.prompt_logprobs.item"


class _Reader:
    """A response body of bounded length, in the form that ijson reads."""

    def __init__(self, blocks: Iterator[bytes], limit: int) -> None:
        self._blocks, self._rest, self._limit = blocks, b"", limit

    def read(self, size: int) -> bytes:
        """At most `size` bytes; empty at the end."""
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._rest = block
            self._limit -= len(block)
            if self._limit < 0:
                raise ReplayServerError("the replay server's answer is longer than what was asked for can be")
        part, self._rest = self._rest[:size], self._rest[size:]
        return part
