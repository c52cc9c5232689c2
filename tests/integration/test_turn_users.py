"""Who may use the relay, in coturn's own database; and what keeps relays in."""

import stat
from ipaddress import ip_address
from pathlib import Path

import pytest

from lanjami.errors import HostError, RequestError
from lanjami.turn.catch import Catch
from lanjami.turn.users import CHECKER, Users
from tests.support.box import Box
from tests.support.ports import free_port


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return Users(tmp_path / "state" / "turn", realm="ring")


def test_unmodified_clients_may_from_the_start(users: Users) -> None:
    assert users.names() == ["ring"]


def test_users_come_and_go(users: Users) -> None:
    users.add("kim", "a secret")
    users.add("kim", "another")
    assert users.names() == ["kim", "ring"]
    users.remove("ring")
    assert users.names() == ["kim"]
    with pytest.raises(RequestError, match="no user ring"):
        users.remove("ring")


def test_who_was_removed_does_not_come_back_with_the_next_start(users: Users) -> None:
    users.prepare("check")
    users.remove("ring")
    users.prepare("check")
    assert users.names() == []


def test_the_box_itself_is_nobodys_user(users: Users) -> None:
    users.prepare("check")
    assert users.names() == ["ring"]
    with pytest.raises(RequestError):
        users.remove(CHECKER)
    with pytest.raises(RequestError):
        users.add(CHECKER, "mine")


@pytest.mark.parametrize("name", ["", "a b", "a'b", "a" * 65, "ü", "a\n", "<a>"])
def test_names_that_coturn_could_misread_are_refused(users: Users, name: str) -> None:
    with pytest.raises(RequestError, match="a user's name is"):
        users.add(name, "a secret")


@pytest.mark.parametrize("password", ["", "x" * 129, "a\0b", "a\nb"])
def test_so_are_passwords(users: Users, password: str) -> None:
    with pytest.raises(RequestError, match="a password has"):
        users.add("kim", password)


def test_only_their_owner_reads_them_and_nobody_the_passwords(users: Users) -> None:
    users.add("kim", "a very secret word")
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600
    assert b"a very secret word" not in users.path.read_bytes()


def test_a_database_that_is_none_is_said(users: Users) -> None:
    users.names()
    users.path.write_bytes(b"nonsense" * 100)
    with pytest.raises(HostError, match=r"users\.sqlite cannot be used"):
        users.names()


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    box = Box(tmp_path)
    turn = ("turn", "--state", str(box.state))
    assert box.run(*turn, "add-user", "kim", given="a secret\n") == (
        0,
        "kim may use the relay\n",
        "",
    )
    assert box.run(*turn, "list") == (0, "kim\nring\n", "")
    status, _, told = box.run(*turn, "remove-user", "nobody")
    assert (status, told) == (69, "lanjami: the relay has no user nobody\n")


async def test_where_no_firewall_leads_relays_elsewhere_that_is_noticed() -> None:
    first = free_port()
    catch = Catch(first, relays=(first + 1, first + 50))
    with catch.open():
        assert not await catch.holds([ip_address("127.0.0.1")])
    assert catch.count == 0


async def test_the_port_that_catches_is_had_by_one() -> None:
    first = free_port()
    one, other = (Catch(first, relays=(first + 1, first + 50)) for _ in range(2))
    with (
        one.open(),
        pytest.raises(HostError, match=f"UDP port {first} of loopback is not free"),
        other.open(),
    ):
        pass
    with other.open():
        pass
