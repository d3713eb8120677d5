"""What the workers of the tests replay with; they import this module."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.throughput.cheap_replayer import CheapReplayer
from weightwarden.logger.errors import ModelError
from weightwarden.logger.record import Record
from weightwarden.verifier.errors import ReplayError
from weightwarden.verifier.policy.base import BasePolicy
from weightwarden.verifier.replay.replay import ReplayChunk

UNIT_TOKENS = 400


class Slow(CheapReplayer):
    """Takes its time, so that a worker can be killed while it replays."""

    def replay(self, batch: Sequence[int], records: Sequence[Record]) -> Iterator[ReplayChunk]:
        time.sleep(0.3)
        yield from super().replay(batch, records)


class Refusing(CheapReplayer):
    """Cannot replay records with a certain prompt, and is slow with others."""

    def __init__(self, policy: BasePolicy, folder: Path, refused: Sequence[int]) -> None:
        super().__init__(policy, folder, UNIT_TOKENS)
        self.refused = refused

    def replay(self, batch: Sequence[int], records: Sequence[Record]) -> Iterator[ReplayChunk]:
        if any(records[index].prompt_token_ids == self.refused for index in batch):
            raise ReplayError("this one cannot be replayed")
        time.sleep(0.3)
        yield from super().replay(batch, records)


class Poisoned(CheapReplayer):
    """Its process ends when it replays records with certain prompts."""

    def __init__(self, policy: BasePolicy, folder: Path, poison: Sequence[Sequence[int]]) -> None:
        super().__init__(policy, folder, UNIT_TOKENS)
        self.poison = poison

    def replay(self, batch: Sequence[int], records: Sequence[Record]) -> Iterator[ReplayChunk]:
        if any(records[index].prompt_token_ids in self.poison for index in batch):
            os.kill(os.getpid(), signal.SIGKILL)
        yield from super().replay(batch, records)


def cheap(number: int, policy: BasePolicy, folder: Path) -> CheapReplayer:
    return CheapReplayer(policy, folder, UNIT_TOKENS)


def slow(number: int, policy: BasePolicy, folder: Path) -> CheapReplayer:
    return Slow(policy, folder, UNIT_TOKENS)


def poisoned(number: int, policy: BasePolicy, folder: Path, poison: Sequence[Sequence[int]]) -> CheapReplayer:
    return Poisoned(policy, folder, poison)


def refusing(number: int, policy: BasePolicy, folder: Path, refused: Sequence[int]) -> CheapReplayer:
    return Refusing(policy, folder, refused)


def without_model(number: int) -> CheapReplayer:
    raise ModelError("there is no model on this node")


def of_different_sizes(number: int, policy: BasePolicy, folder: Path) -> CheapReplayer:
    return CheapReplayer(policy, folder, UNIT_TOKENS + number)


def dying(number: int) -> CheapReplayer:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
