"""The service that lets clients find the DHT by themselves: sockets around `responder`."""

import asyncio
import random
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from lanjami.discovery import wire
from lanjami.discovery.neighbours import Neighbour
from lanjami.discovery.responder import Datagram, Link, Responder, links
from lanjami.lan import NO_NETWORK, Interface, Ip
from lanjami.limits import Limits
from lanjami.runtime import log, net
from lanjami.runtime.service import Ready

_log = log.get(__name__)

POLL_S = 1.0  # an interface that comes, goes or changes is followed within twice this
BATCH = 64  # datagrams taken from one socket before the others have their turn


@dataclass(frozen=True, slots=True)
class Counts:
    """What the announcer has done since it started."""

    queries: int
    answers: int
    announcements: int
    dropped: dict[str, int]


class Announcer:
    """Announces the DHT nodes of `beacons()` on the interfaces of `lan()`.

    Silent while no node is up. `interval_s` is the time between two announcements.
    """

    name = "discovery"

    def __init__(
        self,
        *,
        interval_s: float,
        lan: Callable[[], Sequence[Interface]],
        beacons: Callable[[], Sequence[wire.Beacon]],
        limits: Callable[[], Limits] = Limits,
    ) -> None:
        self._interval_s = interval_s
        self._lan = lan
        self._beacons = beacons
        self._limits = limits
        self._responder: Responder | None = None
        self._links: list[Link] = []
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """Have it look at `beacons()` at once, as a node has come or gone."""
        self._nudged.set()

    async def run(self, ready: Ready) -> None:
        loop = asyncio.get_running_loop()
        responder = self._responder = Responder(
            interval_s=self._interval_s, limits=self._limits(), jitter=random.random
        )
        with _Sockets(responder, loop, self._nudged) as sockets:
            while True:
                sockets.follow(links(self._lan()))
                self._links = sockets.links
                ready(_detail(self._links), reason=sockets.reason)
                polled_at = loop.time()
                while (left_s := polled_at + POLL_S - loop.time()) > 0:
                    sockets.send(responder.on_tick(self._links, self._beacons(), now=loop.time()))
                    due_s = responder.wake_at - loop.time()
                    await sockets.pause(max(0.0, min(left_s, due_s)))

    def interfaces(self) -> list[str]:
        """The names of the interfaces that are announced on."""
        return sorted({link.name for link in self._links})

    def counts(self) -> Counts:
        responder = self._responder
        if responder is None:
            return Counts(0, 0, 0, {})
        return Counts(
            responder.queries, responder.answers, responder.announcements, dict(responder.dropped)
        )

    def neighbours(self) -> list[Neighbour]:
        """Who was heard lately; times are those of the running event loop."""
        if self._responder is None:
            return []
        return self._responder.neighbours.at(asyncio.get_running_loop().time())


class _Sockets:
    """The sockets of the announcer: by link one that hears the group; by family one that sends
    and hears answers, and one for questions sent to us alone, where nobody else has the port."""

    def __init__(
        self, responder: Responder, loop: asyncio.AbstractEventLoop, nudged: asyncio.Event
    ) -> None:
        self._responder = responder
        self._loop = loop
        self._nudged = nudged
        self._groups: dict[Link, socket.socket] = {}
        self._senders: dict[int, socket.socket] = {}
        self._alone: dict[int, socket.socket] = {}
        self._refused: dict[Link, str] = {}
        self._own: frozenset[tuple[Ip, int]] = frozenset()  # what our own datagrams come from
        self._fault: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for opened in (self._groups, self._senders, self._alone):
                for sock in opened.values():
                    stack.callback(self._close, sock)

    @property
    def links(self) -> list[Link]:
        """The links that are heard and spoken on."""
        return list(self._groups)

    @property
    def reason(self) -> str:
        """Why discovery is worse off than it should be."""
        if self._refused:
            return "; ".join(sorted(self._refused.values()))
        return "" if self._groups else NO_NETWORK

    def follow(self, wanted: Sequence[Link]) -> None:
        """Open and close sockets so that they are those of the `wanted` links."""
        for link in self._groups.keys() - set(wanted):
            self._close(self._groups.pop(link))
            _log.info("interface left", interface=link.name, family=f"IPv{link.version}")
        refused: dict[Link, str] = {}
        for link in wanted:
            try:
                self._open(link)
            except OSError as error:
                refused[link] = f"{link.name} IPv{link.version}: {error.strerror}"
        self._refused = refused
        self._own = frozenset(
            (source.ip, self._senders[link.version].getsockname()[1])
            for link in self._groups
            for source in link.sources
        )

    def send(self, datagrams: Sequence[Datagram]) -> None:
        for datagram in datagrams:
            link = datagram.link
            try:
                net.send(
                    self._senders[link.version],
                    datagram.payload,
                    to=datagram.to,
                    source=datagram.source,
                    index=link.index,
                )
            except OSError as error:
                # The interface is about to go, or the kernel's buffer is full: both pass.
                self._responder.dropped["not sent"] += 1
                _log.debug("not sent", interface=link.name, error=error.strerror)

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

    def _open(self, link: Link) -> None:
        version = link.version
        if version not in self._senders:
            self._senders[version] = self._watch(net.sender(version), None)
            alone = net.sole_receiver(version, wire.PORT)
            if alone is not None:
                self._alone[version] = self._watch(alone, None)
        if link not in self._groups:
            sock = net.group_receiver(
                link.group, wire.PORT, index=link.index, source=link.sources[0].ip
            )
            self._groups[link] = self._watch(sock, link)
            _log.info(
                "interface served",
                interface=link.name,
                addresses=",".join(str(source.ip) for source in link.sources),
            )

    def _watch(self, sock: socket.socket, link: Link | None) -> socket.socket:
        self._loop.add_reader(sock, self._on_readable, sock, link)
        return sock

    def _close(self, sock: socket.socket) -> None:
        self._loop.remove_reader(sock)
        sock.close()

    def _on_readable(self, sock: socket.socket, link: Link | None) -> None:
        try:
            before = self._responder.wake_at
            for _ in range(BATCH):
                received = net.receive(sock)
                if received is None:
                    break
                self._take(received, link)
            if self._responder.wake_at < before:
                self._nudged.set()
        except Exception as error:  # noqa: BLE001 - handed to `run`, which fails with it
            self._fault = error
            self._nudged.set()

    def _take(self, received: net.Received, link: Link | None) -> None:
        if received.sender in self._own:
            return
        came_by = link or self._link_at(received.index, received.sender[0].version)
        if came_by is None or came_by.index != received.index:
            self._responder.dropped["not served"] += 1
            return
        self.send(
            self._responder.on_datagram(
                received.data,
                received.sender,
                came_by,
                multicast=link is not None,
                now=self._loop.time(),
            )
        )

    def _link_at(self, index: int, version: int) -> Link | None:
        for link in self._groups:
            if link.index == index and link.version == version:
                return link
        return None


def _detail(served: Sequence[Link]) -> str:
    names = sorted({link.name for link in served})
    return f"announcing on {', '.join(names)}" if names else "waiting for a network"
