"""A network of DHT nodes in memory and in virtual time, which loses, delays and repeats."""

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from lanjami.dhtnode.core import DhtCore
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.events import Came, Done, Event, Went
from lanjami.dhtnode.requests import Datagram
from lanjami.dhtnode.value import Value
from tests.support.dht_values import at

UNIX_TIME = 1_700_000_000.0


class Machine:
    """A node, and what it was told by its operations."""

    def __init__(self, core: DhtCore, endpoint: Endpoint) -> None:
        self.core = core
        self.endpoint = endpoint
        self.wakes_at = float("inf")
        self.is_up = True
        self.events: list[Event] = []
        self._done: dict[int, bool] = {}
        self._values: defaultdict[int, dict[int, Value]] = defaultdict(dict)

    def done(self, operation: int) -> bool | None:
        """Whether an operation succeeded; None while it goes on."""
        return self._done.get(operation)

    def values(self, operation: int) -> dict[int, Value]:
        """The values that an operation has come to, without those that went."""
        return dict(self._values[operation])

    def take_events(self) -> None:
        """Learn what became of the node's operations."""
        for event in self.core.take_events():
            self.events.append(event)
            match event:
                case Done(number, ok):
                    self._done[number] = ok
                case Came(number, values):
                    self._values[number] |= {value.id: value for value in values}
                case Went(number, values):
                    for value in values:
                        self._values[number].pop(value.id, None)


class Simulation:
    """Every datagram takes 1 to 3 ms; with `disorder`, up to 30 ms, and some come twice."""

    def __init__(
        self,
        seed: int = 1,
        *,
        loss: float = 0.0,
        disorder: bool = False,
        version: int = 4,
    ) -> None:
        self.version = version
        self.dice = random.Random(seed)
        self.now = 0.0
        self.machines: dict[Endpoint, Machine] = {}
        self.delivered: Counter[Endpoint] = Counter()
        self.cut_off: set[Endpoint] = set()  # what they send and are sent is lost
        self._loss = loss
        self._disorder = disorder
        self._queue: list[tuple[float, int, Endpoint, Datagram | None]] = []
        self._count = 0

    def endpoint(self, number: int, port: int = 4222) -> Endpoint:
        """An address of the building, and a port there; in IPv6 all are in one /64."""
        if self.version == 4:
            return at(number, port)
        return Endpoint(b"\xfd" + bytes(7) + number.to_bytes(8), port)

    def is_connected(self, machine: Machine) -> bool:
        """Whether a node knows a good one."""
        return any(node.is_good(self.now) for node in machine.core.tables[self.version].nodes())

    def add(
        self,
        *,
        entry: Machine | None = None,
        endpoint: Endpoint | None = None,
        node_id: bytes = b"",
        state: bytes = b"",
        make: type[DhtCore] = DhtCore,
    ) -> Machine:
        """A new node that joins at `entry`, and recalls the `state` of a former one."""
        endpoint = endpoint or self.endpoint(len(self.machines) + 1)
        core = make(
            node_id or self.dice.randbytes(20),
            is_local=lambda endpoint: True,
            dice=self.dice,
            now=self.now,
            unix_time=UNIX_TIME + self.now,
            versions=(self.version,),
        )
        machine = self.machines[endpoint] = Machine(core, endpoint)
        if state:
            core.recall(state, now=self.now, unix_time=UNIX_TIME + self.now)
        if entry is not None:
            self.send(machine, core.join([entry.endpoint], now=self.now))
        self._note(machine)
        return machine

    def leave(self, machine: Machine) -> bytes:
        """A node goes without a word; returns what it remembers."""
        machine.is_up = False
        return machine.core.state(now=self.now, unix_time=UNIX_TIME + self.now)

    def act(self, machine: Machine, operation: Callable[[DhtCore], int]) -> int:
        """Have a node begin something; returns its number."""
        number = operation(machine.core)
        self.send(machine, machine.core.on_timer(now=self.now))
        self._note(machine)
        return number

    def send(self, machine: Machine, datagrams: Iterable[Datagram]) -> None:
        for datagram in datagrams:
            if self.dice.random() < self._loss or self.cut_off & {machine.endpoint, datagram.to}:
                continue
            self._post(machine.endpoint, datagram)
            if self._disorder and self.dice.random() < 0.05:
                self._post(machine.endpoint, datagram)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Let time pass; whether `until` became true."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, endpoint, datagram = heapq.heappop(self._queue)
            if datagram is None:
                self._wake(self.machines[endpoint], self.now)
            else:
                self._deliver(endpoint, datagram)
            if until():
                return True
        self.now = end
        return until()

    def _post(self, source: Endpoint, datagram: Datagram) -> None:
        delay_s = 0.001 + 0.002 * self.dice.random()
        if self._disorder:
            delay_s += 0.027 * self.dice.random()
        self._push(self.now + delay_s, source, datagram)

    def _push(self, when: float, endpoint: Endpoint, datagram: Datagram | None) -> None:
        self._count += 1
        heapq.heappush(self._queue, (when, self._count, endpoint, datagram))

    def _deliver(self, source: Endpoint, datagram: Datagram) -> None:
        machine = self.machines.get(datagram.to)
        if machine is None or not machine.is_up:
            return
        self.delivered[datagram.to] += 1
        self.send(machine, machine.core.on_datagram(datagram.data, source, now=self.now))
        self._note(machine)

    def _wake(self, machine: Machine, when: float) -> None:
        if when != machine.wakes_at:  # it was to be woken earlier since, and was
            return
        machine.wakes_at = float("inf")
        if machine.is_up:
            self.send(machine, machine.core.on_timer(now=self.now))
            self._note(machine)

    def _note(self, machine: Machine) -> None:
        machine.take_events()
        wake_at = max(machine.core.wake_at, self.now)
        if wake_at < machine.wakes_at:
            machine.wakes_at = wake_at
            self._push(wake_at, machine.endpoint, None)
