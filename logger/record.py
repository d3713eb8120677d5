"""The record of one choice of one answered request (docs/design.md, section 4)."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from weightwarden.logger.release import Release
from weightwarden.sampler.errors import UnknownScheme, UnreplayableRequest
from weightwarden.sampler.params import SPECULATES, SamplingParams, TokenId, refusal
from weightwarden.sampler.schemes import FILTERS, Scheme, scheme

Name = Annotated[str, Field(min_length=1, max_length=256)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
MAX_TOP_LOGPROBS = 20
CUT_OFF_BY_CLIENT, CUT_OFF_BY_UPSTREAM, CUT_OFF_BY_LOGGER = "client", "upstream", "logger"
REFUSED_BY_UPSTREAM = "refused"
"""Stop reasons that a trusted logger gives a cut-off answer (`abort`): the client went away; the server failed or was
lost; the logger stopped; the server refused the request or another choice of it (HTTP status 4xx).
"""
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_GRAMMAR_CHARACTERS = 262_144
MAX_MARKER_CHARACTERS = 4096
BESIDE_GRAMMAR = (
    "cannot go with a grammar: together they can leave no token, and the engine would then fail the request or leave"
    " the grammar"
)


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Engine(_Strict):
    """The inference engine that produced an answer.

    Attributes:
        name: name of the engine.
        version: its version.
        sampler: its sampling scheme (docs/design.md, section 5).
        profile: digest of its profile (`EngineProfile`), or None for a sidecar without one.
    """

    name: Name
    version: Name
    sampler: Name
    profile: Digest | None = None

    @model_validator(mode="after")
    def _known_scheme(self) -> "Engine":
        try:
            scheme(self.sampler)
        except UnknownScheme as error:
            raise refusal("unknown_scheme", "sampler", str(error)) from None
        return self

    @property
    def scheme(self) -> Scheme:
        return scheme(self.sampler)


def beside_grammar(sampling: SamplingParams) -> str | None:
    """The sampling parameter that cannot go with a grammar (docs/sampling.md, section 6.8), or None."""
    return next(
        (name for name in ("ignore_eos", "min_tokens", "allowed_token_ids", "bad_words") if sampling.has(name)), None
    )


class Grammar(_Strict):
    """The grammar that constrains an answer: the text that the sidecar sends to the engine, and its compiler.

    Attributes:
        kind: language of the text: a JSON schema, a regular expression, a JSON list of strings, or a Lark grammar.
        text: the text.
        backend: name of the engine's grammar backend.
        version: version of the backend's library.
    """

    kind: Literal["json", "regex", "choice", "grammar"]
    text: Annotated[str, Field(min_length=1, max_length=MAX_GRAMMAR_CHARACTERS)]
    backend: Literal["guidance"]
    version: Name


class Reasoning(_Strict):
    """The reasoning with which an answer may begin, by its text as the sampling parameters make it.

    The answer begins with reasoning if its text, without leading white space, begins with `start`. The reasoning ends
    with the token that completes the first `end`.

    Attributes:
        start: text that begins reasoning; empty if the prompt has begun it.
        end: text that ends it.
        stops_inside: whether stop strings also end an answer within its reasoning.
        budget: number of output tokens after which the sidecar ends unfinished reasoning, or None.
        forced_end: text by whose tokens the sidecar ends it then, or None without a budget. It holds `end`.
    """

    start: Annotated[str, Field(max_length=MAX_MARKER_CHARACTERS)]
    end: Annotated[str, Field(min_length=1, max_length=MAX_MARKER_CHARACTERS)]
    stops_inside: bool = False
    budget: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    forced_end: Annotated[str, Field(min_length=1, max_length=MAX_MARKER_CHARACTERS)] | None = None

    @model_validator(mode="after")
    def _budget_has_an_end(self) -> "Reasoning":
        if (self.budget is None) != (self.forced_end is None):
            raise refusal(
                "budget", "budget", "a budget needs the text that ends the reasoning, and the other way round"
            )
        if self.forced_end is not None and self.end not in self.forced_end:
            raise refusal("forced_end", "forced_end", f"does not hold {self.end!r}, which ends the reasoning")
        return self


class Segment(_Strict):
    """A part of an answer: tokens that the engine drew in one request, or tokens that the sidecar put in itself.

    Attributes:
        kind: `sampled` or `forced`. Forced tokens are neither verified nor charged.
        tokens: number of tokens.
    """

    kind: Literal["sampled", "forced"]
    tokens: Annotated[int, Field(ge=1, lt=2**31)]


class Adapter(_Strict):
    """The low-rank adapter with which the engine answered.

    Attributes:
        name: the adapter's name for clients.
        digest: digest of its files.
    """

    name: Name
    digest: Digest


class Logprobs(_Strict):
    """The log probabilities that a trusted replayer added to an answer. The server's own are never given to a client.

    Attributes:
        top: number of most likely tokens at each position.
        prompt: whether the prompt's tokens have log probabilities, too (`echo`).
    """

    top: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)]
    prompt: bool = False


class Record(_Strict):
    """Input, output and seed of one choice. A valid record can be replayed.

    `seed` is the request's seed; the choice was drawn with `choice_seed`. Token ids are compared with a vocabulary only
    when a model is available (`out_of_vocabulary`). Only a cut-off answer (`abort`) may have no tokens: a refused or
    failed request is a record, too.

    An answer without `segments` was drawn in one request. With a budget for reasoning it may have three: sampled
    reasoning, the forced end, and the sampled rest, which the engine drew in a second request, after all of it.

    A record without `release` says nothing of the moments at which the answer left. One without `adapter` was answered
    by the model alone, one without `replica` by the sidecar's only server, and one without `logprobs` had none.
    """

    engine: Engine
    model: Name
    prompt_token_ids: Annotated[list[TokenId], Field(min_length=1)]
    output_token_ids: list[TokenId]
    seed: Annotated[int, Field(ge=INT64_MIN, le=INT64_MAX)] | None
    choice_index: Annotated[int, Field(ge=0, lt=2**16)]
    sampling: SamplingParams
    finish_reason: Literal["stop", "length", "abort", "repetition"]
    stop_reason: TokenId | str | None
    grammar: Grammar | None = None
    reasoning: Reasoning | None = None
    segments: list[Segment] | None = None
    release: Release | None = None
    adapter: Adapter | None = None
    replica: Name | None = None
    logprobs: Logprobs | None = None

    @model_validator(mode="before")
    @classmethod
    def _speculates_greedily(cls, value: Any) -> Any:
        """Accept a speculating engine at temperature 0, where speculation has no effect (docs/sampling.md, 4.9)."""
        engine = value.get("engine") if isinstance(value, Mapping) else None
        if not isinstance(engine, Mapping) or "speculative_decoding" not in engine:
            return value
        sampling = value.get("sampling")
        temperature = sampling.get("temperature") if isinstance(sampling, Mapping) else None
        if engine["speculative_decoding"] and temperature != 0:
            raise refusal("unreplayable", "engine.speculative_decoding", f"cannot be replayed: {SPECULATES}")
        return {**value, "engine": {key: item for key, item in engine.items() if key != "speculative_decoding"}}

    @model_validator(mode="after")
    def _constraints_agree(self) -> "Record":
        if self.grammar is not None and (found := beside_grammar(self.sampling)) is not None:
            raise refusal("grammar", f"sampling.{found}", BESIDE_GRAMMAR)
        budget = None if self.reasoning is None else self.reasoning.budget
        if budget is not None and self.grammar is not None:
            raise refusal("grammar", "reasoning.budget", "a grammar cannot go on after a forced end of the reasoning")
        if self.segments is None:
            return self
        kinds = [segment.kind for segment in self.segments]
        if budget is None or kinds not in (["sampled", "forced"], ["sampled", "forced", "sampled"]):
            raise refusal("segments", "segments", "not sampled reasoning up to its budget, a forced end, and the rest")
        if self.segments[0].tokens != budget:
            raise refusal(
                "segments",
                "segments",
                f"{self.segments[0].tokens} sampled tokens before the forced end, and the budget is {budget}",
            )
        if sum(segment.tokens for segment in self.segments) != len(self.output_token_ids):
            raise refusal("segments", "segments", f"not the {len(self.output_token_ids)} output tokens in all")
        return self

    @model_validator(mode="after")
    def _released(self) -> "Record":
        release = self.release
        if release is not None and release.underruns:
            groups, last = release.pace.groups(len(self.output_token_ids)), release.underruns[-1][0]
            if last > groups:  # the end itself may have left after the last token
                raise refusal("underruns", "release.underruns", f"before group {last}, and there are {groups}")
        return self

    @model_validator(mode="after")
    def _replayable(self) -> "Record":
        if self.sampling.n is not None and self.choice_index >= self.sampling.n:
            raise refusal(
                "choice_index", "choice_index", f"{self.choice_index} is not below sampling.n = {self.sampling.n}"
            )
        if self.engine.sampler == "greedy" and not self.sampling.is_greedy:
            raise refusal("greedy", "sampling.temperature", "scheme greedy means temperature 0")
        if not self.engine.scheme.penalties and self.sampling.has_penalties:
            raise refusal("unreplayable", "sampling", f"penalties of scheme {self.engine.sampler} cannot be replayed")
        for field, why in self.engine.scheme.refused.items():
            if self.sampling.has(field) and not (self.sampling.is_greedy and field in FILTERS):
                raise refusal("unreplayable", f"sampling.{field}", f"cannot be replayed: {why}")
        if not self.sampling.is_greedy:
            if self.engine.scheme.needs_cut and not (self.sampling.has("top_k") or self.sampling.has("top_p")):
                what = "cannot be replayed without top_k or top_p: it would rank the whole vocabulary"
                raise refusal("unreplayable", "sampling", f"scheme {self.engine.sampler} {what}")
            if self.seed is None:
                raise refusal("unreplayable", "seed", "an unseeded request cannot be replayed")
            try:
                self.choice_seed()
            except UnreplayableRequest as error:
                raise refusal("seed_range", "seed", str(error)) from None
        if not self.output_token_ids and self.finish_reason != "abort":
            raise refusal("no_output", "output_token_ids", f"no token, and finish reason {self.finish_reason}")
        limit = self.sampling.max_tokens
        if limit is not None and len(self.output_token_ids) > limit:
            raise refusal(
                "max_tokens",
                "output_token_ids",
                f"{len(self.output_token_ids)} tokens, more than sampling.max_tokens = {limit}",
            )
        return self

    def choice_seed(self) -> int:
        """Seed with which this choice was drawn.

        Raises:
            UnreplayableRequest: there is no seed, or it is outside the engine's range.
        """
        if self.seed is None:
            raise UnreplayableRequest("an unseeded request cannot be replayed")
        return self.engine.scheme.choice_seed(self.seed, self.choice_index)

    def requests(self) -> "list[tuple[int, Record]]":
        """The requests in which the engine drew the answer, each as a record of its own, with its first position.

        A record without segments is its own only request. The prompt of a later request holds the answer before it, so
        its draws and penalties are those of a new request (docs/sampling.md, section 7.6).
        """
        if self.segments is None:
            return [(0, self)]
        found, start = [], 0
        for segment in self.segments:
            if segment.kind == "sampled":
                found.append((start, self._request(start, self.output_token_ids[start : start + segment.tokens])))
            start += segment.tokens
        return found

    def continuation(self) -> "Record":
        """The request for the rest of an answer, without tokens, after the tokens that it has."""
        return self._request(len(self.output_token_ids), [])

    def _request(self, start: int, ids: list[int]) -> "Record":
        limit = self.sampling.max_tokens
        rest = {
            "max_tokens": None if limit is None else limit - start,
            "min_tokens": max(0, self.sampling.min_tokens - start),
        }
        return self.model_copy(
            update={
                "prompt_token_ids": [*self.prompt_token_ids, *self.output_token_ids[:start]],
                "output_token_ids": ids,
                "sampling": self.sampling.model_copy(update=rest) if start else self.sampling,
                "reasoning": None,
                "segments": None,
                "release": None,
            }
        )

    def forced(self) -> list[tuple[int, int]]:
        """The forced positions, as pairs of the first and the one after the last."""
        found, start = [], 0
        for segment in self.segments or ():
            if segment.kind == "forced":
                found.append((start, start + segment.tokens))
            start += segment.tokens
        return found

    @property
    def scheme_name(self) -> str:
        """Sampling scheme that drew the tokens. At temperature 0 every engine is greedy."""
        return "greedy" if self.sampling.is_greedy else self.engine.sampler

    def out_of_vocabulary(self, vocabulary: int) -> tuple[str, int] | None:
        """The first (field, token id) outside a vocabulary of that size, or None."""
        fields: list[tuple[str, list[int]]] = [
            ("prompt_token_ids", self.prompt_token_ids),
            ("output_token_ids", self.output_token_ids),
            ("sampling.stop_token_ids", self.sampling.stop_token_ids),
            ("sampling.logit_bias", list(self.sampling.logit_bias)),
            ("sampling.allowed_token_ids", self.sampling.allowed_token_ids or []),
        ]
        for field, ids in fields:
            if ids and max(ids) >= vocabulary:
                return field, next(i for i in ids if i >= vocabulary)
        return None
