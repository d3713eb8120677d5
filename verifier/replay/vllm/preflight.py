"""Is a server fit to replay on? Version, logits rather than log-probabilities, candidates, a known answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from weightwarden.verifier.candidates.window import HEAD_SIZE
from weightwarden.verifier.errors import PolicyError, ReplayServerError
from weightwarden.verifier.policy.base import BasePolicy, KnownAnswer
from weightwarden.verifier.replay.vllm.client import LogitsRow, VllmClient

PROBE = [11 + 37 * i % 997 for i in range(48)]
"""Token ids that every vocabulary of a thousand tokens has, in no order that a language has."""
PROBE_CANDIDATES = 20
"""Candidates a position asked for of the probe; vLLM's own default limit."""
NOISE_LIMIT = 1.0
"""Logits by which a server may differ from the known answer of a policy that is not exact: its noise is calibrated,
another model is not noise."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what it is, whether it is as it must be, and what was found."""

    what: str
    fit: bool
    found: str


def probe(client: VllmClient) -> list[LogitsRow]:
    """The server's candidates along the probe."""
    return client.score(PROBE, PROBE_CANDIDATES, 1)


def known_answer(rows: Sequence[LogitsRow]) -> KnownAnswer:
    """What a policy keeps of the probe."""
    return KnownAnswer(token_ids=PROBE, logits=[row.logits[0] for row in rows])


def number_format(rows: Sequence[LogitsRow]) -> str:
    """The narrowest format that holds every logit: "bfloat16", "float16" or "float32"; a float32 head shows here."""
    values = np.array([value for row in rows for value in row.logits], np.float32)
    if not (values.view(np.uint32) & 0xFFFF).any():
        return "bfloat16"
    with np.errstate(over="ignore"):
        narrow = bool(np.all(values == values.astype(np.float16)))
    return "float16" if narrow else "float32"


def check_dtype(client: VllmClient, rows: Sequence[LogitsRow], dtype: str) -> None:
    """Check that a server's logits are numbers of its dtype, or of float32, which an output head may be.

    Raises:
        ReplayServerError: they are not, so that the server computes in another dtype than stated.
    """
    found = number_format(rows)
    if found not in (dtype, "float32"):
        raise ReplayServerError(
            f"{client.url}: gives {found} logits, which no server does that computes in {dtype}: --dtype says what the"
            " server was started with"
        )


def dtype_without_policy(client: VllmClient, configured: str | None) -> str:
    """The dtype that a server computes in, where its logits and the model's configuration leave no doubt.

    Args:
        configured: the dtype that the model's configuration names, vLLM's default.

    Raises:
        ReplayServerError: they leave doubt, and the operator must say it.
    """
    found = number_format(probe(client))
    if configured is None or (found == "float32" and configured != "float32"):
        raise ReplayServerError(
            f"{client.url}: gives {found} logits, and the model's configuration names {configured or 'no dtype'}: say"
            " with --dtype what the server was started with"
            + (f" (--dtype float32, or {configured} with a float32 head)" if configured else "")
        )
    return configured


def gives_logits(rows: Sequence[LogitsRow]) -> bool:
    """Whether these are logits: log-probabilities never add up to more than one, and are no bfloat16 numbers."""
    totals = [logsumexp(row.logits[1:]) for row in rows]
    return bool(max(totals) > 1e-3) or number_format(rows) == "bfloat16"


def differs(policy: BasePolicy, rows: Sequence[LogitsRow]) -> str | None:
    """How a server's probe differs from the policy's known answer, or None when it is as it must be.

    Raises:
        PolicyError: the policy has no known answer, or one of another probe.
    """
    known = policy.made_for.known_answer
    if known is None or known.token_ids != PROBE:
        raise PolicyError(
            "the policy has no known answer for this version's probe; calibrate again with --replayer vllm"
        )
    distance = np.abs(np.array(known.logits) - np.array([row.logits[0] for row in rows]))
    limit = 0.0 if policy.exact else NOISE_LIMIT
    if distance.max() <= limit:
        return None
    differing = int((distance > limit).sum())
    return (
        f"{differing} of {len(distance)} logits of the known answer differ, by up to {distance.max():.3g} logits:"
        " another model, dtype, head, build or kind of processor than at calibration"
    )


def require_fit(client: VllmClient, version: str, policy: BasePolicy | None) -> list[LogitsRow]:
    """The probe of a server that is fit to replay.

    Raises:
        ReplayServerError: it gives log-probabilities, is another version than the policy says, or differs from the
            policy's known answer.
    """
    rows = probe(client)
    if not gives_logits(rows):
        raise ReplayServerError(
            f"{client.url}: gives log-probabilities, not logits; start it with --logprobs-mode raw_logits"
        )
    if policy is None:
        return rows
    if policy.made_for.engine_version != version:
        raise ReplayServerError(
            f"{client.url} runs vLLM {version}, and the policy was made for {policy.made_for.engine_version}"
        )
    difference = differs(policy, rows)
    if difference is not None:
        raise ReplayServerError(f"{client.url}: {difference}")
    return rows


def examine(client: VllmClient, policy: BasePolicy | None) -> list[Finding]:
    """Everything that can be seen of a server from outside, one finding each.

    Raises:
        ReplayServerError: it cannot be reached, or does not answer as vLLM does.
    """
    version = client.version()
    name, context = client.served_model()
    most = client.most_logprobs(1 << 10)
    findings = [
        Finding("version", policy is None or policy.made_for.engine_version == version, f"vLLM {version}"),
        Finding("model", True, f"{name}, {context} tokens of context"),
        Finding("candidates", most >= HEAD_SIZE, f"{most} a position (--max-logprobs; at least {HEAD_SIZE})"),
    ]
    if most < PROBE_CANDIDATES:
        return findings
    rows = probe(client)
    logits = gives_logits(rows)
    findings.append(
        Finding("logits", logits, f"{number_format(rows)} logits" if logits else "log-probabilities, not logits")
    )
    if policy is not None:
        difference = differs(policy, rows)
        findings.append(Finding("known answer", difference is None, difference or "as at calibration"))
    return findings
