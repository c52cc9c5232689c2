"""Which backups are kept, and what a manifest may be."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.backup.manifest import (
    FORMAT,
    KEPT,
    LARGEST_TOTAL,
    Backup,
    File,
    Manifest,
    parse,
    surplus,
)
from lanjami.errors import HostError


def _manifest(content: str = "a", version: int = FORMAT) -> Manifest:
    return Manifest(version, "0.1.0", "2026-11-22T10:00:00Z", {"names": File(1, content * 64)})


def _backup(number: int, content: str | None = None, size: int = 1000) -> Backup:
    return Backup(number, size, _manifest(content or chr(number + 100)))


def _kept(backups: list[Backup]) -> list[int]:
    gone = {backup.number for backup in surplus(backups)}
    return [backup.number for backup in backups if backup.number not in gone]


def test_the_newest_seven_are_kept() -> None:
    assert KEPT == 7
    assert _kept([_backup(number) for number in range(1, 11)]) == [4, 5, 6, 7, 8, 9, 10]


def test_starts_without_a_change_push_nothing_out() -> None:
    differing = [_backup(number, "abcdefg"[number - 1]) for number in range(1, 8)]
    again = [_backup(number, "g") for number in range(8, 100)]
    assert _kept(differing + again) == [1, 2, 3, 4, 5, 6, 99]


def test_large_ones_are_fewer_and_the_newest_always_stays() -> None:
    half = LARGEST_TOTAL // 2
    assert _kept([_backup(1, size=half), _backup(2, size=half), _backup(3, size=half)]) == [2, 3]
    assert _kept([_backup(1), _backup(2, size=2 * LARGEST_TOTAL)]) == [2]
    assert _kept([_backup(1, size=half), _backup(2, size=2 * half), _backup(3)]) == [1, 3]


def test_nothing_kept_is_nothing_to_remove() -> None:
    assert surplus([]) == []


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, LARGEST_TOTAL)), max_size=30))
def test_what_stays_is_within_the_limits(given_ones: list[tuple[str, int]]) -> None:
    backups = [_backup(n, content, size) for n, (content, size) in enumerate(given_ones)]
    kept = [backups[number] for number in _kept(backups)]
    assert len(kept) <= KEPT
    assert len({str(backup.manifest.files) for backup in kept}) == len(kept)
    assert len(kept) <= 1 or sum(backup.size for backup in kept) <= LARGEST_TOTAL
    assert kept[-1:] == backups[-1:]


def test_a_manifest_of_a_newer_format_is_refused_with_a_sentence() -> None:
    manifest = _manifest(version=FORMAT + 1)
    with pytest.raises(HostError, match=r"made by a newer lanjami \(0.1.0\)"):
        parse(msgspec.json.encode(manifest))
    assert parse(msgspec.json.encode(_manifest())) == _manifest()


@pytest.mark.parametrize(
    "odd",
    [
        Manifest(FORMAT, "0.1.0\x1b[31m", "2026-11-22T10:00:00Z", {}),
        Manifest(FORMAT + 1, "0.1.0\n", "2026-11-22T10:00:00Z", {}),
        Manifest(FORMAT, "0.1.0", "2026-11-22T10:00:00Z\n", {}),
        Manifest(FORMAT, "0.1.0", "\x1b]0;yesterday\x07", {}),
        Manifest(FORMAT, "0.1.0", "2026-11-22T10:00:00Z", {"na\x1bmes": File(1, "a" * 64)}),
    ],
)
def test_nothing_in_a_manifest_speaks_to_a_terminal(odd: Manifest) -> None:
    with pytest.raises(HostError) as refused:
        parse(msgspec.json.encode(odd))
    assert str(refused.value).isprintable()


@given(
    st.binary()
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(msgspec.json.encode)
)
def test_any_bytes_are_a_manifest_or_refused(content: bytes) -> None:
    with pytest.raises(HostError):
        parse(content)
