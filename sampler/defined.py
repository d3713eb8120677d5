"""Check for undefined requests, which leave no token, or scale logits so far that their errors are unknown."""

from collections.abc import Collection

from weightwarden.sampler.params import SamplingParams

MIN_REPETITION_PENALTY, MAX_REPETITION_PENALTY = 0.1, 10.0
"""Range of judged repetition penalties. Beyond it errors of logits grow more than tenfold, or logits overflow."""


def undefined_field(params: SamplingParams, eos_ids: Collection[int], vocabulary: int) -> tuple[str, str] | None:
    """The field that leaves a request without a definite token, and the reason; None if there is none.

    Args:
        params: the sampling parameters.
        eos_ids: the model's end-of-sequence ids, which `min_tokens` masks.
        vocabulary: V, tokens.
    """
    penalty = params.repetition_penalty
    if not MIN_REPETITION_PENALTY <= penalty <= MAX_REPETITION_PENALTY:
        limits = f"{MIN_REPETITION_PENALTY:g} to {MAX_REPETITION_PENALTY:g}"
        return "repetition_penalty", f"{penalty:g} is outside of {limits}, within which tokens can be judged"
    if not params.min_tokens:
        return None
    stops = {*eos_ids, *params.stop_token_ids}
    if params.allowed_token_ids is not None and stops.issuperset(params.allowed_token_ids):
        return "allowed_token_ids", f"every one ends the answer, and none may within min_tokens = {params.min_tokens}"
    if params.allowed_token_ids is None and len(stops) >= vocabulary:
        return "stop_token_ids", f"every token ends the answer, and none may within min_tokens = {params.min_tokens}"
    return None
