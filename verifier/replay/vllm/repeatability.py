"""Test of a replay server's repeatability: the same logits and tokens alone and among other requests.

Exact replay needs it. Honest answers are drawn among any concurrent requests, and replayed among others. A server whose
kernels round differently with the contents of the batch draws other tokens now and then. Honest traffic shows that only
if it holds answers of both kinds, and no record tells the number of concurrent requests.
"""

import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from weightwarden.verifier.errors import ReplayServerError
from weightwarden.verifier.policy.exact import EXACT_TOLERANCE
from weightwarden.verifier.replay.vllm.client import DrawnAnswer, LogitsRow, VllmClient
from weightwarden.verifier.replay.vllm.preflight import PROBE, PROBE_CANDIDATES

ANSWERS, ANSWER_TOKENS = 8, 6
"""Number of answers that are drawn twice, and tokens of each."""
_SAMPLING: dict[str, Any] = {"temperature": 1.0, "ignore_eos": True}


@dataclass(frozen=True, kw_only=True)
class Repeatability:
    """Results of a server alone and among other requests.

    Attributes:
        answers: answers that were drawn alone, one request after the other, and then all at once.
        differing: answers among these that differ between the two.
        drawn_apart: largest difference between the two, up to the first token that differs, logits.
        scored_apart: the same for transcripts that were scored alone and among others.
        seconds: duration of the test.
    """

    answers: int
    differing: int
    drawn_apart: float
    scored_apart: float
    seconds: float

    @property
    def passed(self) -> bool:
        """True if exact replay is possible: all tokens equal, all logits within the exact policy's tolerance."""
        apart = max(self.drawn_apart, self.scored_apart)
        return not self.differing and apart <= EXACT_TOLERANCE.margin

    def __str__(self) -> str:
        if self.passed:
            apart = max(self.drawn_apart, self.scored_apart)
            logits = f"logits up to {apart:.1g} apart" if apart else "bit for bit"
            return f"{self.answers} answers are the same alone and among other requests, {logits}"
        return (
            f"{self.differing} of {self.answers} answers differ between alone and among other requests; logits are up"
            f" to {self.drawn_apart:.2g} apart where drawn, {self.scored_apart:.2g} where scored"
        )


class NotRepeatable(ReplayServerError):
    """A server computes differently alone and among other requests. It can replay nothing exactly."""

    def __init__(self, url: str, found: Repeatability) -> None:
        super().__init__(
            f"{url}: exact replay is not possible on this server, since what it computes depends on the other requests"
            f" in its batch: {found}. Start both sides with settings that do not: on a CPU `verify vllm start` without"
            " --policy prints dtype and environment for its processor, on a GPU set VLLM_BATCH_INVARIANT=1"
            " (docs/exact-replay.md); then calibrate anew. Or calibrate without --exact"
        )


def repeatability(client: VllmClient) -> Repeatability:
    """The test: `ANSWERS` answers drawn one after the other and then together, and transcripts scored.

    Raises:
        ReplayServerError: the server fails, or does not answer like vLLM.
    """
    started = time.monotonic()
    prompts = [PROBE[: len(PROBE) - 5 * at] for at in range(ANSWERS)]
    alone = [_drawn(client, at, prompt) for at, prompt in enumerate(prompts)]
    with ThreadPoolExecutor(ANSWERS) as pool:
        together = list(pool.map(lambda at: _drawn(client, at, prompts[at]), range(ANSWERS)))
    agreed = [_agreed(one.token_ids, other.token_ids) for one, other in zip(alone, together, strict=True)]
    drawn_apart = max(
        _apart(one.rows[: same + 1], other.rows[: same + 1])
        for one, other, same in zip(alone, together, agreed, strict=True)
    )
    transcripts = [[*prompt, *answer.token_ids] for prompt, answer in zip(prompts, alone, strict=True)]
    scored_alone = [client.score(transcript, PROBE_CANDIDATES, 1) for transcript in transcripts]
    with ThreadPoolExecutor(ANSWERS) as pool:
        scored_together = list(pool.map(lambda some: client.score(some, PROBE_CANDIDATES, 1), transcripts))
    return Repeatability(
        answers=ANSWERS,
        differing=sum(one.token_ids != other.token_ids for one, other in zip(alone, together, strict=True)),
        drawn_apart=drawn_apart,
        scored_apart=max(map(_apart, scored_alone, scored_together)),
        seconds=time.monotonic() - started,
    )


def require_repeatable(client: VllmClient) -> Repeatability:
    """The result of a passed test.

    Raises:
        NotRepeatable: the test failed.
        ReplayServerError: the server fails.
    """
    found = repeatability(client)
    if not found.passed:
        raise NotRepeatable(client.url, found)
    return found


def _drawn(client: VllmClient, seed: int, prompt: Sequence[int]) -> DrawnAnswer:
    """An answer drawn without any other answer's cached prefix."""
    sampling = _SAMPLING | {"seed": seed, "cache_salt": uuid.uuid4().hex}
    return client.draw_with_logits(prompt, ANSWER_TOKENS, sampling, PROBE_CANDIDATES)


def _agreed(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """Number of tokens before the first difference."""
    pairs = zip(ours, theirs, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(theirs)))


def _apart(ours: Sequence[LogitsRow], theirs: Sequence[LogitsRow]) -> float:
    """Largest difference of the logits of tokens that both sides name at a position."""
    worst = 0.0
    for one, other in zip(ours, theirs, strict=False):
        logits = dict(zip(other.ids, other.logits, strict=True))
        for token, logit in zip(one.ids, one.logits, strict=True):
            worst = max(worst, abs(logit - logits.get(token, logit)))
    return worst
