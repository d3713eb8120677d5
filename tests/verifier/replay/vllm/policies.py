"""Exact policies that no calibration stands behind, for tests of what is done with them."""

from weightwarden.verifier.policy.exact import ExactPolicy
from weightwarden.verifier.replay.vllm.preflight import PROBE


def exact_policy(dtype: str, scheme: str = "vllm-cpu") -> ExactPolicy:
    """A policy whose known answer is in numbers of its dtype."""
    step = 1e-3 if dtype == "float32" else 0.0
    made_for = {
        "model_digest": "sha256:" + "5" * 64,
        "engine": "vllm",
        "engine_version": "0.32.0",
        "scheme": scheme,
        "replay": "vllm",
        "dtype": dtype,
        "known_answer": {"token_ids": PROBE, "logits": [2.0 + step] * (len(PROBE) - 1)},
    }
    check = {
        "records": 12,
        "tokens": 144,
        "record_mismatch_upper": 0.22,
        "token_mismatch_upper": 0.02,
        "tied_positions": 0,
        "unresolved_positions": 0,
        "charged_bits_per_token": {"value": 0.0, "low": 0.0, "high": 0.0},
        "traffic": [],
    }
    return ExactPolicy.model_validate({"format": "weightwarden-exact-policy/1", "made_for": made_for, "check": check})
