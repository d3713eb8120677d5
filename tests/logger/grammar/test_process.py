"""The process that compiles grammars: it inherits nothing, ends with its parent, and can be killed at any time."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tokenizers import Tokenizer

from tests.logger.grammar.examples import EXAMPLES, PERSON
from weightwarden.extras import MissingExtra, how_to_add
from weightwarden.logger.errors import ModelError
from weightwarden.logger.grammar.errors import GrammarRefused, GrammarsClosed, GrammarsWaiting, GrammarTooSlow
from weightwarden.logger.grammar.process import QUICK_SECONDS, GrammarProcess
from weightwarden.logger.grammar.turns import Turns

V = 49_152
SLOW = [("regex", f"(a{{1000}}){{{1000 + at}}}") for at in range(3)]
"""Grammars that take more than a second of processor time each."""


@pytest.fixture
def own(model_folder: Path) -> Iterator[GrammarProcess]:
    """A process of this test's own, which it may kill."""
    made = GrammarProcess(model_folder, V)
    yield made
    made.close()


def fork_server() -> psutil.Process:
    """The newest fork server of this process."""
    servers = [one for one in psutil.Process().children() if "weightwarden.logger.grammar.fork_server" in one.cmdline()]
    return max(servers, key=lambda one: one.create_time())


def second_attempt() -> psutil.Process:
    """The worker of a second attempt, which is stopped in it: the test decides when it goes on."""
    for _ in range(3000):
        for worker in fork_server().children():
            if sum(worker.cpu_times()[:2]) > QUICK_SECONDS + 0.1:
                worker.suspend()
                return worker
        time.sleep(0.01)
    raise AssertionError("no worker is busy")


def test_a_grammar_that_takes_too_long_is_refused_and_the_refusal_is_remembered(model_folder: Path) -> None:
    process = GrammarProcess(model_folder, V, seconds=0.3)
    with pytest.raises(GrammarTooSlow, match=r"takes longer than 0\.3 s to compile"):
        process.check(*SLOW[0])
    with pytest.raises(GrammarRefused, match=r"takes longer than 0\.3 s"):
        process.is_checked(*SLOW[0])
    process.check("json", PERSON)
    assert process.is_checked("json", PERSON)
    process.close()


