"""Who was heard on the LAN."""

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from lanjami.discovery.neighbours import (
    AT_MOST,
    AT_MOST_BY_ADDRESS,
    EXPIRY_S,
    Neighbour,
    Neighbours,
)
from lanjami.discovery.wire import Beacon, Person, Publication

ANN = IPv4Address("10.0.0.9")
BEN = IPv4Address("10.0.0.10")


def _id(number: int) -> bytes:
    return number.to_bytes(20, "big")


def _node(number: int) -> Publication:
    return Publication(Beacon(_id(number), 4222), None)


def _account(number: int, name: str = "") -> Publication:
    return Publication(None, Person(_id(number), name))


def test_a_node_and_an_account_in_one_datagram_are_two_neighbours() -> None:
    neighbours = Neighbours()
    both = Publication(Beacon(_id(1), 4222), Person(_id(2), "Ann"))
    assert neighbours.hear(both, ANN, now=5.0)
    assert neighbours.at(6.0) == [
        Neighbour("dht", _id(1), ANN, "", 5.0, 5.0),
        Neighbour("jami", _id(2), ANN, "Ann", 5.0, 5.0),
    ]


def test_a_node_and_an_account_of_one_id_are_told_apart() -> None:
    neighbours = Neighbours()
    neighbours.hear(_node(1), ANN, now=0.0)
    neighbours.hear(_account(1), ANN, now=0.0)
    assert len(neighbours.at(0.0)) == 2


def test_who_speaks_again_keeps_the_time_of_coming() -> None:
    neighbours = Neighbours()
    neighbours.hear(_account(1, "Ann"), ANN, now=0.0)
    neighbours.hear(_account(1, "Anna"), BEN, now=100.0)
    assert neighbours.at(100.0) == [Neighbour("jami", _id(1), BEN, "Anna", 0.0, 100.0)]


def test_the_longest_present_come_first() -> None:
    neighbours = Neighbours()
    neighbours.hear(_node(2), ANN, now=0.0)
    neighbours.hear(_node(1), ANN, now=1.0)
    neighbours.hear(_node(2), ANN, now=2.0)
    assert [neighbour.id for neighbour in neighbours.at(3.0)] == [_id(2), _id(1)]


def test_who_falls_silent_is_forgotten() -> None:
    neighbours = Neighbours()
    neighbours.hear(_node(1), ANN, now=0.0)
    neighbours.hear(_node(2), ANN, now=10.0)
    assert len(neighbours.at(EXPIRY_S - 0.1)) == 2
    assert [neighbour.id for neighbour in neighbours.at(EXPIRY_S)] == [_id(2)]
    assert neighbours.at(EXPIRY_S + 10.0) == []


def test_an_address_that_says_too_much_is_not_believed() -> None:
    neighbours = Neighbours()
    told = [neighbours.hear(_node(n), ANN, now=0.0) for n in range(AT_MOST_BY_ADDRESS + 2)]
    assert told == [True] * AT_MOST_BY_ADDRESS + [False] * 2
    assert neighbours.hear(_node(0), ANN, now=1.0), "the known ones are still heard"
    assert neighbours.hear(_node(99), BEN, now=1.0), "and so are the others"


def test_a_full_address_cannot_take_over_the_node_of_another() -> None:
    neighbours = Neighbours()
    neighbours.hear(_node(99), BEN, now=0.0)
    for number in range(AT_MOST_BY_ADDRESS):
        neighbours.hear(_node(number), ANN, now=0.0)
    assert not neighbours.hear(_node(99), ANN, now=0.0)
    assert neighbours.at(0.0)[0].ip == BEN


def test_what_expired_makes_room_at_its_address() -> None:
    neighbours = Neighbours()
    for number in range(AT_MOST_BY_ADDRESS):
        neighbours.hear(_node(number), ANN, now=0.0)
    assert neighbours.hear(_node(99), ANN, now=EXPIRY_S)


def test_who_moved_makes_room_at_the_old_address() -> None:
    neighbours = Neighbours()
    for number in range(AT_MOST_BY_ADDRESS):
        neighbours.hear(_node(number), ANN, now=0.0)
    neighbours.hear(_node(0), BEN, now=1.0)
    assert neighbours.hear(_node(99), ANN, now=1.0)


def test_a_full_table_forgets_the_longest_unheard() -> None:
    neighbours = Neighbours()
    for number in range(AT_MOST):
        neighbours.hear(_node(number), IPv4Address(number), now=number / 1000)
    neighbours.hear(_node(0), IPv4Address(0), now=1.0)  # speaks again, so that 1 is the oldest
    neighbours.hear(_node(AT_MOST), IPv4Address(AT_MOST), now=1.0)
    known = {neighbour.id for neighbour in neighbours.at(1.0)}
    assert len(known) == AT_MOST
    assert _id(0) in known
    assert _id(1) not in known


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 5), st.booleans(), st.floats(0.0, 60.0)),
        max_size=300,
    )
)
def test_the_count_by_address_stays_true(
    heard: list[tuple[int, int, bool, float]],
) -> None:
    neighbours = Neighbours()
    now = 0.0
    for number, host, is_node, gap in heard:
        now += gap
        ip = IPv4Address(host)
        before = [n for n in neighbours.at(now) if n.ip == ip]
        publication = _node(number) if is_node else _account(number)
        kind = "dht" if is_node else "jami"
        is_known = any((n.kind, n.id) == (kind, _id(number)) for n in before)
        taken = neighbours.hear(publication, ip, now=now)
        assert taken == (is_known or len(before) < AT_MOST_BY_ADDRESS)
