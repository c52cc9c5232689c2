"""Fifty nodes in memory, on a network that loses, delays, reorders and repeats."""

from itertools import count

import pytest

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import value as values
from lanjami.dhtnode.answers import Answers, Change
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.events import Came, Done
from lanjami.dhtnode.listeners import Listener
from tests.support.dht_simulation import Machine, Simulation
from tests.support.dht_values import at, encrypted, sha1, signed

NODES = 50
SIZES = [10, 600, 3000, 60_000]


def _joined(
    nodes: int = NODES, *, loss: float = 0.0, disorder: bool = False
) -> tuple[Simulation, list[Machine]]:
    simulation = Simulation(7, loss=loss, disorder=disorder)
    box = simulation.add()
    machines = [box, *(simulation.add(entry=box) for _ in range(nodes - 1))]
    assert simulation.run(20, lambda: all(map(simulation.is_connected, machines)))
    simulation.run(5)
    return simulation, machines


@pytest.mark.parametrize(("loss", "disorder"), [(0.0, False), (0.1, True)])
def test_every_put_is_found_and_every_listener_hears(loss: float, *, disorder: bool) -> None:
    simulation, machines = _joined(loss=loss, disorder=disorder)
    for number in range(40):
        key = sha1(f"key {number}")
        value = values.make(number + 1, bytes(SIZES[number % len(SIZES)]))
        writer, reader, listener = simulation.dice.sample(machines, 3)
        now = simulation.now
        heard = simulation.act(listener, lambda core: core.listen(key, now=now))  # noqa: B023
        simulation.run(2)
        now = simulation.now
        put = simulation.act(writer, lambda core: core.put(key, value, now=now))  # noqa: B023
        assert simulation.run(15, lambda: writer.done(put) is not None)  # noqa: B023
        assert writer.done(put)
        now = simulation.now
        got = simulation.act(reader, lambda core: core.get(key, now=now))  # noqa: B023
        assert simulation.run(15, lambda: reader.done(got) is not None)  # noqa: B023
        assert reader.values(got) == {value.id: value}
        assert simulation.run(10, lambda: value.id in listener.values(heard))  # noqa: B023


def test_nobody_is_found_where_nobody_is() -> None:
    simulation = Simulation()
    alone = simulation.add()
    value = values.make(1, b"x")
    put = simulation.act(alone, lambda core: core.put(sha1("key"), value, now=0.0))
    assert alone.done(put) is False, "nobody else has it"
    got = simulation.act(alone, lambda core: core.get(sha1("key"), now=0.0))
    assert alone.values(got) == {1: value}, "but we have"
    assert alone.done(got) is False


def test_a_put_that_another_one_replaces_is_told_so() -> None:
    simulation, (_, alice, bob, *_) = _joined(8)
    key, first, second = sha1("key"), signed("alice", seq=1), signed("alice", seq=2)
    now = simulation.now
    former = alice.core.put(key, first, now=now)
    latter = simulation.act(alice, lambda core: core.put(key, second, now=now))
    assert simulation.run(10, lambda: alice.done(latter) is not None)
    assert alice.done(former) is False
    assert alice.done(latter)
    got = simulation.act(bob, lambda core: core.get(key, now=simulation.now))
    simulation.run(5)
    assert bob.values(got) == {1: second}


def test_who_came_while_nobody_asked_is_found_when_somebody_does() -> None:
    """The only node that a former search knew is gone, and another one came."""
    simulation = Simulation()
    box = simulation.add()
    alice = simulation.add(entry=box)
    simulation.run(2)
    key = sha1("key")
    heard = simulation.act(box, lambda core: core.listen(key, now=simulation.now))
    simulation.run(1)
    box.core.cancel(heard, now=simulation.now)
    alice.is_up = False
    bob = simulation.add(entry=box)
    simulation.run(1)
    value = values.make(1, b"x")
    put = simulation.act(box, lambda core: core.put(key, value, now=simulation.now))
    assert simulation.run(2, lambda: box.done(put) is not None), "it waits for nobody who is late"
    assert box.done(put)
    assert bob.core.answers.storage.at(key) == [value]


