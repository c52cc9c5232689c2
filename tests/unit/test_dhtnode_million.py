"""A million datagrams that are wrong, most of them only just, and the node goes on.

More than half have a token that the node gave, so that they reach what it keeps.
"""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import packing, storage, wire
from lanjami.dhtnode import value as values
from lanjami.dhtnode.core import DhtCore
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.requests import Datagram
from tests.support.dht_fuzz import Fuzz, Source, mutated, waits_for_more
from tests.support.dht_values import at, sha1

DATAGRAMS = 1_000_000
SOURCES = 250
BETWEEN_S = 0.0008  # five a second from each source, and in all more time than most values live
MOST_MB = 100  # that all this may leave in memory; measured: 33
KEY = sha1("ours")
HONEST = at(999)


class _Node:
    """A node in virtual time, that has something to do for itself as well."""

    def __init__(self) -> None:
        self.now = 1.0
        self.dice = random.Random(1)
        self.core = DhtCore(
            sha1("box"),
            is_local=lambda endpoint: True,
            dice=self.dice,
            now=0.0,
            unix_time=1_700_000_000.0,
        )
        self.core.put(KEY, values.make(1, b"x"), permanent=True, now=self.now)
        self.core.listen(KEY, now=self.now)

    def counted(self) -> int:
        return sum(self.core.dropped.values()) + sum(self.core.asked.values())

    def take(self, data: bytes, source: Endpoint) -> list[Datagram]:
        return self.core.on_datagram(data, source, now=self.now)

    def ask(self, message: m.Message, source: Endpoint) -> Any:
        """What the node answers."""
        outgoing = self.take(packing.pack(message)[0], source)
        (answer,) = [
            said
            for said in (wire.parse(one.data) for one in outgoing if one.to == source)
            if isinstance(said, m.Reply)
        ]
        return answer


@pytest.mark.timeout(900)  # a minute, where nothing else runs
def test_a_million_datagrams_are_answered_or_counted_and_the_node_goes_on() -> None:
    node = _Node()
    dice = node.dice
    sources = [
        Source(id, node.ask(m.Get(node_id=id, transaction=1, key=KEY), at(number)).token)
        for number, id in enumerate([sha1(str(one)) for one in range(SOURCES)], start=1)
    ]
    fuzz = Fuzz(dice, sources, own_id=node.core.own_id)
    before_mb = _memory_mb()
    silent: Counter[str] = Counter()
    for number in range(DATAGRAMS):
        node.now += BETWEEN_S
        which, data = fuzz.datagram()
        source = at(which + 1)
        counted = node.counted()
        outgoing = node.take(data, source)
        if node.counted() == counted:
            silent["a part" if waits_for_more(data) else repr(wire.parse(data))] += 1
        if number % 20 == 0:
            outgoing += node.core.on_timer(now=node.now)
        for asked in [one for one in outgoing if dice.random() < 0.1]:
            _answer(node, asked)
    assert set(silent) == {"a part"}, "all else is answered or counted"
    assert fuzz.built > DATAGRAMS / 2
    assert min(node.core.asked[kind] for kind in ("put", "listen", "refresh", "update")) > 10_000
    assert node.core.answers.storage.cost > storage.TOTAL_BYTES / 4, "they reached what it keeps"
    assert node.core.answers.storage.cost <= storage.TOTAL_BYTES
    assert len(node.core.answers.listeners) > 1000
    assert _memory_mb() - before_mb < MOST_MB
    _an_honest_client_is_served(node)


def _answer(node: _Node, asked: Datagram) -> None:
    """An answer that fits what the node asks, spoilt."""
    said = wire.parse(asked.data)
    if isinstance(said, m.Asked):
        reply: m.Message = m.Reply(
            transaction=said.transaction,
            node_id=sha1(str(node.dice.randrange(SOURCES))),
            token=b"t" * 32,
            values=(values.make(node.dice.getrandbits(64) or 1, b"told"),),
        )
        node.take(
            mutated(node.dice, packing.pack(reply)[0], times=node.dice.randrange(3)), asked.to
        )


def _an_honest_client_is_served(node: _Node) -> None:
    who: dict[str, Any] = {"node_id": sha1("honest"), "is_client": True}
    key, value = sha1("where honest people meet"), values.make(7, b"hello")
    token = node.ask(m.Get(transaction=1, key=key, **who), HONEST).token
    put = m.Put(transaction=2, key=key, token=token, values=(value,), **who)
    assert node.ask(put, HONEST).value_id == 7
    assert node.ask(m.Get(transaction=3, key=key, **who), HONEST).values == (value,)


def _memory_mb() -> float:
    """What this process has in memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError
