"""Exact replay: a trusted vLLM server of the same version and dtype as the one that answered."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from weightwarden.logger.formats.vllm_request import request_sampling
from weightwarden.logger.record import Record
from weightwarden.sampler.schemes import scheme
from weightwarden.sampler.types import IntArray
from weightwarden.text import printable
from weightwarden.verifier.candidates.window import HEAD_SIZE
from weightwarden.verifier.errors import ReplayServerError
from weightwarden.verifier.logits.partial_rows import CandidateRows, KnownLogits
from weightwarden.verifier.model.compatibility import check_fits
from weightwarden.verifier.model.identity import ModelIdentity
from weightwarden.verifier.policy.base import BasePolicy, KnownAnswer
from weightwarden.verifier.replay.replay import ReplayChunk
from weightwarden.verifier.replay.vllm.client import LogitsRow, VllmClient
from weightwarden.verifier.replay.vllm.preflight import check_dtype, known_answer, require_fit
from weightwarden.verifier.types import RowSpan, Tokenizer

TIE_RESERVE = 14
"""Number of candidates requested beyond a top-k cut, for tokens that tie there."""
DEEPER = 16
"""Factor on the number of requested candidates when the first ones do not suffice."""
MAX_CANDIDATES = 1024
"""Largest number of requested candidates: from here on they cost the server more than its forward pass."""
CHUNK_ROWS = 256
_SHOWN_ADAPTERS = 5
UNIT_TOKENS = 8192
"""Tokens of a work unit per concurrent request: the server runs idle at the end of a unit."""


class VllmReplayer:
    """The replay protocol over a trusted vLLM server.

    A record is one request, the transcript as the prompt with `prompt_logprobs` (docs/sampling.md, section 7.4). Its
    rows are the largest logits and the claimed token's. Where those do not settle a position, `deepen` has two ways:

    - the engine answers the request again, with its seed (only with `redraw`, that is when the replay is exact): up to
      the first difference, the engine itself drew the claimed tokens, over the whole vocabulary;
    - more candidates are requested.

    Attributes:
        top: number of candidates requested first.
        most: the server's --max-logprobs, at most `MAX_CANDIDATES`.
        version: the server's vLLM version.
        context_length: the server's context length, tokens.
    """

    implementation = "vllm"

    def __init__(
        self,
        client: VllmClient,
        identity: ModelIdentity,
        tokenizer: Tokenizer,
        *,
        dtype: str,
        redraw: bool,
        policy: BasePolicy | None = None,
        top: int = HEAD_SIZE,
        concurrency: int = 16,
    ) -> None:
        """Examine the server, and refuse an unfit one.

        Args:
            dtype: dtype of the server, as stated by its operator.
            policy: the policy of the replay; the server must be the one that it was made for.

        Raises:
            ReplayServerError: the server cannot be reached or is unfit.
        """
        self.client, self.identity, self._tokenizer = client, identity, tokenizer
        self.dtype, self.redraw, self.concurrency = dtype, redraw, concurrency
        self.version = client.version()
        self.served_name, self.context_length = client.served_model()
        self._check_adapters()
        self._probe = require_fit(client, self.version, policy)
        check_dtype(client, self._probe, dtype)
        self.most = client.most_logprobs(min(MAX_CANDIDATES, identity.vocabulary))
        self.top = min(top, self.most)

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    @property
    def device(self) -> str:
        return self.client.place

    @property
    def unit_tokens(self) -> int:
        return UNIT_TOKENS * self.concurrency

    def known_answer(self) -> KnownAnswer:
        """The server's answer to the probe."""
        return known_answer(self._probe)

    def close(self) -> None:
        """End all requests under way."""
        self.client.close()

    def batches(self, records: Sequence[Record]) -> list[list[int]]:
        """Batches of one record each, the longest first. The server forms its own batches."""
        self.client.ready()
        return [[i] for i in sorted(range(len(records)), key=lambda i: -_length(records[i]))]

    def replay(self, batch: Sequence[int], records: Sequence[Record]) -> Iterator[ReplayChunk]:
        for index in batch:
            record = records[index]
            self._check(record)
            transcript = _Transcript(self, record)
            count = len(record.output_token_ids)
            for start in range(0, count, CHUNK_ROWS):
                rows = _VllmRows(transcript, slice(start, min(start + CHUNK_ROWS, count)))
                yield ReplayChunk(rows, [RowSpan(record=index, start=start, row=0, count=len(rows))])

    def first_top(self, record: Record) -> int:
        """Number of candidates requested first: past the record's top-k cut, with some room for ties."""
        top_k = record.sampling.top_k
        return min(self.most, max(self.top, top_k + TIE_RESERVE if top_k > 0 else 0))

    def adapter_name(self, record: Record) -> str | None:
        """The server's name of a record's adapter; None without one.

        Raises:
            UnfitRecord: there is no trusted copy of the adapter.
        """
        if record.adapter is None:
            return None
        check_fits(record, self.identity)
        return self.identity.adapters[record.adapter.digest].name

    def _check_adapters(self) -> None:
        """Refuse a server that does not serve all adapters.

        Raises:
            ReplayServerError: it does not.
        """
        if not self.identity.adapters:
            return
        served = self.client.adapters()
        missing = sorted({one.name for one in self.identity.adapters.values()} - set(served))
        if missing:
            known = ", ".join(printable(one) for one in served[:_SHOWN_ADAPTERS]) or "none"
            raise ReplayServerError(
                f"{self.client.url}: does not serve the adapter {printable(missing[0])} (--lora-modules); it serves"
                f" {known}"
            )

    def _check(self, record: Record) -> None:
        if record.engine.name != "vllm" or record.engine.sampler == "inverse-cdf":
            raise ReplayServerError(f"a record of engine {record.engine.name} cannot be replayed by a vLLM server")
        if scheme(record.scheme_name).speculates:
            raise ReplayServerError(
                f"scheme {record.scheme_name} accepts drafted tokens by probability, which needs every logit: replay on"
                " transformers"
            )
        if record.engine.version != self.version:
            raise ReplayServerError(
                f"{self.client.url} runs vLLM {self.version}, the record is of vLLM {record.engine.version}"
            )
        if _length(record) > self.context_length:
            raise ReplayServerError(
                f"{self.client.url}: a record has {_length(record)} tokens, more than the server's"
                f" --max-model-len of {self.context_length}"
            )