def test_an_edit_reaches_who_listens_and_who_gets() -> None:
    simulation, (box, alice, bob, *_) = _joined(8)
    key = sha1("profile")
    heard = simulation.act(bob, lambda core: core.listen(key, now=simulation.now))
    for seq in range(3):
        value = signed("alice", 5, seq=seq, data=b"version %d" % seq)
        put = simulation.act(
            alice,
            lambda core: core.put(key, value, now=simulation.now),  # noqa: B023
        )
        assert simulation.run(5, lambda: alice.done(put) is not None)  # noqa: B023
        simulation.run(1)
        assert bob.values(heard) == {5: value}
    forged = signed("eve", 5, seq=9)
    simulation.act(box, lambda core: core.put(key, forged, now=simulation.now))
    simulation.run(5)
    got = simulation.act(bob, lambda core: core.get(key, now=simulation.now))
    simulation.run(5)
    assert bob.values(got) == bob.values(heard) == {5: value}


def test_a_strangers_value_with_the_same_id_hides_nobodys() -> None:
    simulation, (_, alice, bob, *_) = _joined(8)
    key = sha1("certificate")
    true, false = signed("alice", 5, seq=1), signed("eve", 5, seq=9)
    now = simulation.now
    bob.core.answers.storage.put(key, false, source=bytes(4), created_at=now, now=now)
    simulation.act(alice, lambda core: core.put(key, true, now=simulation.now))
    simulation.run(5)
    got = simulation.act(bob, lambda core: core.get(key, now=simulation.now))
    simulation.run(5)
    came = [event for event in bob.events if isinstance(event, Came) and event.operation == got]
    told = {value for event in came for value in event.values}
    assert told == {true, false}


def test_a_value_goes_when_its_time_is_over() -> None:
    simulation, (_, alice, bob, *_) = _joined(8)
    key = sha1("key")
    heard = simulation.act(bob, lambda core: core.listen(key, now=simulation.now))
    value = values.make(5, b"ice", type=5)  # a minute
    simulation.act(alice, lambda core: core.put(key, value, now=simulation.now))
    simulation.run(50)
    assert bob.values(heard) == {5: value}
    simulation.run(30)
    assert bob.values(heard) == {}
    got = simulation.act(bob, lambda core: core.get(key, now=simulation.now))
    simulation.run(5)
    assert bob.values(got) == {}


def test_a_permanent_value_stays_until_it_is_cancelled() -> None:
    simulation, (_, alice, bob, carol, *_) = _joined(8)
    key, value = sha1("key"), encrypted(5)
    heard = simulation.act(bob, lambda core: core.listen(key, now=simulation.now))
    put = simulation.act(
        alice, lambda core: core.put(key, value, permanent=True, now=simulation.now)
    )
    for _ in range(4):
        simulation.run(600)
        got = simulation.act(carol, lambda core: core.get(key, now=simulation.now))
        simulation.run(5)
        assert carol.values(got) == {5: value}
        assert bob.values(heard) == {5: value}
    alice.core.cancel(put, now=simulation.now)
    simulation.run(800)
    got = simulation.act(carol, lambda core: core.get(key, now=simulation.now))
    simulation.run(5)
    assert carol.values(got) == bob.values(heard) == {}


class _Refusing(Answers):
    """Refuses what it is asked to do, for reasons of its own."""

    def put(
        self, asked: m.Put, source: Endpoint, *, now: float
    ) -> tuple[list[m.Reply | m.Error], list[Change]]:
        return [self._error(asked, m.INCOMPLETE, "no")], []

    def listen(
        self, asked: m.Listen, source: Endpoint, *, now: float
    ) -> tuple[m.Reply | m.Error, Listener | None]:
        return self._error(asked, m.INCOMPLETE, "no"), None


