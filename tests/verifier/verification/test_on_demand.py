"""Executors that are loaded when they have work: at most so many at a time, the least recently used one makes room."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from weightwarden.verifier.verification.executor import Executor
from weightwarden.verifier.verification.on_demand import OnDemandExecutor, ResidentExecutors


@dataclass
class Loaded:
    """An executor that notes what is done with it."""

    name: str
    said: list[str]

    def judge(self, records: Any) -> Any:
        self.said.append(f"judge {self.name}")
        return f"{self.name} judged {records}"

    def close(self) -> None:
        self.said.append(f"close {self.name}")


@dataclass
class Site:
    residents: ResidentExecutors
    said: list[str] = field(default_factory=list)

    def executor(self, name: str) -> OnDemandExecutor:
        def load() -> Executor:
            self.said.append(f"load {name}")
            return cast(Executor, Loaded(name, self.said))

        nothing = cast(Any, None)
        return OnDemandExecutor(policy=nothing, replayer=nothing, open=load, residents=self.residents)


def test_the_least_recently_used_executor_makes_room() -> None:
    site = Site(ResidentExecutors(2))
    a, b, c = map(site.executor, "abc")
    answer: Any = a.judge(cast(Any, 1))
    assert answer == "a judged 1"
    b.load()
    a.load()
    assert (a.is_loaded, b.is_loaded, c.is_loaded, site.residents.has_room) == (True, True, False, False)
    c.load()
    assert (a.is_loaded, b.is_loaded, c.is_loaded) == (True, False, True)
    assert site.said == ["load a", "judge a", "load b", "close b", "load c"]


def test_a_failed_load_leaves_nothing_and_is_tried_again() -> None:
    site = Site(ResidentExecutors(1))
    a = site.executor("a")
    load, a.open = a.open, cast(Any, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        a.load()
    assert not a.is_loaded
    assert site.residents.has_room
    a.open = load
    a.load()
    assert a.is_loaded


def test_closing_frees_and_may_be_repeated() -> None:
    site = Site(ResidentExecutors(1))
    a = site.executor("a")
    a.close()
    a.load()
    a.close()
    a.close()
    assert site.said == ["load a", "close a"]
    with pytest.raises(ValueError, match="at least one"):
        ResidentExecutors(0)
