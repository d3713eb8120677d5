"""The quorum of witnesses on the command line, and the fork that only it prevents."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import pytest

from tests.cli.commands.test_run import invoke
from tests.logger.archive.examples import ENTRIES, KEY, ORIGIN
from tests.logger.sidecar.log.cosigning import cosigning
from tests.logger.witness import StrictWitness, serving
from tests.places import BUNDLED_POLICY

LOGS = {ORIGIN: KEY.verifier.public}


@pytest.fixture
def witnesses() -> Iterator[list[StrictWitness]]:
    with ExitStack() as stack:
        made = [StrictWitness(f"witness.example/w{number}", LOGS) for number in range(3)]
        yield [stack.enter_context(serving(one)) for one in made]


def written(folder: Path, witnesses: Sequence[StrictWitness], entries: Sequence[bytes]) -> Path:
    """The archives of a history with the cosignatures that witnesses give."""
    archives = folder / "archives"
    archives.mkdir(parents=True)
    with cosigning(folder, *witnesses, archives=str(archives)) as log:
        for half in (entries[: len(entries) // 2], entries[len(entries) // 2 :]):
            for entry in half:
                log.writer.append(entry).result(60)
            log.notarize()
            log.checkpointer.seal()
    return archives


@pytest.fixture
def public(tmp_path: Path) -> Path:
    path = tmp_path / "log.key.pub"
    path.write_text(f"{KEY.verifier}\n")
    return path


def listed(folder: Path, witnesses: Sequence[StrictWitness]) -> Path:
    path = folder / "witness.keys"
    path.write_text("".join(f"{one.vkey}\n" for one in witnesses))
    return path


def test_an_operator_alone_forks_the_log_and_with_a_quorum_cannot(
    tmp_path: Path, public: Path, witnesses: list[StrictWitness]
) -> None:
    """The operator holds the key, writes two histories, and gives each witness the one that it likes."""
    keys = listed(tmp_path, witnesses)
    for number, given in enumerate(product("ab", repeat=3)):
        for one in witnesses:
            one.cosigned.clear()
        passed = []
        for name, entries in (("a", ENTRIES[:8]), ("b", ENTRIES[10:20])):
            folder = tmp_path / f"{number}{name}"
            asked = [one for one, history in zip(witnesses, given, strict=True) if history == name]
            archives = written(folder, asked, entries)
            # Each of two auditors sees one history, and has seen it before: both pass.
            seen = ("--public-key", public, "--seen", folder / "seen")
            assert invoke("log", "check", archives, *seen).exit_code == 0
            assert invoke("log", "check", archives, *seen).exit_code == 0
            found = invoke("log", "check", archives, *seen, "--witness-key", keys, "--min-witnesses", 2)
            assert found.exit_code == (0 if len(asked) >= 2 else 1), found.output
            passed.append(found.exit_code == 0)
        assert passed.count(True) == 1


def test_a_witness_cosigns_no_second_history_however_often_it_is_asked(
    tmp_path: Path, public: Path, witnesses: list[StrictWitness]
) -> None:
    keys = listed(tmp_path, witnesses)
    first = written(tmp_path / "a", witnesses, ENTRIES[:8])
    second = written(tmp_path / "b", witnesses, ENTRIES[10:30])
    quorum = ("--public-key", public, "--witness-key", keys, "--min-witnesses", 2)
    assert invoke("log", "check", first, *quorum).exit_code == 0
    refused = invoke("log", "check", second, *quorum)
    assert refused.exit_code == 1
    assert "COSIGNATURE" in refused.output
    assert "0 of 3 witnesses cosigned it (none), and 2 are required" in refused.output


def test_cosignatures_are_shown_with_their_times(tmp_path: Path, public: Path, witnesses: list[StrictWitness]) -> None:
    archives = written(tmp_path / "a", [witnesses[0], witnesses[2]], ENTRIES[:8])
    quorum = ("--witness-key", listed(tmp_path, witnesses), "--min-witnesses", 2)
    text = invoke("log", "check", archives, "--public-key", public, *quorum).output
    assert "quorum   2 of 3 witnesses cosigned the root:" in text
    assert "witness.example/w0 at 20" in text
    report = json.loads(invoke("log", "check", archives, "--public-key", public, *quorum, "--json").output)
    assert [one["witness"] for one in report["cosignatures"]] == ["witness.example/w0", "witness.example/w2"]
    assert all(isinstance(one["time"], int) for one in report["cosignatures"])
    shown = invoke("log", "show", archives, "--public-key", public).output
    assert shown.count("witness.example/w2, not verified") == 2
    shown = invoke("log", "show", archives, "--public-key", public, *quorum[:2]).output
    assert shown.count("cosigned witness.example/w2 at 20") == 2
    assert "not verified" not in shown


def test_one_uncosigned_archive_is_covered_by_the_next(
    tmp_path: Path, public: Path, witnesses: list[StrictWitness]
) -> None:
    keys = listed(tmp_path, witnesses)
    archives = tmp_path / "archives"
    archives.mkdir()
    quorum = ("--public-key", public, "--witness-key", keys, "--min-witnesses", 3)
    with cosigning(tmp_path, *witnesses, archives=str(archives)) as log:
        log.append(4)
        log.checkpointer.seal()
        assert invoke("log", "check", archives, *quorum).exit_code == 1
        log.grow(3)
        log.checkpointer.seal()
    assert invoke("log", "check", archives, *quorum).exit_code == 0


def test_a_run_requires_the_quorum_before_anything_is_replayed(
    tmp_path: Path, public: Path, witnesses: list[StrictWitness]
) -> None:
    archives = written(tmp_path / "a", witnesses[:1], ENTRIES[:8])
    quorum = ("--witness-key", listed(tmp_path, witnesses), "--min-witnesses", 2)
    for command in (("run", archives, "--policy", BUNDLED_POLICY), ("calibrate", archives, "--out", tmp_path / "p")):
        found = invoke(*command, "--public-key", public, *quorum)
        assert found.exit_code == 2
        assert "1 of 3 witnesses cosigned it (witness.example/w0), and 2 are required" in found.output
        unsigned = invoke(*command, *quorum)
        assert unsigned.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--min-witnesses", "1"), "--witness-key and --min-witnesses require each other"),
        (("--witness-key", "{keys}"), "--witness-key and --min-witnesses require each other"),
        (("--witness-key", "{keys}", "--min-witnesses", "1"), "require at least 2, or list fewer"),
        (("--witness-key", "{keys}", "--min-witnesses", "4"), "4 witnesses are required, and 3 are listed"),
        (("--witness-key", "{public}", "--min-witnesses", "1"), "not of the algorithm Ed25519 cosignature"),
        (("--witness-key", "nowhere", "--min-witnesses", "1"), "cannot be read"),
    ],
)
def test_wrong_quorums_are_named(
    tmp_path: Path, public: Path, witnesses: list[StrictWitness], arguments: tuple[str, ...], message: str
) -> None:
    archives = written(tmp_path / "a", [], ENTRIES[:4])
    keys = listed(tmp_path, witnesses)
    given = [one.format(keys=keys, public=public) for one in arguments]
    found = invoke("log", "check", archives, "--public-key", public, *given)
    assert found.exit_code == 2
    assert message in found.output


def test_sealing_by_another_process_takes_the_recorded_cosignatures(
    tmp_path: Path, public: Path, witnesses: list[StrictWitness]
) -> None:
    key = tmp_path / "log.key"
    KEY.write(key)
    (tmp_path / "archives").mkdir()
    seal = ("log", "seal", "--log", tmp_path / "log.db", "--archives", tmp_path / "archives", "--signing-key", key)
    mark = ("--mark", tmp_path / "mark")
    with cosigning(tmp_path, *witnesses[:2]) as log:
        log.grow(5)
        log.append(2)
        refused = invoke(*seal, *mark, "--min-witnesses", 3)
        assert (refused.exit_code, "no checkpoint of them has 3 cosignatures" in refused.output) == (2, True)
        assert "records 0 to 4" in invoke(*seal, *mark, "--min-witnesses", 2).output
    quorum = ("--witness-key", listed(tmp_path, witnesses), "--min-witnesses", 2)
    assert invoke("log", "check", tmp_path / "archives", "--public-key", public, *quorum).exit_code == 0