def test_a_node_that_refuses_costs_nobody_the_others() -> None:
    simulation, (box, bad, *others) = _joined(7)
    bad.core.answers.__class__ = _Refusing
    key, value = sha1("key"), values.make(5, b"here")
    kept = simulation.act(
        box, lambda core: core.put(key, value, permanent=True, now=simulation.now)
    )
    plain = simulation.act(box, lambda core: core.put(sha1("other"), value, now=simulation.now))
    heard = simulation.act(box, lambda core: core.listen(key, now=simulation.now))
    delivered = simulation.delivered[bad.endpoint]
    simulation.run(20)
    assert box.done(kept)
    assert box.done(plain)
    assert box.values(heard) == {5: value}
    assert simulation.delivered[bad.endpoint] - delivered < 50, "it is not asked without end"
    simulation.run(2000)
    assert all(one.core.answers.storage.at(key) for one in others)


def test_a_put_that_everybody_refuses_fails() -> None:
    simulation, (box, *others) = _joined(4)
    for machine in others:
        machine.core.answers.__class__ = _Refusing
    value = values.make(5, b"here")
    put = simulation.act(box, lambda core: core.put(sha1("key"), value, now=simulation.now))
    simulation.run(5)
    assert box.done(put) is False


def test_a_thousand_phones_at_once_are_all_served() -> None:
    """After a restart, and only two others are known: more queries than may be on their way."""
    simulation, (box, *_) = _joined(3)
    keys = [sha1(f"phone {number}") for number in range(1500)]
    for key in keys:
        box.core.listen(key, now=simulation.now)
    gets = [box.core.get(key, now=simulation.now) for key in keys]
    simulation.send(box, box.core.on_timer(now=simulation.now))
    simulation.act(box, lambda core: 0)
    simulation.run(30)
    assert {
        event.operation for event in box.events if event == Done(event.operation, ok=True)
    } == set(gets)
    for machine in simulation.machines.values():
        assert machine is box or len(machine.core.answers.listeners) == len(keys)


@pytest.mark.parametrize("others", [0, 1, 3])
@pytest.mark.parametrize("by_the_listener", [True, False])
def test_what_is_kept_never_goes_for_who_listens(others: int, *, by_the_listener: bool) -> None:
    """Whoever keeps it, and where only our own storage has it."""
    simulation = Simulation()
    box = simulation.add()
    machines = [box, *(simulation.add(entry=box) for _ in range(others))]
    simulation.run(20)
    key, value = sha1("key"), encrypted(5)
    keeper = box if by_the_listener else machines[-1]
    simulation.act(keeper, lambda core: core.put(key, value, permanent=True, now=simulation.now))
    heard = {
        machine.endpoint: simulation.act(machine, lambda core: core.listen(key, now=simulation.now))
        for machine in machines
    }
    simulation.run(2500)
    for machine in machines:
        told = [
            type(event) for event in machine.events if event.operation == heard[machine.endpoint]
        ]
        assert told == [Came]


def test_everybody_who_puts_one_value_at_once_hears_that_it_is_there() -> None:
    simulation, (_, alice, *_) = _joined(8)
    key, value = sha1("key"), encrypted(5)
    puts = [
        simulation.act(alice, lambda core: core.put(key, value, now=simulation.now))
        for _ in range(16)
    ]
    simulation.run(5)
    assert [alice.done(put) for put in puts] == [True] * 16


def test_what_somebody_keeps_is_kept_whatever_others_do_with_it() -> None:
    """The same value, put once more and by a second who keeps it for a while."""
    simulation, (_, alice, _, carol, *_) = _joined(8)
    key, value = sha1("key"), encrypted(5)

    def put(id: int, *, permanent: bool) -> int:
        return simulation.act(
            alice,
            lambda core: core.put(key, encrypted(id), permanent=permanent, now=simulation.now),
        )

    def found() -> dict[int, values.Value]:
        simulation.run(1500)
        got = simulation.act(carol, lambda core: core.get(key, now=simulation.now))
        simulation.run(5)
        return carol.values(got)

    first, other = put(5, permanent=True), put(6, permanent=True)
    put(5, permanent=False)
    second = put(5, permanent=True)
    assert found() == {5: value, 6: encrypted(6)}
    alice.core.cancel(first, now=simulation.now)
    assert found() == {5: value, 6: encrypted(6)}
    alice.core.cancel(second, now=simulation.now)
    assert found() == {6: encrypted(6)}, "though the other one is kept at the same key"
    alice.core.cancel(other, now=simulation.now)
    assert found() == {}


