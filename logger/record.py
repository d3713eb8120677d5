"""The record of one choice of one answered request (docs/design.md, section 4)."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from weightwarden.sampler.errors import UnknownScheme, UnreplayableRequest
from weightwarden.sampler.params import SamplingParams, TokenId, refusal
from weightwarden.sampler.schemes import FILTERS, Scheme, scheme

Name = Annotated[str, Field(min_length=1, max_length=256)]
CUT_OFF_BY_CLIENT, CUT_OFF_BY_UPSTREAM, CUT_OFF_BY_LOGGER = "client", "upstream", "logger"
REFUSED_BY_UPSTREAM = "refused"
"""Stop reasons that a trusted logger gives a cut-off answer (`abort`): the client went away; the server failed or was
lost; the logger stopped; the server refused the request or another choice of it (HTTP status 4xx).
"""
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Engine(_Strict):
    """The inference engine that produced an answer. `sampler` is its sampling scheme (docs/design.md, section 5)."""

    name: Name
    version: Name
    sampler: Name

    @model_validator(mode="before")
    @classmethod
    def _refuse_speculation(cls, value: Any) -> Any:
        if isinstance(value, dict) and "speculative_decoding" in value:
            if value["speculative_decoding"]:
                raise refusal(
                    "unreplayable",
                    "speculative_decoding",
                    "cannot be replayed: it consumes noise at boundaries that the record does not show",
                )
            value = {key: item for key, item in value.items() if key != "speculative_decoding"}
        return value

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


class Record(_Strict):
    """Input, output and seed of one choice. A valid record can be replayed.

    `seed` is the request's seed; the choice was drawn with `choice_seed`. Token ids are compared with a vocabulary only
    when a model is available (`out_of_vocabulary`). Only a cut-off answer (`abort`) may have no tokens: a refused or
    failed request is a record, too.
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
