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
from collections.abc import AsyncIterator, Sequence

from lanjami.errors import HostError
from lanjami.lan import Ip

WITHIN_S = 0.5
_TRIES = 20


class Catch:
    """A port on loopback, UDP, IPv4 and IPv6, while `open` is entered."""

    def __init__(self, port: int, *, relays: tuple[int, int]) -> None:
        self._port = port
        self._relays = relays
        self._sent: set[bytes] = set()
        self._caught = asyncio.Condition()
        self.count = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Raises HostError where the port is taken."""
        async with asyncio.TaskGroup() as tasks:
            with contextlib.ExitStack() as opened:
                watchers = [
                    tasks.create_task(self._watch(opened.enter_context(sock)))
                    for sock in _listen(self._port)
                ]
                try:
                    yield
                finally:
                    for watcher in watchers:
                        watcher.cancel()

    async def holds(self, addresses: Sequence[Ip]) -> bool:
        """Whether a relay at each of the box's addresses would be caught."""
        for ip in addresses:
            if not await self._holds_at(ip):
                return False
        return True

    async def _holds_at(self, ip: Ip) -> bool:
        family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
        word = secrets.token_bytes(16)
        with (
            socket.socket(family, socket.SOCK_DGRAM) as service,
            socket.socket(family, socket.SOCK_DGRAM) as relay,
        ):
            try:
                service.bind((str(ip), 0))
                _bind_one_of(relay, ip, self._relays)
                self._sent.add(word)
                relay.sendto(word, service.getsockname())
            except OSError:  # the address went away, or a firewall says no in its own way
                return False
            try:
                async with asyncio.timeout(WITHIN_S), self._caught:
                    await self._caught.wait_for(lambda: word not in self._sent)
            except TimeoutError:
                return False
            finally:
                self._sent.discard(word)
        return True

    async def _watch(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(sock, 64)
            except OSError:  # a pending error of an earlier datagram
                continue
            async with self._caught:
                if data in self._sent:
                    self._sent.remove(data)
                    self._caught.notify_all()
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