class _Transcript:
    """One record at the server, with the known logits of its positions so far."""

    def __init__(self, replayer: VllmReplayer, record: Record) -> None:
        self.replayer, self.record = replayer, record
        self.top = replayer.first_top(record)
        self._adapter = replayer.adapter_name(record)
        self._drawn: IntArray | None = None
        self._other: tuple[int, int, float] | None = None
        """Position, token and logit of the engine's own choice where it first differs."""
        self._scoring = self._scored(len(record.output_token_ids), self.top)

    def known(self, positions: slice, *, drawn: bool) -> KnownLogits:
        """Known logits of some positions: from scoring alone, or with the engine's observed draws."""
        known = self._scoring
        if drawn and self._drawn is not None:
            known = replace(known, drawn_m=self._drawn)
            if self._other is not None and not (known.ids_mk[self._other[0]] == self._other[1]).any():
                known = known.with_token(*self._other)
        return known.rows(positions)

    def draw_again(self) -> bool:
        """Have the engine answer the request again, unless it has already. False if that is not allowed."""
        if not self.replayer.redraw:
            return False
        if self._drawn is None:
            self._redraw()
        return True

    def deepen(self, needed: IntArray) -> bool:
        """Learn more about some output positions (numbered from the start). False when nothing is left to try."""
        wider = min(self.top * DEEPER, self.replayer.most)
        if wider <= self.top:
            return False
        count = int(needed.max()) + 1
        self.top = wider
        self._scoring = self._scored(count, wider).append(self._scoring.rows(slice(count, None)))
        return True

    def _scored(self, count: int, top: int) -> KnownLogits:
        """The first `count` output positions with their `top` candidates."""
        record, client = self.record, self.replayer.client
        prompt, output = record.prompt_token_ids, record.output_token_ids[:count]
        transcript = [*prompt, *output]
        if len(transcript) < self.replayer.context_length:
            rows = client.score(transcript, top, len(prompt), self._adapter)
        else:  # no room for the token that the request must draw: the last position takes that token's place
            rows = client.score(transcript[:-1], top, len(prompt), self._adapter) if count > 1 else []
            rows.append(client.next_row(transcript[:-1], top, output[-1], self._adapter))
        return known_logits(rows, top, self.replayer.identity.vocabulary)

    def _redraw(self) -> None:
        """Have the engine answer the request again.

        Keep the tokens on which it agrees, and its choice at the first difference.
        """
        record, client = self.record, self.replayer.client
        output = record.output_token_ids
        sampling = request_sampling(record)
        sampling["min_tokens"] = min(sampling["min_tokens"], len(output))  # vLLM refuses more than max_tokens
        redrawn = client.draw(record.prompt_token_ids, len(output), sampling, self._adapter)
        compared = min(len(output), len(redrawn))
        agreed = next((t for t in range(compared) if output[t] != redrawn[t]), compared)
        self._drawn = np.full(len(output), -1)
        said = min(agreed + 1, compared)  # the engine's choice at the first difference, and nothing after it
        self._drawn[:said] = redrawn[:said]
        if agreed < compared:
            prefix = [*record.prompt_token_ids, *output[:agreed]]
            row = client.next_row(prefix, 1, redrawn[agreed], self._adapter)
            self._other = agreed, redrawn[agreed], row.logits[0]


class _VllmRows(CandidateRows):
    """Some output positions of one transcript. The engine's draws are shown only after a request for them.

    So the first known logits do not depend on the needs of other positions.
    """

    def __init__(self, transcript: _Transcript, positions: slice) -> None:
        self._transcript, self._positions = transcript, positions
        self._draws_shown = False
        super().__init__(transcript.known(positions, drawn=False), transcript.replayer.identity.vocabulary)

    def draw_again(self) -> bool:
        if self._draws_shown or not self._transcript.draw_again():
            return False
        self._draws_shown = True
        return self._learnt(True)

    def deepen(self, rows: IntArray) -> bool:
        return self.draw_again() or self._learnt(self._transcript.deepen(self._positions.start + rows))

    def _learnt(self, anything: bool) -> bool:
        if anything:
            self.replace(self._transcript.known(self._positions, drawn=self._draws_shown))
        return anything


def known_logits(rows: Sequence[LogitsRow], top: int, vocabulary: int) -> KnownLogits:
    """A server's rows as arrays. The smallest of a row's `top` largest logits is its ceiling.

    Raises:
        ReplayServerError: a token is outside the vocabulary: the server has another model.
    """
    width = max((len(row.ids) for row in rows), default=0)
    ids = np.full((len(rows), width), -1, np.int64)
    logits = np.full((len(rows), width), -np.inf)
    ceiling, rank = np.empty(len(rows)), np.empty(len(rows), np.int64)
    claim_only = np.array([row.ids[0] if len(row.ids) > top else -1 for row in rows], np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row.ids)] = row.ids
        logits[at, : len(row.ids)] = row.logits
        largest = row.logits if len(row.ids) == top else row.logits[1:]  # beyond `top`, the first is the claimed token
        ceiling[at] = min(largest) if len(row.ids) < vocabulary else -np.inf
        rank[at] = vocabulary if row.claimed_rank is None else row.claimed_rank
    if ids.max(initial=-1) >= vocabulary:
        raise ReplayServerError(f"the replay server names token {ids.max()}, outside the vocabulary of {vocabulary}")
    return KnownLogits(ids, logits, ceiling, rank, np.full(len(rows), -1), claim_only)


def _length(record: Record) -> int:
    return len(record.prompt_token_ids) + len(record.output_token_ids)
