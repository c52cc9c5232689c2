"""What is kept, for how long, of whom, and what gives way."""

import hashlib
import ssl
from typing import Any

import msgpack
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lanjami.dhtnode import policy
from lanjami.dhtnode import value as values
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.hearing import (
    KEY_BYTES,
    MOST_VALUES,
    OURSELVES,
    TOTAL_BYTES,
    Hearing,
    Memory,
    make_room,
)
from lanjami.dhtnode.listeners import (
    LIFE_S,
    PER_KEY,
    PER_KEY_AND_SOURCE,
    PER_SOURCE,
    Listener,
    Listeners,
)
from lanjami.dhtnode.query import EVERYTHING, Field, Filter, Query
from lanjami.dhtnode.storage import Outcome, Storage
from lanjami.dhtnode.value import Value
from tests.support.dht_values import at, by_id, encrypted, public, sha1, signed

KEY = sha1("key")
ALICE, BOB = at(1).ip, at(2).ip


def _put(
    storage: Storage, value: Value, *, now: float = 0.0, source: bytes = ALICE, **more: Any
) -> Outcome:
    created_at = more.pop("created_at", now)
    return storage.put(KEY, value, source=source, created_at=created_at, now=now, **more)


def test_a_value_is_kept_for_the_life_of_its_type() -> None:
    for type, life_s in ((0, 600), (1, 300), (3, 300), (4, 604800), (5, 60), (9, 604800)):
        storage = Storage()
        value = values.make(1, b"x", type=type)
        assert _put(storage, value) is Outcome.NEW
        assert storage.left_s(KEY, 1, now=0.0) == life_s
        assert storage.expire(now=life_s - 1) == []
        assert storage.expire(now=life_s) == [(KEY, value)]
        assert len(storage) == storage.cost == 0
    assert policy.life_s(77) == 600


def test_a_value_made_long_ago_is_kept_for_what_is_left() -> None:
    storage = Storage()
    assert _put(storage, values.make(1, b"x"), now=700.0, created_at=200.0) is Outcome.NEW
    assert storage.left_s(KEY, 1, now=700.0) == 100.0
    assert _put(storage, values.make(2, b"x"), now=700.0, created_at=100.0) is Outcome.REFUSED
    assert _put(storage, values.make(3, b"x"), now=700.0, created_at=9e9) is Outcome.NEW
    assert _put(storage, values.make(4, b"x"), now=700.0, expires_at=750.0) is Outcome.NEW
    assert storage.left_s(KEY, 4, now=700.0) == 50.0
    assert storage.left_s(KEY, 2, now=700.0) == 0.0


def test_the_same_again_is_another_life() -> None:
    storage = Storage()
    value = values.make(1, b"x")
    _put(storage, value)
    assert _put(storage, value, now=500.0) is Outcome.REFRESHED
    assert storage.expire(now=700.0) == []
    assert storage.refresh(KEY, 1, now=900.0)
    assert storage.expire(now=1400.0) == []
    assert not storage.refresh(KEY, 2, now=900.0)
    assert _put(storage, value, now=1000.0, created_at=450.0) is Outcome.REFRESHED, "no longer"
    assert not storage.refresh(sha1("other"), 1, now=900.0)
    assert storage.expire(now=1500.0) == [(KEY, value)]


def test_what_is_not_signed_is_not_changed() -> None:
    storage = Storage()
    _put(storage, values.make(1, b"x"))
    for other in (values.make(1, b"y"), encrypted(1), signed("alice", 1)):
        assert _put(storage, other) is Outcome.REFUSED
    storage = Storage()
    _put(storage, encrypted(1))
    assert _put(storage, encrypted(1, b"other")) is Outcome.REFUSED


def test_what_is_signed_is_changed_by_its_owner_with_a_higher_number() -> None:
    storage = Storage()
    _put(storage, signed("alice", seq=3))
    for refused in (
        signed("alice", seq=2, data=b"older"),
        signed("alice", seq=3, data=b"another of the same number"),
        signed("eve", seq=9),
        values.make(1, b"not signed"),
        encrypted(1),
    ):
        assert _put(storage, refused) is Outcome.REFUSED
    forged = msgpack.unpackb(signed("alice", seq=4).packed)
    forged["dat"]["sig"] = b"forged"
    assert _put(storage, values.parse(msgpack.packb(forged))) is Outcome.REFUSED
    newer = signed("alice", seq=4, data=b"newer")
    assert _put(storage, newer) is Outcome.CHANGED
    assert storage.at(KEY) == [newer]
    assert len(storage) == 1


