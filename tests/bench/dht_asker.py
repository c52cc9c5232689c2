"""Clients of a DHT node, to the datagram: `python -m tests.bench.dht_asker VERB HOST SOURCE ...`.

From all the SOURCEs, addresses of this host, they speak to the node at HOST, as clients that are
named to nobody. The output is one line of JSON.

load:    some thousand queries a second, a quarter of each kind; how many were asked and answered.
latency: milliseconds from a put of one client until another, who listens, hears of the value.
fill:    puts values until all are stored; how many that is.
newcome: the first SOURCE alone sends three times what one address is answered; meanwhile somebody
         new at the second one asks for nodes near it: milliseconds until it is answered.
"""

import hashlib
import itertools
import json
import secrets
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

import msgspec

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import packing, wire
from lanjami.dhtnode import value as values

PORT = 4222
PER_S = 4000  # half of what OpenDHT and we answer in all; from ten sources, half of each one's
LOAD_S = 5.0
PUTS = 300
VALUES = 10_000
VALUE = bytes(200)
ANSWER_WITHIN_S = 1.0
FLOOD_PER_S = 3000  # of one source: OpenDHT and we answer 1,024
NEWCOMERS = 50
BETWEEN_S = 0.1  # two newcomers
GIVEN_UP_S = 10.0
_RECEIVE_BUFFER = 1 << 22


class _Client:
    """One source, with a token for its puts."""

    def __init__(self, host: str, source: str) -> None:
        self._id = secrets.token_bytes(20)
        self._numbers = itertools.count(1)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self.sock.bind((source, 0))
        self.sock.connect((host, PORT))
        self.sock.settimeout(ANSWER_WITHIN_S)
        self._token = self.ask(m.Get(key=_key(0))).token

    def ask(self, query: m.Asked) -> m.Reply:
        self.sock.send(self.packed(query))
        while not isinstance(reply := self.heard(), m.Reply):
            pass
        return reply

    def packed(self, query: m.Asked) -> bytes:
        return self._packed(query, next(self._numbers))

    def heard(self) -> m.Message:
        return wire.parse(self.sock.recv(1 << 16))

    def is_told_of(self, value_id: int) -> bool:
        """Whether the next message tells that this value came; it is confirmed."""
        message = self.heard()
        if not isinstance(message, m.Update):
            return False
        self.sock.send(self._packed(m.Reply(), message.transaction))
        return any(value.id == value_id for value in message.values)

    def put(self, key: bytes, value: values.Value) -> m.Put:
        return m.Put(key=key, token=self._token, values=(value,))

    def listen(self, key: bytes) -> m.Listen:
        return m.Listen(key=key, token=self._token, socket=1)

    def _packed(self, message: m.Spoken, number: int) -> bytes:
        spoken = msgspec.structs.replace(
            message, node_id=self._id, is_client=True, transaction=number
        )
        (datagram,) = packing.pack(spoken)
        return datagram


def load(clients: Sequence[_Client]) -> dict[str, int]:
    value = values.make(1, VALUE)
    kinds: Sequence[Callable[[_Client, bytes], m.Asked]] = (
        lambda client, key: client.put(key, value),  # first, so that the gets find something
        lambda client, key: m.Get(key=key),
        lambda client, key: m.Find(target=key),
        lambda client, key: m.Ping(),
    )
    queries = [
        (client, client.packed(kind(client, _key(number))))
        for number in range(100)
        for kind in kinds
        for client in clients
    ]
    asked = int(PER_S * LOAD_S)
    answered = sum(_exchange(clients, itertools.islice(itertools.cycle(queries), asked)))
    return {"asked": asked, "answered": answered}


def latency(clients: Sequence[_Client]) -> list[float]:
    listener, putter = clients[:2]
    key = secrets.token_bytes(20)  # where nobody has put anything yet
    listener.ask(listener.listen(key))
    took = []
    for number in range(1, PUTS + 1):
        datagram = putter.packed(putter.put(key, values.make(number, VALUE)))
        started_at = time.perf_counter()
        putter.sock.send(datagram)
        while not listener.is_told_of(number):
            pass
        took.append(1000 * (time.perf_counter() - started_at))
        while not isinstance(putter.heard(), m.Reply):
            pass
    return took


def fill(clients: Sequence[_Client]) -> int:
    value = values.make(1, VALUE)
    puts = (
        (client, client.packed(client.put(_key(number), value)))
        for number, client in zip(range(VALUES), itertools.cycle(clients))
    )
    return sum(_exchange(clients, puts))


def newcome(clients: Sequence[_Client]) -> list[float]:
    flooder, second = clients[:2]
    host, ip = flooder.sock.getpeername()[0], second.sock.getsockname()[0]
    flood = itertools.cycle([flooder.packed(m.Find(target=_key(number))) for number in range(100)])
    sending = _evenly(flooder.sock, flood)
    took = []
    for _ in range(NEWCOMERS):
        until = time.perf_counter() + BETWEEN_S
        while time.perf_counter() < until:
            next(sending)
        took.append(1000 * _answered_s(host, ip, sending))
    return took


def _answered_s(host: str, ip: str, meanwhile: Iterator[None]) -> float:
    """Seconds until a newcomer is answered, which asks again after a second."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((ip, 0))
        sock.connect((host, PORT))
        sock.setblocking(False)
        node_id = secrets.token_bytes(20)
        (asked,) = packing.pack(m.Find(transaction=1, node_id=node_id, target=node_id))
        started_at = asked_at = time.perf_counter()
        sock.send(asked)
        while (now := time.perf_counter()) < started_at + GIVEN_UP_S:
            next(meanwhile)
            with suppress(BlockingIOError):
                if isinstance(wire.parse(sock.recv(1 << 16)), m.Reply):
                    return time.perf_counter() - started_at
            if now > asked_at + ANSWER_WITHIN_S:
                asked_at = now
                sock.send(asked)
    return GIVEN_UP_S


def _evenly(sock: socket.socket, datagrams: Iterator[bytes]) -> Iterator[None]:
    """Send datagrams for as long as it is asked to go on, so many a second."""
    started_at, sent = time.perf_counter(), 0
    while True:
        while sent < (time.perf_counter() - started_at) * FLOOD_PER_S:
            sock.send(next(datagrams))
            sent += 1
        yield


def _exchange(
    clients: Sequence[_Client], queries: Iterable[tuple[_Client, bytes]]
) -> Iterable[int]:
    """Send the datagrams evenly; after each step, how many answers were received."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            client.sock.setblocking(False)
            selector.register(client.sock, selectors.EVENT_READ)
        started_at = time.perf_counter()
        for number, (client, datagram) in enumerate(queries):
            yield _received_until(started_at + number / PER_S, selector)
            client.sock.send(datagram)
        yield _received_until(time.perf_counter() + ANSWER_WITHIN_S, selector)


def _received_until(moment: float, selector: selectors.BaseSelector) -> int:
    """Replies; a node may also ask its clients something, which is no answer."""
    replies = 0
    while (left_s := moment - time.perf_counter()) > 0:
        for key, _ in selector.select(left_s):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            replies += isinstance(wire.parse(sock.recv(1 << 16)), m.Reply)
    return replies


def _key(number: int) -> bytes:
    return hashlib.sha1(str(number).encode(), usedforsecurity=False).digest()


if __name__ == "__main__":
    verb, host, *sources = sys.argv[1:]
    measure: Callable[[Sequence[_Client]], object] = {
        "load": load,
        "latency": latency,
        "fill": fill,
        "newcome": newcome,
    }[verb]
    sys.stdout.write(json.dumps(measure([_Client(host, source) for source in sources])) + "\n")
