"""`lanjami names`, on a running box and on the database of one that is stopped."""

import json
import sys
from contextlib import closing
from pathlib import Path

import pytest

from lanjami.nameserver import admin, record, signature
from lanjami.nameserver.database import Database
from lanjami.nameserver.names import Name
from tests.support.box import Box
from tests.support.registrations import ClientKeys, account_id, registration

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

NAMES = {"alice": 1, "albert": 2, "bobby": 3}


@pytest.fixture(params=["running", "stopped"])
def filled(box: Box, request: pytest.FixtureRequest) -> Box:
    """A box with three names, once running and once not."""
    box.state.mkdir(mode=0o700)
    with closing(Database(box.state / "names.sqlite")) as database:
        for when, (name, number) in enumerate(NAMES.items()):
            database.add([record.of(registration(name, number), when=when)])
    if request.param == "running":
        box.running()
    return box


def _names(box: Box, *words: str, given: str | None = None) -> tuple[int, str, str]:
    return box.run("names", "--state", str(box.state), *words, given=given)


def test_names_are_listed_filtered_and_sorted(filled: Box) -> None:
    status, printed, told = _names(filled, "list")
    assert (status, told) == (0, "3 names\n")
    assert [line.split()[0] for line in printed.splitlines()] == sorted(NAMES)
    assert account_id(1) in printed
    _, printed, told = _names(filled, "list", "al*", "--sort", "date")
    assert [line.split()[0] for line in printed.splitlines()] == ["alice", "albert"]
    _, printed, _ = _names(filled, "list", "--json", "--sort", "id")
    listed = json.loads(printed)
    assert [entry["id"] for entry in listed] == sorted(map(account_id, NAMES.values()))


def test_a_pattern_is_in_any_case_and_the_state_folder_where_it_is_put(filled: Box) -> None:
    assert _names(filled, "list", "AL*")[2] == "2 names\n"
    assert filled.run("names", "list", "--state", str(filled.state))[2] == "3 names\n"
    assert _names(filled, "list", "nobody*", "--json")[1] == "[]\n"


def test_more_names_than_are_answered_at_once(box: Box, tmp_path: Path) -> None:
    box.running()
    keys, count = ClientKeys(bits=2048), 2 * admin.PAGE + 1
    bodies = [
        (f"name-{number:03}", keys.body(f"name-{number:03}", exponent))
        for number, exponent in zip(range(count), keys.exponents(), strict=False)
    ]
    signed = [signature.read(Name(name), json.dumps(body).encode()) for name, body in bodies]
    file = tmp_path / "names.jsonl"
    file.write_bytes(b"".join(record.to_lines(record.of(one, when=0) for one in signed)))
    assert _names(box, "import", str(file))[1] == f"{count} names were new\n"
    names = [name for name, _ in bodies]
    assert [line.split()[0] for line in _names(box, "list")[1].splitlines()] == names
    assert [one["name"] for one in json.loads(_names(box, "list", "--json")[1])] == names
    assert _names(box, "export")[1] == file.read_text()
    assert _names(box, "audit")[:2] == (0, "every proof holds\n")


def test_a_name_is_shown_with_its_proof(filled: Box) -> None:
    for asked in ("alice", "ALICE", account_id(1), f"0x{account_id(1)}"):
        status, printed, _ = _names(filled, "show", asked)
        assert status == 0
        assert "Name        alice" in printed
        assert f"Jami ID     {account_id(1)}" in printed
        assert "holds" in printed
    status, printed, told = _names(filled, "show", "nobody")
    assert (status, printed) == (69, "")
    assert told == "lanjami: nobody has nobody\n"


def test_removing_asks_and_frees(filled: Box) -> None:
    status, _, told = _names(filled, "remove", "alice", given="n\n")
    assert status == 1
    assert "Clients remember names for ever" in told
    assert _names(filled, "show", "alice")[0] == 0
    assert _names(filled, "remove", "alice", "--yes")[0] == 0
    assert _names(filled, "remove", "alice", "--yes")[0] == 69


def test_renaming_keeps_the_proof_and_says_what_it_costs(filled: Box) -> None:
    status, _, told = _names(filled, "rename", "alice", "alicia", given="y\n")
    assert status == 0
    assert "Clients remember names for ever" in told
    _, printed, _ = _names(filled, "show", account_id(1))
    assert "Name        alicia" in printed
    assert "its owner signed alice" in printed
    status, _, told = _names(filled, "rename", "alicia", "bobby", "--yes")
    assert status == 69
    assert "the name is taken" in told


def test_names_are_reserved_and_let_go(filled: Box) -> None:
    assert _names(filled, "reserve", "queen")[0] == 0
    assert _names(filled, "reserved")[1] == "queen\n"
    assert _names(filled, "rename", "alice", "queen", "--yes")[0] == 69
    assert _names(filled, "unreserve", "queen")[0] == 0
    told = _names(filled, "unreserve", "queen")[2]
    assert told == "lanjami: queen is not among the names that you reserved\n"
    assert _names(filled, "rename", "alice", "queen", "--yes")[0] == 0


def test_what_is_exported_is_imported_elsewhere(filled: Box, tmp_path: Path) -> None:
    file = tmp_path / "names.jsonl"
    assert _names(filled, "export", str(file))[0] == 0
    assert len(file.read_text().splitlines()) == 3
    assert _names(filled, "remove", "alice", "--yes")[0] == 0
    assert _names(filled, "import", str(file))[1] == "1 names were new\n"
    assert _names(filled, "import", str(file))[1] == "0 names were new\n"
    assert _names(filled, "audit")[:2] == (0, "every proof holds\n")

    _names(filled, "remove", "alice", "--yes")
    forged = file.read_text().replace('"bobby"', '"bobbi"')
    status, _, told = _names(filled, "import", given=forged)
    assert status == 69
    assert "line 3: signature verification failed" in told
    assert _names(filled, "show", "alice")[0] == 69, "nothing was taken"


def test_an_audit_finds_what_does_not_hold(box: Box) -> None:
    box.state.mkdir(mode=0o700)
    with closing(Database(box.state / "names.sqlite")) as database:
        alice = record.of(registration("alice", 1), when=0)
        database.add([alice])
        database._connection.execute("UPDATE names SET signature = 'AAAA'")  # noqa: SLF001
    status, printed, _ = _names(box, "audit")
    assert status == 1
    assert "alice: signature verification failed" in printed
    assert _names(box, "show", "alice")[0] == 1


def test_without_a_box_there_are_no_names(box: Box) -> None:
    status, printed, told = _names(box, "list")
    assert (status, printed) == (69, "")
    assert told == f"lanjami: there are no names in {box.state}\n"
    assert not box.state.exists()
