"""The numbers in OpenDHT's logs."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lanjami.dhtnode.runner_log import count_nodes, count_values

DATA = Path(__file__).parent.parent / "data"


def _recorded(name: str) -> str:
    return (DATA / name).read_text("utf-8")


def test_good_and_dubious_nodes_are_counted() -> None:
    assert count_nodes(_recorded("routing-table-dubious.txt")) == (1, 4)


def test_expired_nodes_are_neither() -> None:
    assert count_nodes(_recorded("routing-table-expired.txt")) == (1, 0)


def test_all_buckets_are_counted() -> None:
    table = _recorded("routing-table-dubious.txt") + _recorded("routing-table-expired.txt")
    assert count_nodes(table) == (2, 4)


def test_an_empty_table_has_no_nodes() -> None:
    assert count_nodes("0000000000000000000000000000000000000000 count: 0 updated: never\n") == (
        0,
        0,
    )
    assert count_nodes("") == (0, 0)


def test_stored_values_are_counted() -> None:
    assert count_values(_recorded("storage.txt")) == 1
    assert count_values("Total 12 storages, 345 values (6789 bytes)\n") == 345


def test_another_text_has_no_values() -> None:
    assert count_values("") == 0
    assert count_values("in Total 12 storages, 345 values") == 0


@given(st.text())
def test_any_text_has_numbers(text: str) -> None:
    good, dubious = count_nodes(text)
    assert good >= 0
    assert dubious >= 0
    assert count_values(text) >= 0
