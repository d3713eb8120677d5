"""The token times of a simulated server of a 70B model: prompts, preemptions, bursts of requests."""

from dataclasses import dataclass

import numpy as np

from weightwarden.sampler.types import FloatArray

ARRIVALS_PER_SECOND = 1.0
"""Rate of requests beside the bursts."""
FRONT_SECONDS, FRONT_SPREAD = 0.15, 0.3
"""Median seconds until a request is with the engine (network, queue, tokenizer), and the deviation of its logarithm."""
BURST_EVERY, BURST_REQUESTS = 20.0, 8
"""Mean seconds between two bursts, and the requests of each, which arrive together."""
STEP_SECONDS, STEP_SECONDS_A_STREAM = 0.024, 0.00012
"""Seconds of a decoding step, and more of them for each stream in it: 25 to 32 ms a token."""
STEP_JITTER = 0.05
"""Standard deviation of a step's logarithm."""
CHUNK_SECONDS = 0.1
"""Largest part of a step that is spent on prompts, seconds: it delays all streams of the step."""
PREEMPTIONS_PER_STEP = 1e-4
"""Probability that a step evicts one of its streams, which waits `PREEMPTED_SECONDS`."""
PREEMPTED_SECONDS = (1.0, 5.0)
MEDIAN_PROMPT, MEDIAN_ANSWER, SPREAD = 1500, 240, 0.7
"""Median lengths of prompts and answers, tokens, and the standard deviation of their logarithms."""
MAX_TOKENS = 2000
STREAMS = 64
"""Largest number of streams at once."""


@dataclass(frozen=True)
class Machine:
    """A machine on which the model runs: its name, and the prompt tokens that it computes in a second."""

    name: str
    prompt_tokens_per_second: float


LARGE, SMALL = Machine("70B, 8 GPUs", 20_000.0), Machine("70B, 4 GPUs", 10_000.0)
"""Machines whose prompts take 14% and 27% of their time, with these arrivals."""


@dataclass(frozen=True)
class ServedAnswer:
    """An answer: when its request arrives, seconds, and the seconds after it at which each token comes, float64."""

    arrives: float
    token_seconds: FloatArray


@dataclass
class _Stream:
    asked: float
    arrives: float
    prompt_left: int
    tokens_left: int
    times: list[float]
    waits_until: float = 0.0


def served(machine: Machine, answers: int, rng: np.random.Generator) -> list[ServedAnswer]:
    """The token times of so many answers, in the order of their arrival at the engine.

    A step decodes a token of each stream, and computes prompts that wait, for up to `CHUNK_SECONDS`, the first to
    arrive first.
    """
    chunk_tokens = int(CHUNK_SECONDS * machine.prompt_tokens_per_second)
    waiting = _arrivals(answers, rng)
    done: list[_Stream] = list(waiting)
    running: list[_Stream] = []
    now = 0.0
    while waiting or running:
        if not running and waiting[0].arrives > now:
            now = waiting[0].arrives
        while waiting and waiting[0].arrives <= now and len(running) < STREAMS:
            running.append(waiting.pop(0))
        decoding = [one for one in running if not one.prompt_left and one.waits_until <= now]
        chunk = chunk_tokens
        for one in running:
            taken = min(chunk, one.prompt_left)
            one.prompt_left -= taken
            chunk -= taken
            if taken and not one.prompt_left:
                decoding.append(one)
        base = STEP_SECONDS + STEP_SECONDS_A_STREAM * len(decoding)
        now += base * float(np.exp(STEP_JITTER * rng.standard_normal()))
        now += (chunk_tokens - chunk) / machine.prompt_tokens_per_second
        for one in decoding:
            one.times.append(now - one.asked)
            one.tokens_left -= 1
        if decoding and rng.random() < PREEMPTIONS_PER_STEP * len(decoding):
            evicted = decoding[rng.integers(len(decoding))]
            evicted.waits_until = now + rng.uniform(*PREEMPTED_SECONDS)
        running = [one for one in running if one.tokens_left]
    return [ServedAnswer(one.asked, np.array(one.times)) for one in done]


def _arrivals(answers: int, rng: np.random.Generator) -> list[_Stream]:
    times: list[float] = []
    now, burst = 0.0, rng.exponential(BURST_EVERY)
    while len(times) < answers:
        now += rng.exponential(1 / ARRIVALS_PER_SECOND)
        while burst < now:
            times += [burst] * BURST_REQUESTS
            burst += rng.exponential(BURST_EVERY)
        times.append(now)
    prompts = np.exp(np.log(MEDIAN_PROMPT) + SPREAD * rng.standard_normal(answers))
    lengths = np.exp(np.log(MEDIAN_ANSWER) + SPREAD * rng.standard_normal(answers))
    fronts = FRONT_SECONDS * np.exp(FRONT_SPREAD * rng.standard_normal(answers))
    lengths = np.clip(np.ceil(lengths), 1, MAX_TOKENS)
    streams = [
        _Stream(asked, asked + float(front), int(np.ceil(prompt)), int(tokens), [])
        for asked, front, prompt, tokens in zip(times, fronts, prompts, lengths, strict=False)
    ]
    return sorted(streams, key=lambda one: one.arrives)
