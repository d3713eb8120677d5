"""The last hidden states of requests, taken from vLLM's model runner after each of its steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class StatesPart:
    """Hidden states of neighbouring positions of one sequence.

    Attributes:
        sequence: number of the sequence.
        first: position in the sequence of the first row.
        hidden: the trunk's last hidden states, [positions, hidden], on the engine's device.
    """

    sequence: int
    first: int
    hidden: torch.Tensor


@dataclass
class _Wanted:
    """A sequence under way, and the next position whose states are wanted."""

    sequence: int
    position: int


class HiddenStates:
    """The hidden states that a model runner (V1) computes for the prompts of requests.

    vLLM's runner calls `_get_prompt_logprobs_dict` once a step with the hidden states of all scheduled tokens. `attach`
    puts this object in front of that method, which then runs as before. A prompt may be computed in several steps, and
    again after the engine preempted its request: each wanted position is kept once.
    """

    def __init__(self) -> None:
        self._wanted: dict[str, _Wanted] = {}
        self._found: list[StatesPart] = []
        self._runner: Any = None
        self._then: Callable[..., dict[str, Any]]

    def attach(self, runner: Any) -> None:
        """Observe a model runner's steps.

        Raises:
            AttributeError: the runner has no such method.
        """
        self._runner, self._then = runner, runner._get_prompt_logprobs_dict
        runner._get_prompt_logprobs_dict = self._observe

    @property
    def requests(self) -> tuple[str, ...]:
        """The requests whose states are kept."""
        return tuple(self._wanted)

    def expect(self, request: str, sequence: int, first: int) -> None:
        """Keep the states of a request's positions from `first` on."""
        self._wanted[request] = _Wanted(sequence, first)

    def forget(self) -> None:
        """Drop all requests and states."""
        self._wanted.clear()
        self._found.clear()

    def take(self) -> list[StatesPart]:
        """The states since the last call."""
        found, self._found = self._found, []
        return found

    def _observe(self, hidden_states: torch.Tensor, num_scheduled_tokens: Mapping[str, int]) -> dict[str, Any]:
        runner = self._runner
        for request, count in num_scheduled_tokens.items():
            wanted = self._wanted.get(request)
            if wanted is None:
                continue
            start = int(runner.requests[request].num_computed_tokens)
            end = start + count
            if end <= wanted.position:
                continue
            row = int(runner.query_start_loc.np[runner.input_batch.req_id_to_index[request]])
            kept = hidden_states[row + wanted.position - start : row + count].clone()  # the engine reuses the memory
            self._found.append(StatesPart(wanted.sequence, wanted.position, kept))
            wanted.position = end
        return self._then(hidden_states, num_scheduled_tokens)