def test_what_is_too_large_is_refused() -> None:
    assert policy.admit(KEY, encrypted(data=bytes(values.LARGEST + 1)), at(1)) is None
    largest = encrypted(data=bytes(values.LARGEST))
    assert policy.admit(KEY, largest, at(1)) is largest


def test_a_forged_value_is_not_admitted() -> None:
    content = msgpack.unpackb(signed("alice").packed)
    content["dat"]["body"]["data"] = b"forged"
    assert policy.admit(KEY, values.parse(msgpack.packb(content)), at(1)) is None
    for genuine in (signed("alice"), values.make(1, b"x"), encrypted()):
        assert policy.admit(KEY, genuine, at(1)) is genuine


def _certificate(person: str, id: int = 1, *, chain: bytes = b"") -> Value:
    """As much of a certificate as a node looks at."""

    def der(tag: int, *parts: bytes) -> bytes:
        body = b"".join(parts)
        size = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2)
        return bytes([tag]) + size + body

    number, sequence = der(2, b"\1"), der(0x30)
    to_be_signed = der(
        0x30, der(0xA0, number), number, *[sequence] * 4, public(person), b"and more"
    )
    return values.make(id, der(0x30, to_be_signed, sequence) + chain, type=policy.CERTIFICATE)


def test_a_certificate_is_kept_at_the_ids_of_its_key_only() -> None:
    key = public("alice")
    short, long = hashlib.sha1(key).digest(), hashlib.sha1(hashlib.sha256(key).digest()).digest()
    certificate = _certificate("alice", chain=b"another certificate")
    assert policy.admit(short, certificate, at(1)) is certificate
    assert policy.admit(long, certificate, at(1)) is certificate
    assert policy.admit(KEY, certificate, at(1)) is None
    assert policy.may_replace(certificate, _certificate("alice"))
    assert not policy.may_replace(certificate, _certificate("eve"))


def test_a_certificate_is_found_where_jami_writes_it() -> None:
    """As a byte string of MessagePack, in PEM, the authority's behind its own."""
    inside = values.content(_certificate("alice"))
    assert not isinstance(inside, bytes)
    one = ssl.DER_cert_to_PEM_cert(inside.body.data).encode()
    pem = one * 2
    key = hashlib.sha1(public("alice")).digest()
    for data in (pem, msgpack.packb(pem)):
        certificate = values.make(1, data, type=policy.CERTIFICATE)
        assert policy.admit(key, certificate, at(1)) is certificate
        assert policy.admit(KEY, certificate, at(1)) is None
    for broken in (one[:-60], one.replace(b"MII", b"%%%"), one[:40] + one[-60:]):
        assert policy.admit(key, values.make(1, broken, type=policy.CERTIFICATE), at(1)) is None


def test_what_is_no_certificate_is_kept_nowhere() -> None:
    whole = _certificate("alice")
    inside = values.content(whole)
    assert not isinstance(inside, bytes)
    data = inside.body.data
    for broken in [data[:length] for length in range(0, len(data), 7)] + [b"\x30\x80", b"\xff" * 9]:
        value = values.make(1, broken, type=policy.CERTIFICATE)
        if len(broken) < len(data) - 20:
            assert policy.admit(hashlib.sha1(public("alice")).digest(), value, at(1)) is None


def test_a_service_is_announced_at_the_address_of_whoever_announces_it() -> None:
    sockaddr = b"\2\0" + (4000).to_bytes(2) + bytes([1, 2, 3, 4]) + bytes(8)
    packed = msgpack.packb(sockaddr)
    announced = values.make(5, packed, type=policy.IP_SERVICE)
    kept = policy.admit(KEY, announced, at(7))
    assert kept is not None
    inside = values.content(kept)
    assert not isinstance(inside, bytes)
    assert inside.body.data == msgpack.packb(sockaddr[:4] + at(7).ip + bytes(8))
    six = policy.admit(KEY, announced, Endpoint(bytes(15) + b"\1", 9))
    assert six is not None
    assert six.size == 2 + 28
    no_port = values.make(5, msgpack.packb(bytes(16)), type=policy.IP_SERVICE)
    for broken in (values.make(5, b"x", type=policy.IP_SERVICE), no_port):
        assert policy.admit(KEY, broken, at(7)) is None


