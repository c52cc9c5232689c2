"""The routing table: eight nodes a bucket, each id once, and the closest are the closest."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lanjami.dhtnode.endpoint import (
    Endpoint,
    Record,
    is_loopback,
    is_martian,
    may_be_told,
    pack_records,
    unpack_records,
)
from lanjami.dhtnode.nodes import GOOD_S, MOST_REFUSALS, SILENT_S, Node, Nodes
from lanjami.dhtnode.routing import (
    BOOTSTRAP_DEPTH,
    BUCKET,
    CLOSE_PER_ADDRESS,
    PER_ADDRESS,
    RoutingTable,
)
from tests.support.dht_values import at, sha1

OWN = bytes(20)
ids = st.binary(min_size=20, max_size=20).filter(any) | st.integers(1, 300).map(
    lambda number: number.to_bytes(20)  # close to our own
)


def _node(node_id: bytes, endpoint: Endpoint, *, good_at: float | None = 0.0) -> Node:
    node = Node(node_id, endpoint)
    if good_at is not None:
        node.replied(good_at)
    return node


def _table(nodes: list[Node]) -> RoutingTable:
    table = RoutingTable(OWN)
    for node in nodes:
        table.insert(node, replied=True, heard=True, now=0.0)
    return table


class Table(RuleBasedStateMachine):
    """Nodes come, go silent, expire and move."""

    def __init__(self) -> None:
        super().__init__()
        self.table = RoutingTable(OWN)
        self.now = 0.0
        self.nodes: list[Node] = []

    @rule(node_id=ids, host=st.integers(1, 40), good=st.booleans())
    def a_node_comes(self, node_id: bytes, host: int, *, good: bool) -> None:
        node = _node(node_id, at(host), good_at=self.now if good else None)
        self.nodes.append(node)
        ping = self.table.insert(node, replied=good, heard=True, now=self.now)
        assert ping is None or not ping.is_good(self.now)

    @rule(data=st.data())
    def a_node_expires(self, data: st.DataObject) -> None:
        if self.nodes:
            data.draw(st.sampled_from(self.nodes)).is_expired = True

    @rule(seconds=st.sampled_from([1.0, SILENT_S / 2, GOOD_S]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def the_expired_go(self) -> None:
        self.table.expire()
        assert not any(node.is_expired for node in self.table.nodes())

    @rule(key=ids, count=st.sampled_from([8, 14]))
    def the_closest_are_the_closest(self, key: bytes, count: int) -> None:
        closest = self.table.closest(key, count=count, now=self.now)
        number = int.from_bytes(key)
        good = [node for node in self.table.nodes() if node.is_good(self.now)]
        good.sort(key=lambda node: node.number ^ number)
        assert closest == sorted(closest, key=good.index)
        assert len(closest) == min(count, len(good))
        by_address = Counter(node.endpoint.ip for node in good[:count])
        if max(by_address.values(), default=0) <= CLOSE_PER_ADDRESS:
            assert closest == good[:count]

    @invariant()
    def every_bucket_is_in_order(self) -> None:
        nodes = self.table.nodes()
        assert len(self.table) == len(nodes)
        assert len({node.number for node in nodes}) == len(nodes), "each id once"
        assert OWN not in {node.node_id for node in nodes}
        for bucket in self.table.buckets:
            assert len(bucket.nodes) <= BUCKET
            for node in bucket.nodes:
                assert node.number >> 160 - bucket.depth == bucket.first >> 160 - bucket.depth
        by_address = Counter(node.endpoint.ip for node in nodes)
        assert max(by_address.values(), default=0) <= PER_ADDRESS


TestTable = Table.TestCase


@given(st.lists(ids, max_size=200, unique=True), ids)
def test_the_closest_of_good_nodes_everywhere_are_found(known: list[bytes], target: bytes) -> None:
    nodes = [_node(node_id, at(host)) for host, node_id in enumerate(known, start=1)]
    table = _table(nodes)
    number = int.from_bytes(target)
    closest = sorted(table.nodes(), key=lambda node: node.number ^ number)[:BUCKET]
    assert table.closest(target, now=1.0) == closest


def test_a_bootstrap_node_knows_more_than_its_own_neighbours() -> None:
    dice = random.Random(1)
    table = _table([_node(dice.randbytes(20), at(host)) for host in range(1, 2000)])
    assert len(table.buckets) > 1 << BOOTSTRAP_DEPTH
    assert len(table) > BUCKET * (1 << BOOTSTRAP_DEPTH) * 0.9


def test_a_full_bucket_asks_the_dubious_and_remembers_the_newcomer() -> None:
    far = [bytes([255, number]) + bytes(18) for number in range(60)]
    nodes = [_node(node_id, at(host)) for host, node_id in enumerate(far, start=1)]
    table = _table([_node(bytes([1]) + bytes(19), at(999)), *nodes[:20]])
    for node in table.nodes():
        node.heard_at = -SILENT_S  # dubious
    newcomer = _node(far[50], at(500), good_at=1.0)
    ping = table.insert(newcomer, replied=True, heard=True, now=1.0)
    assert ping in table.nodes()
    assert newcomer not in table.nodes()
    assert ping is not None
    ping.is_expired = True
    assert newcomer in table.expire(), "it is to be pinged for the free place"
    table.insert(newcomer, replied=True, heard=True, now=1.0)
    assert newcomer in table.nodes()


def test_one_address_has_few_places() -> None:
    dice = random.Random(1)
    crowd = [_node(dice.randbytes(20), at(1, port)) for port in range(1, 1001)]
    table = _table(crowd)
    assert len(table) == PER_ADDRESS
    honest = _node(dice.randbytes(20), at(2))
    table.insert(honest, replied=True, heard=True, now=0.0)
    assert honest in table.nodes()


def test_few_of_the_closest_are_of_one_address() -> None:
    key = sha1("key")
    crowd = [_node(key[:-1] + bytes([number]), at(1, 1 + number)) for number in range(40)]
    dice = random.Random(1)
    others = [_node(dice.randbytes(20), at(host)) for host in range(2, 30)]
    closest = _table(others + crowd).closest(key, now=1.0)
    assert len(closest) == BUCKET
    assert sum(node in crowd for node in closest) == CLOSE_PER_ADDRESS
    assert len(_table(crowd).closest(key, now=1.0)) == BUCKET, "better than none"


def test_a_random_id_is_in_its_bucket() -> None:
    dice = random.Random(1)
    table = _table([_node(dice.randbytes(20), at(host)) for host in range(1, 500)])
    for bucket in table.buckets:
        drawn = int.from_bytes(table.random_id(bucket, dice))
        assert drawn >> 160 - bucket.depth == bucket.first >> 160 - bucket.depth


def test_where_a_bucket_is_empty_somebody_of_any_other_is_asked() -> None:
    dice = random.Random(1)
    table = RoutingTable(OWN)
    assert table.neighbour(table.own_bucket(), dice) is None
    for first in (1, 3, 9, 250):
        for host in range(1, 12):
            node = _node(bytes([first, host]) + bytes(18), at(host, first))
            table.insert(node, replied=True, heard=True, now=0.0)
    empty = next(bucket for bucket in table.buckets if not bucket.nodes)
    asked = {table.neighbour(empty, dice) for _ in range(500)}
    assert {node.node_id[0] for node in asked if node} == {1, 3, 9, 250}
    assert None not in asked


def test_for_nodes_of_a_bucket_mostly_one_of_its_own_is_asked() -> None:
    dice = random.Random(1)
    table = _table([_node(dice.randbytes(20), at(host)) for host in range(1, 500)])
    for bucket in table.buckets:
        asked = [table.neighbour(bucket, dice) for _ in range(100)]
        assert 50 < sum(node in bucket.nodes for node in asked) < 100


# --- nodes and endpoints ------------------------------------------------------------------------


def test_a_node_is_good_while_it_replies_and_is_heard() -> None:
    node = Node(sha1("x"), at(1))
    assert not node.is_good(0.0)
    node.heard(0.0)
    assert not node.is_good(0.0)
    node.replied(0.0)
    assert node.is_good(SILENT_S)
    assert not node.is_good(SILENT_S + 1)
    node.heard(GOOD_S)
    assert node.is_good(GOOD_S)
    node.heard(GOOD_S + 1)
    assert not node.is_good(GOOD_S + 1)


def test_a_node_that_refuses_its_own_tokens_is_given_up() -> None:
    node = Node(sha1("x"), at(1))
    for _ in range(MOST_REFUSALS):
        node.refused()
        assert not node.is_expired
    node.refused()
    assert node.is_expired


def test_nobody_takes_the_place_of_a_good_node() -> None:
    nodes = Nodes()
    alice = nodes.speaking(sha1("alice"), at(1), now=0.0)
    assert nodes.speaking(sha1("alice"), at(1), now=0.0) is alice
    alice.replied(0.0)
    thief = nodes.speaking(sha1("alice"), at(2), now=1.0)
    assert thief is not alice
    assert nodes.find(sha1("alice"), version=4) is alice
    assert nodes.told_of(Record(sha1("alice"), at(3))) is alice
    alice.is_expired = True
    moved = nodes.speaking(sha1("alice"), at(2), now=2.0)
    assert nodes.find(sha1("alice"), version=4) is moved
    moved.is_expired = True
    told = nodes.told_of(Record(sha1("alice"), at(3)))
    assert told.endpoint == at(3)


def test_nodes_that_nobody_needs_are_forgotten() -> None:
    nodes = Nodes()
    for number in range(100):
        nodes.speaking(sha1(str(number)), at(1), now=0.0)
    assert len(nodes) == 0


@pytest.mark.parametrize(
    ("ip", "port", "martian"),
    [
        ("0a000001", 1, False),
        ("0a000001", 0, True),
        ("00000001", 1, True),
        ("e0000001", 1, True),
        ("ffffffff", 1, True),
        ("fd" + "00" * 15, 1, False),
        ("ff" + "00" * 15, 1, True),
        ("00" * 16, 1, True),
        ("00" * 10 + "ffff" + "0a000001", 1, True),
    ],
)
def test_where_no_node_can_be(ip: str, port: int, *, martian: bool) -> None:
    assert is_martian(Endpoint(bytes.fromhex(ip), port)) is martian


def test_records_are_whole_or_none() -> None:
    four = [Record(sha1("x"), at(1)), Record(sha1("y"), at(2))]
    assert unpack_records(pack_records(four), version=4) == four
    six = [Record(sha1("x"), Endpoint(bytes(15) + b"\1", 5))]
    assert unpack_records(pack_records(six), version=6) == six
    assert unpack_records(b"x", version=4) is None
    assert unpack_records(b"", version=6) == []
    assert is_loopback(six[0].endpoint.ip)
    assert is_loopback(b"\x7f\0\0\1")
    assert not is_loopback(at(1).ip)
    assert str(at(1).address) == "10.0.0.1"


@pytest.mark.parametrize(
    ("node", "asker", "told"),
    [
        (at(1), at(2), True),
        (at(1), Endpoint(b"\xfd" + bytes(15), 1), True),
        (Endpoint(b"\x7f\0\0\1", 1), at(2), True),  # the asker puts our address in its place
        (Endpoint(b"\x7f\0\0\1", 1), Endpoint(b"\xfd" + bytes(15), 1), False),
        (Endpoint(bytes(15) + b"\1", 1), at(2), False),
        (Endpoint(b"\xfe\x80" + bytes(14), 1, 3), at(2), False),
        (Endpoint(b"\xfe\x80" + bytes(14), 1, 3), Endpoint(b"\xfe\x80" + bytes(14), 2, 3), True),
        (Endpoint(b"\xfe\x80" + bytes(14), 1, 3), Endpoint(b"\xfe\x80" + bytes(14), 2, 4), False),
    ],
)
def test_nobody_is_told_of_an_address_that_is_another_for_them(
    node: Endpoint, asker: Endpoint, *, told: bool
) -> None:
    assert may_be_told(node, asker) is told