def test_nobody_takes_the_place_of_what_somebody_keeps() -> None:
    simulation, (box, _, bob, *_) = _joined(6)
    key = sha1("key")
    kept, rubbish = values.make(5, b"phone A is here"), values.make(5, b"rubbish")

    def put(value: values.Value, *, permanent: bool) -> int:
        return simulation.act(
            box, lambda core: core.put(key, value, permanent=permanent, now=simulation.now)
        )

    first = put(kept, permanent=True)
    simulation.run(5)
    assert [box.done(put(rubbish, permanent=how)) for how in (True, False)] == [False, False]
    again = put(kept, permanent=False)
    simulation.run(1500)
    got = simulation.act(bob, lambda core: core.get(key, now=simulation.now))
    simulation.run(5)
    assert box.done(again)
    assert bob.values(got) == {5: kept}
    box.core.cancel(first, now=simulation.now)
    simulation.run(700)
    last = put(rubbish, permanent=False)
    simulation.run(5)
    assert box.done(last), "the id is free again"


def test_a_value_is_handed_on_to_nodes_that_come_closer() -> None:
    """It lives for a week, and who put it is gone: it must not go with the node that kept it."""
    simulation = Simulation()
    box = simulation.add()
    alice = simulation.add(entry=box)
    simulation.run(5)
    key, value = sha1("request"), values.make(1, b"trust", type=4)
    simulation.act(alice, lambda core: core.put(key, value, now=simulation.now))
    simulation.run(5)
    alice.is_up = False
    others = [simulation.add(entry=box) for _ in range(40)]
    simulation.run(1300)
    box.is_up = False
    simulation.run(60)
    reader = others[-1]
    got = simulation.act(reader, lambda core: core.get(key, now=simulation.now))
    simulation.run(20)
    assert reader.values(got) == {1: value}
    keepers = [one for one in others if one.core.answers.storage.at(key)]
    assert 8 <= len(keepers) < 20, "at the closest, not everywhere"
    left_s = keepers[0].core.answers.storage.left_s(key, 1, now=simulation.now)
    assert left_s < 7 * 24 * 3600 - 1000, "it does not live longer by that"


def test_all_that_has_to_be_handed_on_is_in_turn() -> None:
    """A thousand values that live for a week, and then others come that are closer."""
    simulation = Simulation()
    box = simulation.add()
    simulation.run(2)
    for number in range(1000):
        box.core.answers.storage.put(
            sha1(f"request {number}"),
            values.make(1, b"trust", type=4),
            source=at(9).ip,
            created_at=0.0,
            now=simulation.now,
        )
    others = [simulation.add(entry=box) for _ in range(20)]
    simulation.run(1300)
    kept = {key for one in others for key, _ in one.core.answers.storage}
    ours = {key for key, _ in box.core.answers.leaving(now=simulation.now)}
    assert len(kept) > 500, "about 13 of 21 values are closer to eight others"
    assert not ours - kept


def test_a_newcomer_is_asked_only_where_it_is_closer_than_others() -> None:
    simulation, (box, *_) = _joined(40)
    for number in range(400):
        box.core.listen(sha1(f"phone {number}"), now=simulation.now)
    simulation.act(box, lambda core: 0)
    simulation.run(5)
    newcomer = simulation.add(entry=box)
    before = simulation.delivered[newcomer.endpoint]
    simulation.run(2)
    asked = newcomer.core.asked["get"] + newcomer.core.asked["find"]
    assert simulation.delivered[newcomer.endpoint] - before > 20
    assert asked < 400 / 3, "eight of forty are closest to a key, and few others name it"


