"""UDP sockets around `core`, one a family, and the guard that keeps them on the LAN."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Self

from lanjami.dhtnode.core import DhtCore
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.requests import Datagram
from lanjami.lan import Interface, is_local
from lanjami.runtime import log, net

_log = log.get(__name__)

TURN_S = 0.01  # for so long datagrams are taken from a socket before others have their turn
MOST_REMEMBERED = 16 * 1024  # addresses whose text and locality are remembered

_Name = tuple[str, int] | tuple[str, int, int, int]


class Guard:
    """Remembers which addresses are local, for as long as the interfaces stay as they are."""

    def __init__(self, lan: Callable[[], Sequence[Interface]]) -> None:
        self._lan = lan
        self._interfaces: Sequence[Interface] = ()
        self._known: dict[bytes, bool] = {}

    def look(self) -> None:
        interfaces = self._lan()
        if interfaces != self._interfaces:
            self._interfaces = interfaces
            self._known.clear()

    def is_local(self, endpoint: Endpoint) -> bool:
        known = self._known.get(endpoint.ip)
        if known is None:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            addresses = [a for interface in self._interfaces for a in interface.addresses]
            known = self._known[endpoint.ip] = is_local(endpoint.address, addresses)
        return known


class Sockets:
    """One socket a family; what comes goes to the core, and its answers out again.

    `answered` is called when the core may have events.
    """

    def __init__(
        self,
        core: DhtCore,
        *,
        loop: asyncio.AbstractEventLoop,
        port: int,
        routed: bool,
        answered: Callable[[], None],
    ) -> None:
        self._core = core
        self._answered = answered
        self._loop = loop
        self._port = port
        self._routed = routed
        self._by_version: dict[int, socket.socket] = {}
        self._endpoints: dict[_Name, Endpoint] = {}
        self._names: dict[Endpoint, _Name] = {}
        self._nudged = asyncio.Event()
        self._pauses_until = float("-inf")
        self._has_failed = False
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            for version in self._core.tables:
                sock = opened.enter_context(net.server(version, self._port, routed=self._routed))
                self._loop.add_reader(sock, self._on_readable, sock, version)
                opened.callback(self._loop.remove_reader, sock)
                self._by_version[version] = sock
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def send(self, datagrams: Sequence[Datagram]) -> None:
        for data, to in datagrams:
            try:
                self._by_version[to.version].sendto(data, self._name(to))
            except OSError as error:
                # no route, an interface that goes, a full buffer: all pass, and all is repeated
                self._core.dropped["not sent"] += 1
                _log.debug("not sent", to=to.address, error=error.strerror)

    def nudge(self) -> None:
        """End a `pause`: there is something new to do."""
        self._nudged.set()

    async def pause(self, until: float) -> None:
        """Wait until a time of the loop, or until there is something to do before it."""
        self._pauses_until = until
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._nudged.wait()
        self._nudged.clear()

    def _on_readable(self, sock: socket.socket, version: int) -> None:
        until = self._loop.time() + TURN_S
        while (now := self._loop.time()) < until:
            try:
                data, name = sock.recvfrom(net.LARGEST_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                continue  # of an earlier datagram, such as a host that went away
            self._take(data, self._endpoint(name), now)
        self._answered()
        if self._core.wake_at < self._pauses_until:
            self._nudged.set()

    def _take(self, data: bytes, source: Endpoint, now: float) -> None:
        try:
            self.send(self._core.on_datagram(data, source, now=now))
        except Exception:  # noqa: BLE001 - what one sends must not cost the others the node
            self._core.dropped["our fault"] += 1
            if not self._has_failed:
                self._has_failed = True
                _log.exception("a datagram that we fail at", source=source.address)

    def _endpoint(self, name: _Name) -> Endpoint:
        known = self._endpoints.get(name)
        if known is None:
            family = socket.AF_INET if len(name) == 2 else socket.AF_INET6
            ip = socket.inet_pton(family, name[0].partition("%")[0])
            known = Endpoint(ip, name[1], name[3] if len(name) == 4 else 0)
            if len(self._endpoints) >= MOST_REMEMBERED:
                self._endpoints.clear()
            self._endpoints[name] = known
        return known

    def _name(self, to: Endpoint) -> _Name:
        known = self._names.get(to)
        if known is None:
            family = socket.AF_INET if to.version == 4 else socket.AF_INET6
            ip = socket.inet_ntop(family, to.ip)
            known = (ip, to.port) if to.version == 4 else (ip, to.port, 0, to.scope)
            if len(self._names) >= MOST_REMEMBERED:
                self._names.clear()
            self._names[to] = known
        return known