def test_who_keeps_most_gives_way_first() -> None:
    storage = Storage(total_bytes=100_000)
    modest = [values.make(id, bytes(100)) for id in range(1, 11)]
    for value in modest:
        _put(storage, value, source=BOB)
    for id in range(100, 200):
        _put(storage, values.make(id, bytes(1000)), now=float(id), source=ALICE)
        gone = storage.expire(now=float(id))
        assert all(value.id >= 100 for _, value in gone)
        assert storage.cost <= 100_000
    assert {value.id for value in modest} <= {value.id for value in storage.at(KEY)}
    assert storage.find(KEY, 199) is not None, "the newest stays"
    assert storage.find(KEY, 100) is None, "the oldest went"


def test_what_is_kept_up_goes_last_and_every_client_has_an_account() -> None:
    """A client puts for a week until nothing fits: it loses that, and others lose nothing."""
    storage = Storage(total_bytes=100_000)
    for client in (b"alice", b"mallory"):
        for id in range(1, 4):
            key = sha1(f"{client!r} {id}")
            storage.put(
                key, values.make(id, b"here"), source=client, created_at=0.0, now=0.0, is_kept=True
            )
    for id in range(1, 500):
        week = values.make(id, bytes(1000), type=4)
        storage.put(KEY, week, source=b"mallory", created_at=0.0, now=0.0)
        if storage.is_full:
            assert {key for key, _ in storage.expire(now=1.0)} == {KEY}
    assert storage.cost <= 100_000


def test_what_is_refreshed_for_ever_costs_no_memory() -> None:
    storage = Storage()
    value = values.make(1, b"x")
    for now in range(5000):
        _put(storage, value, now=float(now))
    assert len(storage._expiry) < 2000  # noqa: SLF001


def test_one_value_of_many_is_found_by_its_id_without_looking_at_the_others() -> None:
    storage = Storage()
    for id in range(1, 1001):
        _put(storage, values.make(id, b"x", type=id % 2))
    both = Query((), (Filter(Field.ID, 6), Filter(Field.TYPE, 0)))
    assert [value.id for value in storage.at(KEY, both)] == [6]
    assert storage.looked_at(KEY, both) == 1
    assert storage.looked_at(KEY, by_id(2000)) == 0
    assert storage.looked_at(KEY, Query((), (Filter(Field.TYPE, 0),))) == 1000
    assert storage.looked_at(sha1("other"), EVERYTHING) == 0


def test_values_are_asked_for_by_query() -> None:
    storage = Storage()
    for id in (1, 2):
        _put(storage, values.make(id, b"x"))
    assert [value.id for value in storage.at(KEY, by_id(2))] == [2]
    assert len(storage.at(KEY, EVERYTHING)) == 2
    assert storage.at(sha1("other")) == []
    assert [(key, stored.value.id) for key, stored in storage] == [(KEY, 1), (KEY, 2)]


