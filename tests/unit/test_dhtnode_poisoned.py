"""One source crowds around a key with a thousand ids, answers as it should, and keeps nothing."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import packing, wire
from lanjami.dhtnode import value as values
from lanjami.dhtnode.core import DhtCore
from lanjami.dhtnode.endpoint import Endpoint, Record
from lanjami.dhtnode.requests import Datagram
from tests.support.dht_simulation import Machine, Simulation
from tests.support.dht_values import sha1

NODES = 30
IDS = 1000
KEY = sha1("presence")
AT_ONCE = 100  # ids that show up, then time passes: so many newcomers are asked in a second
TOLD = 8


class _Liar(DhtCore):
    """Names others of its crowd, and says of everything that it keeps it."""

    def __init__(self, own_id: bytes, **given: Any) -> None:
        super().__init__(own_id, **given)
        self.crowd: list[Record] = []

    @property
    def wake_at(self) -> float:
        return float("inf")

    def on_timer(self, *, now: float) -> list[Datagram]:
        return []

    def on_datagram(self, data: bytes, source: Endpoint, *, now: float) -> list[Datagram]:
        said = wire.parse(data)
        if not isinstance(said, m.Asked):
            return []
        reply = m.Reply(
            transaction=said.transaction,
            node_id=self.own_id,
            nodes=tuple(self._named()) if isinstance(said, m.Find | m.Get) else (),
            token=b"t" * 32,
            value_id=next((value.id for value in _values(said)), 0),
        )
        return [Datagram(one, source) for one in packing.pack(reply)]

    def _named(self) -> Iterator[Record]:
        first = int.from_bytes(self.own_id[-2:])
        for number in range(TOLD):
            yield self.crowd[(first + number) % len(self.crowd)]


def _values(said: m.Asked) -> tuple[values.Value, ...]:
    return said.values if isinstance(said, m.Put) else ()


def _poison(simulation: Simulation, endpoints: Iterator[Endpoint]) -> None:
    """A thousand ids that are closer to the key than anybody's; each says hello to everybody."""
    honest = list(simulation.machines)
    liars = [
        simulation.add(endpoint=next(endpoints), node_id=KEY[:-2] + number.to_bytes(2), make=_Liar)
        for number in range(IDS)
    ]
    crowd = [Record(one.core.own_id, one.endpoint) for one in liars]
    for number, liar in enumerate(liars):
        assert isinstance(liar.core, _Liar)
        liar.core.crowd = crowd
        hello = packing.pack(m.Ping(transaction=1, node_id=liar.core.own_id))[0]
        simulation.send(liar, [Datagram(hello, to) for to in honest])
        if number % AT_ONCE == 0:
            simulation.run(1)
    simulation.run(10)


def _building(version: int) -> tuple[Simulation, list[Machine]]:
    simulation = Simulation(7, version=version)
    box = simulation.add()
    machines = [box, *(simulation.add(entry=box) for _ in range(NODES - 1))]
    assert simulation.run(20, lambda: all(map(simulation.is_connected, machines)))
    simulation.run(5)
    return simulation, machines


def _knows(machine: Machine, simulation: Simulation) -> int:
    """How many of the crowd a node would name."""
    table = machine.core.tables[simulation.version]
    return sum(node.node_id.startswith(KEY[:-2]) for node in table.nodes())


@pytest.mark.parametrize("version", [4, 6])
def test_a_thousand_ids_of_one_address_do_not_keep_people_apart(version: int) -> None:
    simulation, machines = _building(version)
    _poison(simulation, (simulation.endpoint(5000, port) for port in count(1000)))
    assert max(_knows(one, simulation) for one in machines) > 0, "they are believed to be nodes"
    _people_meet(simulation, machines)


def _people_meet(simulation: Simulation, machines: list[Machine]) -> None:
    """Who listens hears what comes, who gets finds it, and a newcomer does so, too."""
    alice, bob, carol = machines[3:6]
    heard = simulation.act(bob, lambda core: core.listen(KEY, now=simulation.now))
    simulation.run(5)
    value = values.make(1, b"here")
    put = simulation.act(alice, lambda core: core.put(KEY, value, now=simulation.now))
    assert simulation.run(20, lambda: bool(bob.values(heard)))
    assert simulation.run(20, lambda: bool(alice.done(put)))
    newcomer = simulation.add(entry=machines[0])
    assert simulation.run(20, lambda: simulation.is_connected(newcomer))
    for reader in (carol, newcomer):
        got = simulation.act(reader, lambda core: core.get(KEY, now=simulation.now))
        assert simulation.run(20, lambda: reader.done(got) is not None)  # noqa: B023
        assert reader.values(got) == bob.values(heard) == {1: value}
