"""Codes over what a server says when it is asked again: all that could be claimed together obeys Kraft.

The model and its server are small, so that every claim at a position is tried, with the record replayed for each.
"""

from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.verifier.replay.vllm.small_server import IDENTITY, Behaviour, V, logits_after, record, small_server
from tests.verifier.replay.vllm.test_replayer import Words, policy_of
from weightwarden.sampler.noise import gumbel_noise
from weightwarden.sampler.types import FloatArray
from weightwarden.verifier.policy.exact import ExactPolicy
from weightwarden.verifier.replay.vllm.client import VllmClient
from weightwarden.verifier.replay.vllm.replayer import VllmReplayer
from weightwarden.verifier.scoring.ledger import CODED_BITS
from weightwarden.verifier.verification.verifier import Verifier

PROMPT = [9, 8, 7]
"""Of odd length: scoring differs from drawing there (`Behaviour.prefill_noise`)."""
KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "unfiltered": {},
    "top-p": {"top_p": 0.9},
    "filtered": {"top_k": 8, "top_p": 0.95},
}


def lengths(policy: ExactPolicy, outputs: list[list[int]], behaviour: Behaviour, kind: str) -> FloatArray:
    """Bits [output, code] of answers to one request: the counting code, and the pooled code."""
    length = len(outputs[0])
    records = [record(PROMPT, seed=5, count=length, output=output, **KINDS[kind]) for output in outputs]
    with small_server(behaviour) as url, VllmClient(url, timeout=20) as client:
        replayer = VllmReplayer(client, IDENTITY, Words(), dtype="bfloat16", redraw=True, concurrency=2)
        charges = Verifier(replayer, policy).judge(records).charges
    # Without the choice between the code and writing plainly, which is on top of both.
    bits: FloatArray = np.column_stack([charges.counting_bits_r, charges.pooled_bits_r])
    return bits - CODED_BITS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefill_noise", [0.0, 1.5])
def test_what_could_be_claimed_at_a_position_obeys_kraft(kind: str, prefill_noise: float) -> None:
    policy = policy_of([record([5, 6, i], seed=i, count=4, temperature=0.0) for i in range(9)])
    plausible = plausible_tokens(kind)
    behaviour = Behaviour(most=96, prefill_noise=prefill_noise)
    bits = lengths(policy, [[token] for token in plausible], behaviour, kind)
    assert ((2.0**-bits).sum(axis=0) <= 1 + 1e-9).all()


@pytest.mark.parametrize("kind", ["unfiltered", "greedy"])
def test_what_could_be_claimed_at_two_positions_together_obeys_kraft(kind: str) -> None:
    """The attack on what the engine drew: claims at one position decide whether it is asked at all."""
    policy = policy_of([record([5, 6, i], seed=i, count=4, temperature=0.0) for i in range(9)])
    drawn = record(PROMPT, seed=5, count=2, **KINDS[kind]).output_token_ids
    first = [drawn[0], *plausible_tokens(kind)[1:6]]
    second = [drawn[1], *plausible_tokens(kind)[6:9]]
    outputs = [list(pair) for pair in product(dict.fromkeys(first), dict.fromkeys(second))]
    bits = lengths(policy, outputs, Behaviour(most=96, prefill_noise=1.5), kind)
    assert ((2.0**-bits).sum(axis=0) <= 1 + 1e-9).all()


def plausible_tokens(kind: str) -> list[int]:
    """Tokens at the first position: those most likely, those that noise lifts most, and what the engine draws."""
    logits = logits_after(PROMPT).astype(np.float64)
    scored = logits + 1.5 * np.random.default_rng(len(PROMPT)).normal(size=V)  # as the server's scoring has them
    noise = gumbel_noise("vllm-cpu", V)
    g = noise.at(noise.keys(5, len(PROMPT), 1)[:1], np.arange(V)[None])[0]
    tokens = [int(record(PROMPT, seed=5, count=1, **KINDS[kind]).output_token_ids[0])]
    for values in (scored + g, scored, logits + g, logits):
        tokens += np.argsort(-values)[:8].tolist()
    return [int(token) for token in dict.fromkeys(tokens)]