class Kept(RuleBasedStateMachine):
    """Whatever is put, refreshed and removed: the sums are right, and nothing is kept too long."""

    def __init__(self) -> None:
        super().__init__()
        self.storage = Storage(total_bytes=20_000)
        self.now = 0.0

    @rule(
        key=st.integers(1, 3),
        id=st.integers(1, 5),
        size=st.integers(0, 3000),
        source=st.integers(1, 3),
        type=st.sampled_from([0, 4, 5]),
    )
    def put(self, key: int, id: int, size: int, source: int, type: int) -> None:
        self.storage.put(
            sha1(str(key)),
            values.make(id, bytes(size), type=type),
            source=at(source).ip,
            created_at=self.now,
            now=self.now,
        )

    @rule(key=st.integers(1, 3), id=st.integers(1, 5))
    def refresh(self, key: int, id: int) -> None:
        there = self.storage.find(sha1(str(key)), id) is not None
        assert self.storage.refresh(sha1(str(key)), id, now=self.now) is there

    @rule(seconds=st.sampled_from([1.0, 61.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        before = {(key, stored.value.id): stored for key, stored in self.storage}
        gone = {(key, value.id) for key, value in self.storage.expire(now=self.now)}
        after = {(key, stored.value.id) for key, stored in self.storage}
        assert gone == set(before) - after
        over = {at for at, stored in before.items() if stored.expires_at <= self.now}
        assert over <= gone
        assert self.storage.cost <= 20_000

    @invariant()
    def the_sums_are_right(self) -> None:
        stored = [stored for _, stored in self.storage]
        assert len(self.storage) == len(stored)
        assert self.storage.cost == sum(one.cost for one in stored)


TestKept = Kept.TestCase


def test_what_came_and_changed_since_a_moment_is_told_in_that_order() -> None:
    storage = Storage()
    for id in (1, 2, 3):
        storage.put(KEY, signed("alice", id, seq=1), source=b"", created_at=0.0, now=0.0)
    first, *_ = storage.since(KEY, 0)
    assert [one.value.id for one in storage.since(KEY, first.moment)] == [2, 3]
    storage.put(KEY, signed("alice", 1, seq=2), source=b"", created_at=0.0, now=0.0)
    storage.refresh(KEY, 2, now=1.0)
    assert [one.value.id for one in storage.since(KEY, 0)] == [2, 3, 1]
    assert storage.since(KEY, storage.since(KEY, 0)[-1].moment) == []
    assert storage.since(sha1("other"), 0) == []


# --- listeners, remote and our own --------------------------------------------------------------


def _listener(host: int, key: bytes = KEY, *, socket: int = 1, now: float = 0.0) -> Listener:
    return Listener(key, sha1(f"node {host}"), at(host), socket, EVERYTHING, now)


def test_a_listener_is_told_until_it_stops_asking() -> None:
    listeners = Listeners()
    first, second = _listener(1), _listener(2)
    assert listeners.add(first) is first
    assert listeners.add(_listener(1, now=100.0)) is first, "it lives on"
    assert listeners.add(second) is second
    assert listeners.at(KEY, now=LIFE_S) == [first]
    listeners.expire(now=LIFE_S)
    assert len(listeners) == 1
    assert second not in listeners
    listeners.expire(now=LIFE_S + 100.0)
    assert len(listeners) == 0
    assert listeners.at(KEY, now=0.0) == []


def test_one_source_cannot_listen_to_everything() -> None:
    listeners = Listeners()
    added = [listeners.add(_listener(1, sha1(str(n)))) for n in range(PER_SOURCE + 1)]
    assert added[-2] is not None
    assert added[-1] is None
    assert listeners.add(_listener(2)) is not None


def test_one_key_has_so_many_listeners_and_few_of_one_source() -> None:
    listeners = Listeners()
    for host in range(PER_KEY // PER_KEY_AND_SOURCE):
        added = [
            listeners.add(_listener(host, socket=socket))
            for socket in range(PER_KEY_AND_SOURCE + 1)
        ]
        assert added[-2] is not None
        assert added[-1] is None
    assert len(listeners) == PER_KEY
    assert listeners.add(_listener(5000)) is None
    for listener in listeners.at(KEY, now=0.0):
        listeners.remove(listener)
    assert listeners.add(_listener(0, socket=9)) is not None


def test_what_several_tell_is_heard_once_and_gone_when_none_has_it() -> None:
    hearing = Hearing(Memory())
    value = values.make(1, b"x")
    assert hearing.came([value], b"a", now=0.0) == [value]
    assert hearing.came([value], b"b", now=0.0) == []
    assert hearing.went([1, 7], b"a") == []
    assert hearing.values() == [value]
    assert hearing.went([1], b"b") == [value]
    assert hearing.values() == []


def test_what_nobody_refreshes_is_not_heard_any_more() -> None:
    hearing = Hearing(Memory())
    value = values.make(1, b"x")
    hearing.came([value], b"a", now=0.0)
    hearing.refreshed([1, 2], now=300.0)
    assert hearing.expire(now=600.0) == []
    assert hearing.expire(now=900.0) == [value]


def test_of_too_many_values_those_heard_longest_ago_go() -> None:
    hearing = Hearing(Memory())
    honest, *rubbish = (values.make(id, b"", type=4) for id in range(1, MOST_VALUES + 3))
    hearing.came([honest, *rubbish[:-2]], b"a", now=0.0)
    assert hearing.trim() == []
    hearing.refreshed([honest.id], now=1.0)
    assert hearing.came(rubbish[-2:], b"b", now=2.0) == rubbish[-2:], "what is new is heard"
    assert hearing.trim() == rubbish[:2]
    assert honest in hearing.values()


def _large(first: int, *, count: int = 16) -> list[Value]:
    """So many values of 64 kB, a megabyte where nothing else is said."""
    return [values.make(id, bytes(65_000), type=4) for id in range(first, first + count)]


def test_of_too_many_bytes_those_heard_longest_ago_go() -> None:
    memory = Memory()
    hearing = Hearing(memory)
    honest = values.make(2**60, b"x", type=4)
    gone: list[Value] = []
    for megabyte in range(20):
        hearing.came(_large(1 + 16 * megabyte), b"liar", address=ALICE, now=0.0)
        hearing.came([honest], b"honest", address=BOB, now=0.0)
        gone += hearing.trim()
        assert memory.cost <= KEY_BYTES
    assert memory.cost > KEY_BYTES - 70_000
    assert gone[:3] == _large(1, count=3)
    assert honest in hearing.values()
    hearing.clear()
    assert memory.cost == 0


def test_who_tells_of_most_gives_way_at_all_keys() -> None:
    memory = Memory()
    liars = {sha1(f"liar {n}"): Hearing(memory) for n in range(40)}
    honest = {sha1(f"honest {n}"): Hearing(memory) for n in range(40)}
    for hearing in honest.values():
        hearing.came(_large(1, count=2), b"honest", address=BOB, now=0.0)
    forgotten = 0
    for hearing in liars.values():
        hearing.came(_large(1), b"liar", address=ALICE, now=9.0)
        if memory.is_full:
            gone = make_room(memory, honest | liars)
            forgotten += len(gone)
            assert not honest.keys() & {key for key, _ in gone}
        assert memory.cost <= TOTAL_BYTES
    assert forgotten > 100
    there = [value for hearing in (honest | liars).values() for value in hearing.values()]
    assert memory.cost == sum(512 + len(value.packed) for value in there)


def test_what_several_addresses_tell_of_goes_last() -> None:
    memory = Memory()
    hearings = {sha1(f"key {n}"): Hearing(memory) for n in range(8)}
    shared, *mine = _large(1, count=80)
    for hearing in hearings.values():
        hearing.came([shared, *mine], b"liar", address=ALICE, now=0.0)
        hearing.came([shared], b"honest", address=BOB, now=0.0)
    make_room(memory, hearings)
    assert all(shared in hearing.values() for hearing in hearings.values())


def test_what_our_own_storage_has_is_counted_there_and_here_when_it_has_it_no_more() -> None:
    memory = Memory()
    hearing = Hearing(memory)
    value = values.make(1, bytes(1000))
    hearing.came([value], OURSELVES, now=0.0)
    hearing.came([value], b"other", address=ALICE, now=0.0)
    assert memory.cost == 0
    assert hearing.went([1], OURSELVES) == []
    assert memory.cost > 1000
    hearing.came([value], OURSELVES, now=0.0)
    assert memory.cost == 0
    hearing.went([1], OURSELVES)
    assert hearing.expire(now=600.0) == [value]
    assert memory.cost == 0


def test_only_what_its_owner_changed_is_news() -> None:
    hearing = Hearing(Memory())
    hearing.came([signed("alice", seq=1)], b"a", now=0.0)
    assert hearing.came([signed("alice", seq=0, data=b"old")], b"b", now=0.0) == []
    assert hearing.came([signed("eve", seq=5)], b"b", now=0.0) == []
    newer = signed("alice", seq=2, data=b"new")
    assert hearing.came([newer], b"b", now=0.0) == [newer]
    forged = msgpack.unpackb(signed("alice", 9).packed)
    forged["dat"]["sig"] = b"forged"
    assert hearing.came([values.parse(msgpack.packb(forged))], b"b", now=0.0) == []


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_time_alone_changes_nothing(seconds: float) -> None:
    assert Hearing(Memory()).expire(now=seconds) == []
    assert Storage().expire(now=seconds) == []
