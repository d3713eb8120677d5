import hashlib
from pathlib import Path

import pytest
from scipy.stats import binom

from weightwarden.errors import WeightwardenError
from weightwarden.logger.files.private import KeyFileError, write_private
from weightwarden.verifier.audit_selection import (
    MAX_KEY_BYTES,
    MIN_KEY_BYTES,
    AuditDraw,
    AuditError,
    file_sha256,
    read_audit_key,
    select_records,
    traffic_root,
)

KEY, OTHER_KEY = b"k" * 32, b"l" * 32
ROOT, OTHER_ROOT = bytes(32), bytes(31) + b"\x01"
COUNT = 20_000


def limits(share: float) -> tuple[float, float]:
    """Smallest and largest count of COUNT that a fair draw stays within 99.98% of the time."""
    return float(binom.ppf(1e-4, COUNT, share)), float(binom.ppf(1 - 1e-4, COUNT, share))


def selected(rate: float, count: int = COUNT, key: bytes = KEY, root: bytes = ROOT) -> list[int]:
    """Indices that a draw by records selects."""
    return list(select_records(AuditDraw(rate, key), root, [100] * count))


# Selection


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5, 0.99])
def test_share_of_selected_records_is_the_rate(rate: float) -> None:
    low, high = limits(rate)
    assert low <= len(selected(rate)) <= high


def test_share_of_selected_records_is_the_rate_in_every_tenth_of_the_traffic() -> None:
    chosen = selected(0.2)
    for tenth in range(10):
        here = sum(tenth * COUNT // 10 <= index < (tenth + 1) * COUNT // 10 for index in chosen)
        assert binom.ppf(1e-5, COUNT // 10, 0.2) <= here <= binom.ppf(1 - 1e-5, COUNT // 10, 0.2)


def test_selected_indices_ascend_without_repetition_within_the_count() -> None:
    chosen = selected(0.3, 1000)
    assert chosen == sorted(set(chosen))
    assert 0 <= chosen[0] <= chosen[-1] < 1000


def test_same_key_and_root_select_the_same_records() -> None:
    assert selected(0.05) == selected(0.05)


@pytest.mark.parametrize(
    ("key", "root"),
    [(OTHER_KEY, ROOT), (KEY, OTHER_ROOT), (OTHER_KEY, OTHER_ROOT), (ROOT, KEY)],
    ids=["other key", "other root", "both", "exchanged"],
)
def test_selections_of_another_key_or_root_are_nearly_independent(key: bytes, root: bytes) -> None:
    rate = 0.2
    both = set(selected(rate)) & set(selected(rate, key=key, root=root))
    low, high = limits(rate**2)
    assert low <= len(both) <= high


def test_a_record_stays_selected_when_the_rate_or_the_traffic_grows() -> None:
    few = selected(0.05)
    assert set(few) < set(selected(0.1))
    assert selected(0.05, COUNT + 500)[: len(few)] == few


def test_rate_one_selects_every_record() -> None:
    assert selected(1.0, 5000) == list(range(5000))


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.0000001, 2.0, float("nan"), float("inf"), float("-inf")])
def test_rate_outside_zero_to_one_is_refused(rate: float) -> None:
    with pytest.raises(AuditError, match="an audit rate lies in"):
        selected(rate, 100)


@pytest.mark.parametrize(("count", "rate"), [(0, 1.0), (100, 1e-9), (100, 1e-300)])
def test_selecting_nothing_is_an_error(count: int, rate: float) -> None:
    with pytest.raises(AuditError, match=f"no record of {count} was selected"):
        selected(rate, count)


# Key


@pytest.mark.parametrize("length", [MIN_KEY_BYTES, 32, MAX_KEY_BYTES])
def test_key_is_the_bytes_of_its_file(tmp_path: Path, length: int) -> None:
    key = bytes(i % 256 for i in range(length - 1)) + b"\n"
    write_private(tmp_path / "key", key)
    assert read_audit_key(tmp_path / "key") == key


@pytest.mark.parametrize("length", [0, 1, MIN_KEY_BYTES - 1, MAX_KEY_BYTES + 1, 2 * MAX_KEY_BYTES])
def test_key_of_wrong_length_is_refused_without_showing_it(tmp_path: Path, length: int) -> None:
    secret = ("Zq7#" * length)[:length]
    path = tmp_path / "audit.bin"
    write_private(path, secret.encode())
    with pytest.raises(KeyFileError, match="an audit key has 16 to 4096 bytes") as caught:
        read_audit_key(path)
    said = f"{caught.value} {caught.value!r}"
    assert "audit.bin" in said
    if length:
        assert secret[:8] not in said
        assert secret[:8].encode().hex() not in said


def test_missing_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="absent: cannot be read"):
        read_audit_key(tmp_path / "absent")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    write_private(tmp_path / "key", KEY)
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(KeyFileError, match="others than its owner may read it"):
        read_audit_key(tmp_path / "key")


def test_folder_as_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be read"):
        read_audit_key(tmp_path)


def test_audit_errors_are_caught_as_the_projects_and_as_value_errors() -> None:
    assert issubclass(AuditError, WeightwardenError)
    assert issubclass(AuditError, ValueError)


# Root


def test_traffic_root_hashes_the_hashes_of_the_files_in_order(tmp_path: Path) -> None:
    digests = [hashlib.sha256(content).digest() for content in (b"one", b"", b"three\n")]
    (tmp_path / "c").write_bytes(b"three\n")
    assert file_sha256(tmp_path / "c") == digests[2]
    assert traffic_root(digests) == hashlib.sha256(b"".join(digests)).digest()
    assert traffic_root(digests[::-1]) != traffic_root(digests)


def test_traffic_root_depends_on_where_one_file_ends_and_the_next_begins(tmp_path: Path) -> None:
    roots = set()
    for first, second in ((b"ab", b"c"), (b"a", b"bc"), (b"", b"abc")):
        (tmp_path / "1").write_bytes(first)
        (tmp_path / "2").write_bytes(second)
        roots.add(traffic_root([file_sha256(tmp_path / "1"), file_sha256(tmp_path / "2")]))
    assert len(roots) == 3
