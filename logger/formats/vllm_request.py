"""The vLLM request of a record. The sidecar sends it to serve a choice, the verifier to replay it."""

import json
from typing import Any

from weightwarden.logger.record import Grammar, Record

DEFAULTED = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
)
"""Sampling parameters with a default in generation_config.json (vLLM 0.32, `ModelConfig.get_diff_sampling_param`)."""
_ALWAYS = frozenset({*DEFAULTED, "min_tokens", "stop_token_ids", "ignore_eos"})


def request_sampling(record: Record) -> dict[str, Any]:
    """The request fields that decide which tokens the engine draws for a record, and at which token ids it stops.

    All are set explicitly, except empty lists, so that nothing is left to the server's defaults (docs/sampling.md,
    section 7.3). Stop strings are omitted: they end an answer, and do not affect the draw.
    """
    sampling = record.sampling
    fields = sampling.model_dump(include=set(_ALWAYS))
    if sampling.allowed_token_ids is not None:
        fields["allowed_token_ids"] = sampling.allowed_token_ids
    if sampling.bad_words:
        fields["bad_words"] = sampling.bad_words
    if sampling.logit_bias:
        fields["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    if not sampling.is_greedy:
        fields["seed"] = record.choice_seed()
    if record.grammar is not None:
        fields["structured_outputs"] = _structured_outputs(record.grammar)
    return fields


def _structured_outputs(grammar: Grammar) -> dict[str, Any]:
    """A grammar's field, with its exact text. A JSON schema is sent as text: the server would write an object anew."""
    return {grammar.kind: json.loads(grammar.text) if grammar.kind == "choice" else grammar.text}
