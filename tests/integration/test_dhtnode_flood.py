"""Our DHT node, through its sockets, beside sources that send it too much and nothing right."""

import asyncio
import itertools
import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from lanjami.dhtnode import admission, packing, wire
from lanjami.dhtnode import messages as m
from lanjami.dhtnode import value as values
from lanjami.dhtnode.core import DhtCore
from lanjami.dhtnode.udp import Sockets
from lanjami.runtime import net
from tests.support.dht_fuzz import Fuzz, Source, waits_for_more
from tests.support.dht_values import sha1
from tests.support.ports import free_port

WRONG = 200_000
SOURCES = 100
AT_ONCE = 100  # datagrams that wait in a socket that has room for a thousand
HONEST = 8  # each of whom asks little enough to be served while others use up the total
ROUNDS = 500  # at most
REFUSED = 2000  # of what the flood sends, so that it is beyond its limit for a while
PATIENCE_S = 10.0


class _Node:
    """A node on a port of this machine; who awaits an answer lets it work."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.port = free_port(socket.SOCK_DGRAM)
        self.core = DhtCore(
            sha1("box"),
            is_local=lambda endpoint: True,
            dice=random.Random(1),
            now=self.loop.time(),
            unix_time=1_700_000_000.0,
            versions=(4,),
        )
        self.sockets = Sockets(
            self.core, loop=self.loop, port=self.port, routed=False, answered=lambda: None
        )

    @property
    def counted(self) -> int:
        return sum(self.core.dropped.values()) + sum(self.core.asked.values())

    def on_timer(self) -> None:
        self.sockets.send(self.core.on_timer(now=self.loop.time()))


class _Peer:
    """Somebody at an address of loopback."""

    def __init__(self, node: _Node, ip: str, name: str, *, is_client: bool = True) -> None:
        self._node = node
        self._numbers = itertools.count(1)
        self._is_client = is_client
        self.id = sha1(name)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind((ip, 0))
        self.sock.connect(("127.0.0.1", node.port))

    def packed(self, query: type[m.Asked], **said: Any) -> bytes:
        return packing.pack(
            query(
                transaction=next(self._numbers),
                node_id=self.id,
                is_client=self._is_client,
                **said,
            )
        )[0]

    async def ask(self, query: type[m.Asked], **said: Any) -> m.Reply:
        """The answer to a query, which is sent once; what the node asks meanwhile is answered."""
        self.sock.send(self.packed(query, **said))
        async with asyncio.timeout(PATIENCE_S):
            while not isinstance(heard := await self.heard(), m.Reply):
                self.answer(heard)
        return heard

    async def heard(self) -> m.Message:
        data = await self._node.loop.sock_recv(self.sock, net.LARGEST_DATAGRAM)
        return wire.parse(data)

    def answer(self, asked: m.Message) -> None:
        assert isinstance(asked, m.Asked)
        reply = m.Reply(transaction=asked.transaction, node_id=self.id)
        self.sock.send(packing.pack(reply)[0])


@contextmanager
def _opened(node: _Node, *peers: _Peer) -> Iterator[None]:
    with node.sockets, ExitStack() as opened:
        for peer in peers:
            opened.enter_context(peer.sock)
        yield


@pytest.mark.timeout(900)  # half a minute, where nothing else runs
async def test_what_is_wrong_is_answered_or_counted_and_costs_nobody_the_node() -> None:
    """A million of them go to the core alone, in a unit test."""
    node, dice = _Node(), random.Random(2)
    wrong = [
        _Peer(node, f"127.0.1.{number}", f"wrong {number}") for number in range(1, SOURCES + 1)
    ]
    honest = [
        _Peer(node, f"127.0.2.{number}", f"honest {number}") for number in range(1, HONEST + 1)
    ]
    with _opened(node, *wrong, *honest):
        sources = [Source(peer.id, (await peer.ask(m.Get, key=sha1("x"))).token) for peer in wrong]
        fuzz = Fuzz(dice, sources, own_id=node.core.own_id)
        counted, silent, pings = node.counted, 0, 0  # silent: what waits for more
        for one in itertools.islice(itertools.cycle(honest), WRONG // AT_ONCE):
            for _ in range(AT_ONCE):
                number, data = fuzz.datagram()
                wrong[number].sock.send(data)
                silent += waits_for_more(data)
            await one.ask(m.Ping)  # it comes when all those before it have been taken
            pings += 1
            node.on_timer()
        assert node.counted - counted >= WRONG + pings - silent
        assert node.core.dropped["our fault"] == 0
        assert min(node.core.asked[kind] for kind in ("put", "listen", "refresh")) > 1000
        await _meet(honest)


async def _meet(peers: Sequence[_Peer]) -> None:
    """One puts a value and another one gets it."""
    key, value = sha1("where honest people meet"), values.make(7, b"hello")
    alice, bob = peers[:2]
    token = (await alice.ask(m.Get, key=key)).token
    assert (await alice.ask(m.Put, key=key, token=token, values=(value,))).value_id == 7
    assert (await bob.ask(m.Get, key=key)).values == (value,)


async def test_a_newcomer_loses_nothing_to_a_source_that_is_at_its_limit() -> None:
    """Whoever sends as much as it can: another address joins, and is asked by nobody to wait."""
    node = _Node()
    flood = _Peer(node, "127.0.0.1", "flood")
    newcomer = _Peer(node, "127.0.0.2", "newcomer", is_client=False)
    with _opened(node, flood, newcomer):
        key, value = sha1("key"), values.make(1, b"x" * 200)
        token = (await flood.ask(m.Get, key=key)).token
        for number in range(1, ROUNDS + 1):
            if node.core.dropped["source limit"] > REFUSED:
                break
            for _ in range(AT_ONCE // 4):
                flood.sock.send(flood.packed(m.Ping))
                flood.sock.send(flood.packed(m.Find, target=key))
                flood.sock.send(flood.packed(m.Get, key=key))
                flood.sock.send(flood.packed(m.Put, key=key, token=token, values=(value,)))
            put = {"key": newcomer.id, "values": (values.make(number, b"here"),)}
            found = await newcomer.ask(m.Find, target=newcomer.id)
            assert (await newcomer.ask(m.Put, token=found.token, **put)).value_id == number
            node.on_timer()
        assert node.core.dropped["source limit"] > REFUSED
        assert set(node.core.dropped) == {"source limit"}, "which all of the newcomer's are below"
        assert node.core.asked["ping"] > admission.SOURCE_PER_S / 10, "the flood has its share"
        (known,) = node.core.tables[4].nodes()
        assert known.node_id == newcomer.id
        assert known.is_good(node.loop.time()), "others are told of it"