def test_a_quick_grammar_does_not_wait_for_slow_ones(model_folder: Path) -> None:
    own = GrammarProcess(model_folder, V)
    own.check("json", PERSON)
    order: list[str] = []

    def slow(number: int) -> None:
        with pytest.raises(GrammarRefused):
            own.check(*SLOW[number])
        order.append("slow")

    threads = [threading.Thread(target=slow, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    first = second_attempt()
    own.check("regex", "[a-z]{3}")
    order.append("quick")
    first.resume()
    for thread in threads:
        thread.join()
    own.close()
    assert order == ["quick", "slow", "slow", "slow"]


def test_of_too_many_slow_grammars_the_last_is_turned_away(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightwarden.logger.grammar.process.MOST_SLOW", 1)
    process = GrammarProcess(model_folder, V)

    def slow() -> None:
        with pytest.raises(GrammarRefused):
            process.check(*SLOW[0])

    process.start()
    thread = threading.Thread(target=slow)
    thread.start()
    first = second_attempt()
    with pytest.raises(GrammarsWaiting):
        process.check(*SLOW[1])
    process.check("json", PERSON)
    first.resume()
    thread.join()
    process.close()


def test_a_killed_worker_is_a_refusal_for_its_grammar_alone(own: GrammarProcess) -> None:
    refused: list[str] = []

    def slow() -> None:
        with pytest.raises(GrammarRefused) as caught:
            own.check(*SLOW[0])
        refused.append(str(caught.value))

    own.check("json", PERSON)
    thread = threading.Thread(target=slow)
    thread.start()
    first = second_attempt()
    first.send_signal(signal.SIGSEGV)
    first.resume()
    thread.join()
    assert refused == ["the grammar needs too much memory, or ends its compiler"]
    own.check("regex", "[a-z]{4}")


def test_a_killed_fork_server_is_started_again(own: GrammarProcess) -> None:
    own.check("json", PERSON)
    server = fork_server()
    server.kill()
    server.wait()
    with pytest.raises(GrammarRefused, match="ends its compiler"):
        own.check("regex", "[a-z]{5}")
    own.check("regex", "[a-z]{6}")
    assert fork_server().pid != server.pid


def test_nothing_of_this_process_is_inherited(own: GrammarProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_OPERATOR", "1")
    with Path(__file__).open() as file:
        os.set_inheritable(file.fileno(), True)
        own.check("json", PERSON)
    for process in (fork_server(), *fork_server().children()):
        assert "SECRET_OF_THE_OPERATOR" not in process.environ()
        links = {str(path.readlink()) for path in Path(f"/proc/{process.pid}/fd").iterdir()}
        assert {link.partition(":")[0] for link in links} == {"/dev/null", "socket"}
        assert len([link for link in links if link.startswith("socket")]) == 1
        assert process.num_threads() == 1


def test_all_end_when_the_parent_is_killed(model_folder: Path) -> None:
    parent = textwrap.dedent(f"""
        import sys, threading
        from pathlib import Path
        sys.path[:0] = {sys.path!r}
        from weightwarden.logger.grammar.process import QUICK_SECONDS, GrammarProcess
        process = GrammarProcess(Path({str(model_folder)!r}), {V}, seconds=60)
        process.check("regex", "a")
        threading.Thread(target=process.check, args={SLOW[0]!r}, daemon=True).start()
        print("ready", flush=True)
        input()
    """)
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"ready\n"
        below = psutil.Process(started.pid).children(recursive=True)
        assert len(below) >= 2
        started.kill()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.parametrize(
    ("work", "code"), [("bytearray(2**30)", 1), ("while True: pass", -signal.SIGPROF), ("bytearray(2**20)", 0)]
)
def test_a_worker_ends_at_its_limits(work: str, code: int) -> None:
    command = textwrap.dedent(f"""
        import sys
        sys.path[:0] = {sys.path!r}
        from weightwarden.logger.grammar import worker
        worker._limit(0.5, worker._address_space() + 2**27)
        {work}
    """)
    done = subprocess.run([sys.executable, "-c", command], stderr=subprocess.PIPE)
    assert done.returncode == code
    assert (b"MemoryError" in done.stderr) == (code == 1)


def test_many_threads_get_the_masks_that_one_gets(own: GrammarProcess, tokenizer: Tokenizer) -> None:
    asked = [(kind, text, tokenizer.encode(answer).ids) for kind, text, answer in EXAMPLES]
    alone = [own.masks(*one).packed_nw.tobytes() for one in asked]
    wrong: list[int] = []

    def ask(number: int) -> None:
        for at in range(number, number + len(asked)):
            at %= len(asked)
            if own.masks(*asked[at]).packed_nw.tobytes() != alone[at]:
                wrong.append(at)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_process_says_so(model_folder: Path) -> None:
    process = GrammarProcess(model_folder, V)
    process.check("regex", "a")
    process.close()
    with pytest.raises(GrammarsClosed):
        process.check("regex", "b")
    assert process.is_checked("regex", "a")


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    process = GrammarProcess(tmp_path, V)
    with pytest.raises(ModelError, match=r"tokenizer\.json: there is no such file"):
        process.start()
    process.close()


def test_a_missing_package_is_named_with_what_to_install(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "llguidance.py").write_text("raise ModuleNotFoundError('no', name='llguidance')")
    monkeypatch.syspath_prepend(str(tmp_path))
    process = GrammarProcess(model_folder, V, extra="server")
    with pytest.raises(MissingExtra) as caught:
        process.start()
    assert str(caught.value) == f"llguidance is missing: {how_to_add('server')}"
    process.close()


def test_turns_are_taken_in_the_order_of_arrival() -> None:
    turns, order = Turns(), []

    def take(number: int) -> None:
        with turns:
            order.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(20)]
    with turns:
        for number, thread in enumerate(threads, 1):
            thread.start()
            while len(turns) < number + 1:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(20))


def test_a_lock_with_a_limit_turns_the_last_away() -> None:
    turns = Turns(most=1)
    with turns, pytest.raises(GrammarsWaiting), turns:
        pass
    with turns:
        pass
