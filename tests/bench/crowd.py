"""Clients of the name server: `python -m tests.bench.crowd VERB PORT FILE SECONDS`.

Each request has a connection of its own, as a Jami client's. The output is one line of JSON.

lookups: 500 clients look up, each at random moments, twice a second on average, whether or not
      they have their answers. FILE has their paths, one a line.
registrations: 20 clients register, each when its last is answered, until all is registered or
      the time is over. FILE has a line of JSON for each: the name, and the body as a string.
"""

import json
import random
import resource
import select
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

LOOKERS = 500
EACH_PER_S = 2.0
REGISTRANTS = 20
ANSWERED_WITHIN_S = 10.0  # after the last request; a client waits longer

_GET = "GET {path} HTTP/1.1\r\nHost: box\r\nUser-Agent: Jami\r\nConnection: close\r\n\r\n"
_POST = (
    "POST /name/{name} HTTP/1.1\r\nHost: box\r\nUser-Agent: Jami\r\nConnection: close\r\n"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
)
_OK = b"HTTP/1.1 200"
_SO_TIMESTAMPNS = 35  # Linux include/uapi/asm-generic/socket.h; its messages have the same number
_STAMPS_AFTER_S = 0.1  # net_enable_timestamp() leaves it to a worker of the kernel
_TIMESPEC = struct.Struct("@qq")  # seconds and nanoseconds of CLOCK_REALTIME


def lookups(port: int, file: Path, seconds: float) -> dict[str, Any]:
    """Milliseconds to the answers, and how many had none or another than 200.

    A lookup starts with its connection, and ends when the kernel received the last byte of the
    answer: that this process comes to read it only later does not count.
    """
    paths = file.read_text().split()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asked: list[_Lookup] = []
    # one socket that wants stamps keeps the kernel stamping while there is no other
    with selectors.EpollSelector() as selector, _stamped(socket.SOCK_DGRAM):
        time.sleep(_STAMPS_AFTER_S)  # nothing tells when the kernel has begun
        for moment in _moments(time.perf_counter(), seconds):
            while (left_s := moment - time.perf_counter()) > 0:
                _proceed(selector, left_s)
            asked.append(_Lookup(port, random.choice(paths), selector))
        patience_ends_at = time.perf_counter() + ANSWERED_WITHIN_S
        while selector.get_map() and (left_s := patience_ends_at - time.perf_counter()) > 0:
            _proceed(selector, left_s)
    latencies = [lookup.took_ms for lookup in asked if lookup.took_ms is not None]
    return {"latencies_ms": latencies, "failed": len(asked) - len(latencies)}


def registrations(port: int, file: Path, seconds: float) -> dict[str, Any]:
    """How many were registered, in how many seconds, how many were not, and how many were left
    when the time was over."""
    requests = iter([_post(*json.loads(line)) for line in file.read_text().splitlines()])
    answers: list[bytes] = []
    started_at = time.perf_counter()

    def register() -> None:
        while time.perf_counter() < started_at + seconds:
            request = next(requests, None)
            if request is None:
                return
            answers.append(_exchange(port, request))

    clients = [threading.Thread(target=register) for _ in range(REGISTRANTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    took_s = time.perf_counter() - started_at
    registered = sum(answer.startswith(_OK) for answer in answers)
    return {
        "registered": registered,
        "failed": len(answers) - registered,
        "took_s": took_s,
        "left": sum(1 for _ in requests),
    }


class _Lookup:
    """One lookup, from its start."""

    def __init__(self, port: int, path: str, selector: selectors.BaseSelector) -> None:
        self.took_ms: float | None = None
        self._selector = selector
        self._received = b""
        self._received_at = 0
        self._request = _GET.format(path=path).encode()
        self._sock = _stamped(socket.SOCK_STREAM)
        self._sock.setblocking(False)
        self._started_at = time.time_ns()
        self._sock.connect_ex(("127.0.0.1", port))
        selector.register(self._sock, selectors.EVENT_WRITE, self)
        self.proceed()

    def proceed(self) -> None:
        """Do what the connection is ready for."""
        try:
            if self._request:
                self._sock.send(self._request)
                self._request = b""
                self._selector.modify(self._sock, selectors.EVENT_READ, self)
            else:
                self._receive()
        except BlockingIOError:
            return
        except OSError:
            self._end()

    def _receive(self) -> None:
        while True:
            received, stamps, _, _ = self._sock.recvmsg(65536, 64)
            if not received:
                if self._received.startswith(_OK):
                    self.took_ms = (self._received_at - self._started_at) / 1e6
                self._end()
                return
            self._received += received
            ((_, _, stamp),) = stamps
            whole, nanoseconds = _TIMESPEC.unpack(stamp)
            self._received_at = whole * 1_000_000_000 + nanoseconds

    def _end(self) -> None:
        self._selector.unregister(self._sock)
        self._sock.close()


def _moments(start: float, seconds: float) -> Iterator[float]:
    """When one of the clients asks: their random moments together are a Poisson process."""
    moment = start
    while (moment := moment + random.expovariate(LOOKERS * EACH_PER_S)) < start + seconds:
        yield moment


def _proceed(selector: selectors.EpollSelector, left_s: float) -> None:
    """Go on with the lookups that can, or wait until one can."""
    # epoll itself waits for whole milliseconds
    if select.select([selector.fileno()], [], [], left_s)[0]:
        for key, _ in selector.select(0):
            key.data.proceed()


def _stamped(kind: socket.SocketKind) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return sock


def _post(name: str, body: str) -> bytes:
    return _POST.format(name=name, length=len(body), body=body).encode()


def _exchange(port: int, request: bytes) -> bytes:
    """The answer, or as much of it as came."""
    answer = b""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(request)
        while received := sock.recv(65536):
            answer += received
    return answer


def main(verb: str, port: str, file: str, seconds: str) -> None:
    crowd = {"lookups": lookups, "registrations": registrations}[verb]
    sys.stdout.write(json.dumps(crowd(int(port), Path(file), float(seconds))) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
