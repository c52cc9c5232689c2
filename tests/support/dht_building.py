"""A building full of clients in virtual time: they start at once, and then meet."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lanjami.dhtnode import value as values
from tests.support.dht_simulation import Machine, Simulation
from tests.support.dht_values import at, sha1

START_S = 1.0  # within which all clients start
JOIN_WITHIN_S = 30.0
AT_ONCE = 50
LISTEN_S = 0.2  # from the listens to the puts
PATIENCE_S = 10.0
VALUE = values.make(1, b"x" * 100)


@dataclass(slots=True)
class Met:
    """Of so many rounds, in how many a value was put, was got, and was heard by a listener."""

    rounds: int = 0
    put: int = 0
    got: int = 0
    heard: int = 0


@dataclass(slots=True)
class _Round:
    key: bytes
    writer: Machine
    reader: Machine
    listener: Machine
    listen: int = 0
    put: int = 0
    get: int = 0


class Building:
    """`machines` are a box and its clients, all nodes of ours, which know the box alone."""

    def __init__(self, clients: int, *, seed: int = 5) -> None:
        self.simulation = Simulation(seed)
        self.box = self.simulation.add()
        self.machines = [self.box]
        for number in range(clients):
            self.simulation.run(START_S / clients)
            self.machines.append(self.simulation.add(entry=self.box, endpoint=at(number + 2)))
        while self.connected() < clients and self.simulation.now < JOIN_WITHIN_S:
            self.simulation.run(0.05)
        self.joined_at = self.simulation.now

    def connected(self) -> int:
        """How many clients know a good node."""
        return sum(
            self.simulation.is_connected(one) for one in self.machines if one is not self.box
        )

    def meet(self, rounds: int) -> Met:
        """In each round three clients meet: one listens at a key, one puts a value there and one
        gets it."""
        met = Met()
        for first in range(0, rounds, AT_ONCE):
            self._meet(range(first, min(first + AT_ONCE, rounds)), met)
        return met

    def _meet(self, numbers: range, met: Met) -> None:
        simulation = self.simulation
        together = []
        for number in numbers:
            writer, reader, listener = simulation.dice.sample(self.machines, 3)
            together.append(_Round(sha1(f"key {number}"), writer, reader, listener))
        for one in together:
            one.listen = simulation.act(
                one.listener,
                lambda core: core.listen(one.key, now=simulation.now),  # noqa: B023
            )
        simulation.run(LISTEN_S)
        for one in together:
            one.put = simulation.act(
                one.writer,
                lambda core: core.put(one.key, VALUE, now=simulation.now),  # noqa: B023
            )
        simulation.run(
            PATIENCE_S, lambda: all(one.writer.done(one.put) is not None for one in together)
        )
        for one in together:
            one.get = simulation.act(
                one.reader,
                lambda core: core.get(one.key, now=simulation.now),  # noqa: B023
            )
        simulation.run(
            PATIENCE_S, lambda: all(one.reader.done(one.get) is not None for one in together)
        )
        simulation.run(PATIENCE_S, lambda: all(one.listener.values(one.listen) for one in together))
        for one in together:
            met.rounds += 1
            met.put += bool(one.writer.done(one.put))
            met.got += one.reader.values(one.get) == {VALUE.id: VALUE}
            met.heard += one.listener.values(one.listen) == {VALUE.id: VALUE}
            one.listener.core.cancel(one.listen, now=simulation.now)


@contextmanager
def without_collector() -> Iterator[None]:
    """For thousands of nodes, all of which stay: looking for garbage takes half of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