def test_a_listener_hears_when_the_nodes_it_listened_at_are_gone() -> None:
    simulation, machines = _joined(20)
    alice, bob = machines[1:3]
    key = sha1("key")
    heard = simulation.act(bob, lambda core: core.listen(key, now=simulation.now))
    simulation.run(5)
    number = int.from_bytes(key)
    closest = sorted(machines, key=lambda one: int.from_bytes(one.core.own_id) ^ number)
    for machine in [one for one in closest if one not in (alice, bob)][:6]:
        machine.is_up = False
    simulation.run(60)
    value = values.make(1, b"after")
    put = simulation.act(alice, lambda core: core.put(key, value, now=simulation.now))
    assert simulation.run(15, lambda: bool(alice.done(put)))
    assert simulation.run(15, lambda: bob.values(heard) == {1: value})


def _far_away(simulation: Simulation, machine: Machine) -> tuple[bytes, Machine]:
    """A key of which `machine` is no keeper, and the node farthest from it."""
    for number in count():
        key = sha1(f"key {number}")
        at_key = int.from_bytes(key)
        machines = sorted(
            simulation.machines.values(),
            key=lambda one: int.from_bytes(one.core.own_id) ^ at_key,
        )
        if machines.index(machine) > len(machines) / 2:
            return key, machines[-1]
    raise AssertionError


def test_who_listens_again_hears_what_is_there_and_came_meanwhile() -> None:
    simulation, (box, *_) = _joined(40)
    key, sender = _far_away(simulation, box)

    def put(id: int) -> None:
        value = values.make(id, b"x")
        simulation.act(sender, lambda core: core.put(key, value, now=simulation.now))
        simulation.run(3)

    def listen() -> int:
        return simulation.act(box, lambda core: core.listen(key, now=simulation.now))

    put(1)
    first = listen()
    simulation.run(3)
    assert set(box.values(first)) == {1}
    box.core.cancel(first, now=simulation.now)
    put(2)
    second = listen()
    simulation.run(3)
    assert set(box.values(second)) == {1, 2}
    put(3)
    assert set(box.values(second)) == {1, 2, 3}


@pytest.mark.parametrize("cut_s", [3.0, 8.0, 26.0])
def test_who_was_cut_off_hears_what_came_meanwhile_and_what_comes_after(cut_s: float) -> None:
    simulation, (box, *_) = _joined(40)
    key, sender = _far_away(simulation, box)
    heard = simulation.act(box, lambda core: core.listen(key, now=simulation.now))
    simulation.run(5)
    for id in range(1, 7):
        simulation.cut_off = {box.endpoint}
        simulation.run(cut_s)
        value = values.make(id, b"x")
        simulation.act(sender, lambda core: core.put(key, value, now=simulation.now))  # noqa: B023
        simulation.run(0.6)
        simulation.cut_off = set()
        assert simulation.run(45, lambda: id in box.values(heard))  # noqa: B023
        simulation.run(10)


def test_a_cancelled_listen_is_silent() -> None:
    simulation, (_, alice, bob, *_) = _joined(8)
    key = sha1("key")
    heard = simulation.act(bob, lambda core: core.listen(key, now=simulation.now))
    simulation.run(5)
    bob.core.cancel(heard, now=simulation.now)
    simulation.act(alice, lambda core: core.put(key, values.make(1, b""), now=simulation.now))
    simulation.run(10)
    assert bob.values(heard) == {}


def test_a_node_that_came_back_elsewhere_is_found_again() -> None:
    simulation, machines = _joined(8)
    box, alice = machines[:2]
    alice.is_up = False
    moved = simulation.add(entry=box, endpoint=at(999), node_id=alice.core.own_id)
    simulation.run(30)
    node = box.core.tables[4].closest(alice.core.own_id, now=simulation.now)[0]
    assert (node.node_id, node.endpoint) == (alice.core.own_id, moved.endpoint)
