"""Likely causes of an inference server's behaviour, in fixed words for the operator's log."""

_BY_STATUS = {
    401: "it wants another API key (--upstream-key)",
    403: "it wants another API key (--upstream-key)",
    404: "it has no such model or path (--upstream-model, --upstream)",
    413: "a proxy in front of it takes smaller requests",
    429: "it, or a proxy in front of it, is overloaded",
}
_OTHER = (
    "it takes less than this sidecar: a shorter context (compare --max-model-len on both sides),"
    " or another model, version or limit (compare --model-dir and --engine-version)"
)
SHORT_ANSWER = (
    "a cap of the server's own: --override-generation-config with max_new_tokens, max_new_tokens in its"
    " generation_config.json (--generation-config vllm leaves that out), or a shorter --max-model-len"
)
"""Cause of a `length` that an honest server reports before the requested length."""


def is_refusal(status: int) -> bool:
    """True if an HTTP status refuses the request (4xx), rather than reporting a failure of the server."""
    return 400 <= status < 500


def cause_of_refusal(status: int) -> str:
    """The most frequent cause for which an inference server refuses a sidecar's request with this status."""
    return _BY_STATUS.get(status, _OTHER)
