"""The DHT node in Python by itself, without sockets."""

import time
from typing import Any

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import packing
from lanjami.dhtnode import value as values
from tests.bench.table import Row, Samples
from tests.support.dht_building import AT_ONCE, START_S, Building, without_collector
from tests.support.dht_simulation import Simulation
from tests.support.dht_values import at, sha1

CLIENTS = 2000
ROUNDS = 1000
QUERIES = 20_000
REPEATS = 3

HOW = f"""\
The node's core is handed datagrams in one process: {QUERIES:,} queries of each kind, when it knows
500 others and keeps 1,000 values, {REPEATS} times. And a building in virtual time: {CLIENTS:,}
clients, nodes of ours, start within a second and know the box alone; then {ROUNDS:,} values are put
by one of them, got by another and listened for by a third, {AT_ONCE} at a time."""


async def measure() -> list[Row]:
    """The time of each kind of query, and how a building fares."""
    rounds = [queries_per_s() for _ in range(REPEATS)]
    rows = [
        Row(f"A {kind} answered", Samples([1e6 / one[kind] for one in rounds], "µs", 0))
        for kind in rounds[0]
    ]
    return rows + building(CLIENTS)


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


def building(clients: int) -> list[Row]:
    started_at = time.perf_counter()
    with without_collector():
        measured = Building(clients)
        joined = measured.connected()
        datagrams = measured.simulation.delivered[measured.box.endpoint]
        measured.simulation.run(30)
        met = measured.meet(ROUNDS)
    results = {
        f"Of {clients:,} clients, joined": (joined, "", 0),
        "… since the last one's start": (measured.joined_at - START_S, "s", 2),
        "Datagrams that the box took for it": (datagrams, "", 0),
        f"Of {met.rounds:,} values, got": (met.got, "", 0),
        f"Of {met.rounds:,} values, heard by a listener": (met.heard, "", 0),
        "This machine's time for it all": (time.perf_counter() - started_at, "s", 0),
    }
    return [
        Row(what, Samples([value], unit, digits)) for what, (value, unit, digits) in results.items()
    ]
