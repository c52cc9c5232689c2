"""Catches what a relay would send to the box's own services, and knows whether that works.

coturn tells peers apart by address only, and two relays meet at the box's own. So a rule of the
firewall (`lanjami firewall show`) leads what a relay's port sends to another port of this machine
to `port` on loopback, where it is counted. Whether there is such a rule is found out by trying.
"""

import asyncio
import contextlib
import random
import secrets
import socket
from collections.abc import Iterator, Sequence

from lanjami.errors import HostError
from lanjami.lan import Ip

WITHIN_S = 0.5
_TRIES = 20


class Catch:
    """A port on loopback, UDP, IPv4 and IPv6, while `open` is entered."""

    def __init__(self, port: int, *, relays: tuple[int, int]) -> None:
        self._port = port
        self._relays = relays
        self._awaited: dict[bytes, asyncio.Event] = {}
        self.count = 0

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Raises HostError where the port is taken."""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as opened:
            for sock in _listen(self._port):
                opened.enter_context(sock)
                loop.add_reader(sock, self._caught, sock)
                opened.callback(loop.remove_reader, sock)
            yield

    async def holds(self, addresses: Sequence[Ip]) -> bool:
        """Whether a relay at each of the box's addresses would be caught."""
        for ip in addresses:
            if not await self._holds_at(ip):
                return False
        return True

    async def _holds_at(self, ip: Ip) -> bool:
        family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
        word = secrets.token_bytes(16)
        self._awaited[word] = asyncio.Event()
        try:
            with (
                socket.socket(family, socket.SOCK_DGRAM) as service,
                socket.socket(family, socket.SOCK_DGRAM) as relay,
            ):
                relay.setblocking(False)
                service.bind((str(ip), 0))
                _bind_one_of(relay, ip, self._relays)
                relay.sendto(word, service.getsockname())
                async with asyncio.timeout(WITHIN_S):
                    await self._awaited[word].wait()
        except (TimeoutError, OSError):  # the address went away, or a firewall says no in its way
            return False
        finally:
            del self._awaited[word]
        return True

    def _caught(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(64)
        except OSError:  # a pending error of an earlier datagram
            return
        if data in self._awaited:
            self._awaited[data].set()
        else:
            self.count += 1


def _listen(port: int) -> list[socket.socket]:
    opened = []
    for family, ip in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        try:
            sock.bind((ip, port))
        except OSError as error:
            sock.close()
            if family == socket.AF_INET6:  # a machine without IPv6
                continue
            raise HostError(f"UDP port {port} of loopback is not free: {error.strerror}") from error
        opened.append(sock)
    return opened


def _bind_one_of(sock: socket.socket, ip: Ip, ports: tuple[int, int]) -> None:
    """Bind to a port that no relay has now; another each time, as the kernel remembers flows."""
    for left in reversed(range(_TRIES)):
        try:
            sock.bind((str(ip), random.randint(*ports)))  # noqa: S311 - not a secret
        except OSError:
            if not left:
                raise
        else:
            return
