"""The service that is a DHT node of our own: UDP sockets around `core`.

It runs in the main process. A query costs 20 to 60 µs, so that at its limit of 8,192 a second it
takes a third of a core, in pieces of a few milliseconds; a process of its own would cost more
memory (27 MB) than a small box has to spare.
"""

import asyncio
import random
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from lanjami.dhtnode import identity
from lanjami.dhtnode.core import DhtCore
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.requests import Datagram
from lanjami.discovery.wire import Beacon
from lanjami.lan import Interface, is_local
from lanjami.runtime import log, net
from lanjami.runtime.service import Ready

_log = log.get(__name__)

BATCH = 64  # datagrams taken from a socket before others have their turn
LOOK_S = 5.0  # between two looks at the interfaces
MOST_REMEMBERED = 16 * 1024  # addresses whose text and locality are remembered


class PythonNode:
    """A DHT node on UDP `port`, with its identity in the `state` folder.

    `lan` tells the local networks, outside of which nobody is heard or written to; `entries`
    where other nodes may be; `changed` is called when it came or went.
    """

    name = "dhtnode-python"

    def __init__(
        self,
        *,
        port: int,
        routed: bool,
        state: Path,
        lan: Callable[[], Sequence[Interface]],
        entries: Callable[[], Sequence[Endpoint]],
        changed: Callable[[], None],
    ) -> None:
        self._port = port
        self._routed = routed
        self._state = state
        self._lan = lan
        self._entries = entries
        self._changed = changed
        self._core: DhtCore | None = None

    def beacon(self) -> Beacon | None:
        """What discovery announces, while the node is up."""
        return None if self._core is None else Beacon(self._core.own_id, self._port)

    async def run(self, ready: Ready) -> None:
        loop = asyncio.get_running_loop()
        node_id = await asyncio.to_thread(identity.load_or_make, self._state / "python-node-id")
        guard = _Guard(self._lan)
        core = DhtCore(
            node_id,
            is_local=guard.is_local,
            dice=random.SystemRandom(),
            now=loop.time(),
            unix_time=time.time(),
            versions=net.versions(),
        )
        try:
            with _Sockets(core, loop, self._port, routed=self._routed) as sockets:
                self._core = core
                self._changed()
                while True:
                    guard.look()
                    sockets.send(core.join(self._entries(), now=loop.time()))
                    ready(f"UDP {self._port}")
                    look_at = loop.time() + LOOK_S
                    while (now := loop.time()) < look_at:
                        sockets.send(core.on_timer(now=now))
                        await sockets.pause(max(0.0, min(look_at, core.wake_at) - loop.time()))
        finally:
            self._core = None
            self._changed()


class _Guard:
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


class _Sockets:
    """One socket a family; what comes goes to the core, and its answers out again."""

    def __init__(
        self, core: DhtCore, loop: asyncio.AbstractEventLoop, port: int, *, routed: bool
    ) -> None:
        self._core = core
        self._loop = loop
        self._port = port
        self._routed = routed
        self._by_version: dict[int, socket.socket] = {}
        self._names: dict[tuple[str, int], Endpoint] = {}
        self._addresses: dict[Endpoint, tuple[str, int] | tuple[str, int, int, int]] = {}
        self._nudged = asyncio.Event()
        self._fault: BaseException | None = None
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
                self._by_version[to.version].sendto(data, self._address(to))
            except OSError as error:
                # no route, an interface that goes, a full buffer: all pass, and all is repeated
                self._core.dropped["not sent"] += 1
                _log.debug("not sent", to=to.address, error=error.strerror)

    async def pause(self, timeout_s: float) -> None:
        """Wait until there is something to do before its time, at most `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._nudged.wait()
        except TimeoutError:
            pass
        self._nudged.clear()
        if self._fault is not None:
            raise self._fault

    def _on_readable(self, sock: socket.socket, version: int) -> None:
        core = self._core
        wake_at = core.wake_at
        try:
            for _ in range(BATCH):
                try:
                    data, address = sock.recvfrom(net.LARGEST_DATAGRAM)
                except (BlockingIOError, InterruptedError):
                    break
                except OSError:
                    continue  # of an earlier datagram, such as a host that went away
                source = self._endpoint(address)
                self.send(core.on_datagram(data, source, now=self._loop.time()))
        except Exception as error:  # noqa: BLE001 - handed to `run`, which fails with it
            self._fault = error
            self._nudged.set()
        if core.wake_at < wake_at:
            self._nudged.set()

    def _endpoint(self, address: tuple[str, int] | tuple[str, int, int, int]) -> Endpoint:
        known = self._names.get(address)  # type: ignore[arg-type]
        if known is None:
            family = socket.AF_INET if len(address) == 2 else socket.AF_INET6
            ip = socket.inet_pton(family, address[0].partition("%")[0])
            known = Endpoint(ip, address[1], address[3] if len(address) == 4 else 0)
            if len(self._names) >= MOST_REMEMBERED:
                self._names.clear()
            self._names[address] = known  # type: ignore[index]
        return known

    def _address(self, to: Endpoint) -> tuple[str, int] | tuple[str, int, int, int]:
        known = self._addresses.get(to)
        if known is None:
            family = socket.AF_INET if to.version == 4 else socket.AF_INET6
            name = socket.inet_ntop(family, to.ip)
            known = (name, to.port) if to.version == 4 else (name, to.port, 0, to.scope)
            if len(self._addresses) >= MOST_REMEMBERED:
                self._addresses.clear()
            self._addresses[to] = known
        return known
