"""Fitness checks of a replay server: version, logits instead of log-probabilities, candidates, a known answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from weightwarden.verifier.candidates.window import HEAD_SIZE
from weightwarden.verifier.errors import PolicyError, ReplayServerError
from weightwarden.verifier.policy.base import BasePolicy, KnownAnswer
from weightwarden.verifier.replay.vllm.client import LogitsRow, VllmClient

PROBE = [11 + 37 * i % 997 for i in range(48)]
"""Token ids of the probe, which every vocabulary of a thousand tokens has, in an order that no language has."""
PROBE_CANDIDATES = 20
"""Number of candidates per position of the probe; vLLM's own default limit."""
NOISE_LIMIT = 1.0
"""Largest difference in logits between a server and the known answer of a policy that is not exact. The noise of the
server is calibrated, and another model differs by more than noise.
"""


@dataclass(frozen=True)
class Finding:
    """One check: its name, whether it passed, and the finding in words."""

    what: str
    fit: bool
    found: str


def probe(client: VllmClient) -> list[LogitsRow]:
    """The server's candidates for the probe."""
    return client.score(PROBE, PROBE_CANDIDATES, 1)


def known_answer(rows: Sequence[LogitsRow]) -> KnownAnswer:
    """The part of the probe that a policy keeps."""
    return KnownAnswer(token_ids=PROBE, logits=[row.logits[0] for row in rows])


def number_format(rows: Sequence[LogitsRow]) -> str:
    """The narrowest format that holds every logit: "bfloat16", "float16" or "float32". It reveals a float32 head."""
    values = np.array([value for row in rows for value in row.logits], np.float32)
    if not (values.view(np.uint32) & 0xFFFF).any():
        return "bfloat16"
    with np.errstate(over="ignore"):
        narrow = bool(np.all(values == values.astype(np.float16)))
    return "float16" if narrow else "float32"


def check_dtype(client: VllmClient, rows: Sequence[LogitsRow], dtype: str) -> None:
    """Check that a server's logits are numbers of its dtype, or of float32, in which an output head may compute.

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
    """The dtype of a server, if its logits and the model's configuration determine it.

    Args:
        configured: the dtype in the model's configuration, vLLM's default.

    Raises:
        ReplayServerError: they do not determine it; the operator must state it.
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
    """True if the values are logits: log-probabilities never add up to more than one, and are no bfloat16 numbers."""
    totals = [logsumexp(row.logits[1:]) for row in rows]
    return bool(max(totals) > 1e-3) or number_format(rows) == "bfloat16"


def differs(policy: BasePolicy, rows: Sequence[LogitsRow]) -> str | None:
    """Difference between a server's probe and the policy's known answer in words; None if there is none.

    Raises:
        PolicyError: the policy has no known answer, or one for another probe.
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
        ReplayServerError: the server returns log-probabilities, has another version than the policy, or differs from
            the policy's known answer.
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
    """All checks of a server that are possible from outside, one finding each.

    Raises:
        ReplayServerError: the server cannot be reached, or does not answer like vLLM.
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
