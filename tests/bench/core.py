"""The DHT node in Python by itself: `python -m tests.bench.core`.

Queries a second on one core, without sockets; and a building of 2,000 clients in virtual time,
all of them nodes of ours that start within a second and know the box alone. Prints what it
measured.
"""

import sys
import time
from typing import Any

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import packing
from lanjami.dhtnode import value as values
from tests.support.dht_simulation import Machine, Simulation
from tests.support.dht_values import at, sha1

CLIENTS = 2000
ROUNDS = 100
QUERIES = 20_000


def queries_per_s() -> dict[str, float]:
    """Of each kind, to a node that knows 500 others and keeps 1,000 values."""
    simulation = Simulation()
    box = simulation.add()
    for _ in range(500):
        simulation.add(entry=box)
    simulation.run(10)
    core = box.core
    who: dict[str, Any] = {"node_id": sha1("asker"), "is_client": True}
    now = simulation.now
    asked = packing.pack(m.Get(transaction=1, key=sha1("0"), **who))[0]
    core.on_datagram(asked, at(9000), now=now)
    token = core.answers.tokens.make(at(9000))
    for number in range(1000):
        put = m.Put(
            transaction=1,
            key=sha1(str(number)),
            token=token,
            values=(values.make(1, bytes(200)),),
            **who,
        )
        core.on_datagram(packing.pack(put)[0], at(9000), now=now)
        now += 0.01
    kinds: dict[str, m.Message] = {
        "ping": m.Ping(transaction=1, **who),
        "find": m.Find(transaction=1, target=sha1("x"), **who),
        "get": m.Get(transaction=1, key=sha1("5"), **who),
        "put": put,
    }
    measured = {}
    for name, message in kinds.items():
        datagram = packing.pack(message)[0]
        started_at = time.perf_counter()
        for _ in range(QUERIES):
            now += 1 / 1000  # below the limit of one source
            core.on_datagram(datagram, at(9000), now=now)
        measured[name] = QUERIES / (time.perf_counter() - started_at)
    return measured


def building(clients: int) -> None:
    started_at = time.perf_counter()
    simulation = Simulation(5)
    box = simulation.add()
    machines = [box]
    for number in range(clients):
        simulation.run(1.0 / clients)
        machines.append(simulation.add(entry=box, endpoint=at(number + 2)))

    def connected() -> int:
        now = simulation.now
        return sum(any(n.is_good(now) for n in one.core.tables[4].nodes()) for one in machines)

    while connected() < len(machines) and simulation.now < 30:
        simulation.run(0.05)
    _say(
        f"{connected() - 1} of {clients} clients joined within {simulation.now - 1:.2f} s of the "
        f"last one's start; the box took {simulation.delivered[box.endpoint]} datagrams, "
        f"knows {len(box.core.tables[4])} nodes"
    )
    simulation.run(30)
    found = heard = 0
    for number in range(ROUNDS):
        writer, reader, listener = simulation.dice.sample(machines, 3)
        ok, told = _round(simulation, number, writer, reader, listener)
        found += ok
        heard += told
    _say(
        f"of {ROUNDS} values put, {found} were got and {heard} heard by a listener; "
        f"{time.perf_counter() - started_at:.0f} s of this machine's time"
    )


def _round(
    simulation: Simulation, number: int, writer: Machine, reader: Machine, listener: Machine
) -> tuple[bool, bool]:
    key, value, now = sha1(f"key {number}"), values.make(1, b"x" * 100), simulation.now
    heard = simulation.act(listener, lambda core: core.listen(key, now=now))
    simulation.run(0.2)
    later = simulation.now
    put = simulation.act(writer, lambda core: core.put(key, value, now=later))
    simulation.run(10, lambda: writer.done(put) is not None)
    at_last = simulation.now
    got = simulation.act(reader, lambda core: core.get(key, now=at_last))
    simulation.run(10, lambda: reader.done(got) is not None)
    simulation.run(5, lambda: bool(listener.values(heard)))
    listener.core.cancel(heard, now=simulation.now)
    return bool(reader.values(got)), bool(listener.values(heard))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for name, per_s in queries_per_s().items():
        _say(f"{name}: {per_s:,.0f} a second, {1e6 / per_s:.0f} µs each")
    building(int(sys.argv[1]) if len(sys.argv) > 1 else CLIENTS)
