"""Asks a LAN's discovery from many addresses: `python asker.py latency|load FILE`.

The file has a JSON list of the host's own IPv4 addresses; the output is one line of JSON.
latency: one query from each, each waited for; a list of milliseconds, null where none came.
load: 10,000 queries in 10 s from all in turn; how many stayed unanswered until the source asked
      again, and how many answers came more than once (each node of the box is one).
"""

import json
import selectors
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

GROUP = ("239.192.0.1", 8888)  # dht::PeerDiscovery's group and port
QUERY = b"\xa1q"
ANSWER = b"\x81\xa3dht"  # the start of a map with one service, "dht"

QUERIES = 10_000
LOAD_S = 10.0
ANSWER_WITHIN_S = 1.0


def latency(sources: Sequence[str]) -> list[float | None]:
    return [_ask(source) for source in sources]


def load(sources: Sequence[str]) -> dict[str, int]:
    with selectors.DefaultSelector() as selector:
        askers = [_Asker(_socket(source)) for source in sources]
        for asker in askers:
            selector.register(asker.sock, selectors.EVENT_READ, asker)
        started_at = time.perf_counter()
        for number in range(QUERIES):
            _receive_until(started_at + number * LOAD_S / QUERIES, selector)
            askers[number % len(askers)].ask()
        _receive_until(time.perf_counter() + ANSWER_WITHIN_S, selector)
    return {
        "unanswered": QUERIES - sum(asker.answered for asker in askers),
        "repeated": sum(asker.repeated for asker in askers),
    }


class _Asker:
    """One source: counts the queries that were answered before its next, and surplus answers."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.setblocking(False)
        self.answered = 0
        self.repeated = 0
        self._heard: set[bytes] = set()

    def ask(self) -> None:
        self._heard.clear()
        self.sock.sendto(QUERY, GROUP)

    def receive(self) -> None:
        with suppress(BlockingIOError):
            while True:
                answer = self.sock.recv(2048)
                if answer.startswith(ANSWER):
                    self.answered += not self._heard
                    self.repeated += answer in self._heard
                    self._heard.add(answer)


def _receive_until(time_s: float, selector: selectors.BaseSelector) -> None:
    while (left_s := time_s - time.perf_counter()) > 0:
        for key, _ in selector.select(left_s):
            key.data.receive()


def _ask(source: str) -> float | None:
    """Milliseconds from the query to its unicast answer."""
    with _socket(source) as sock:
        sock.settimeout(ANSWER_WITHIN_S)
        asked_at = time.perf_counter()
        sock.sendto(QUERY, GROUP)
        with suppress(TimeoutError):
            while not sock.recv(2048).startswith(ANSWER):
                pass
            return (time.perf_counter() - asked_at) * 1e3
    return None


def _socket(source: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((source, 0))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
    return sock


if __name__ == "__main__":
    addresses = json.loads(Path(sys.argv[2]).read_text())
    result = {"latency": latency, "load": load}[sys.argv[1]](addresses)
    sys.stdout.write(json.dumps(result) + "\n")
