"""The service that is a DHT node of our own, and what the rest of the box asks of it.

It runs in the main process: one of its own would take more memory (27 MB) than a small box has to
spare. What others may make it do is bounded in `admission` and `udp`.
"""

import asyncio
import hashlib
import random
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from lanjami import layout
from lanjami.dhtnode import beat, identity
from lanjami.dhtnode.core import DhtCore
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.events import Done
from lanjami.dhtnode.heartbeat import Heartbeat
from lanjami.dhtnode.info import Info, describe, family
from lanjami.dhtnode.node import Node, Statistics
from lanjami.dhtnode.streams import Waiting
from lanjami.dhtnode.udp import Guard, Sockets
from lanjami.dhtnode.value import Value
from lanjami.discovery.wire import Beacon
from lanjami.errors import HostError
from lanjami.lan import Interface
from lanjami.runtime import log, net
from lanjami.runtime.checkpoint import Checkpoint
from lanjami.runtime.service import Ready, together

LOOK_S = 5.0  # between two looks at the interfaces
BEAT_EVERY_S = 5.0
SAVE_AFTER_S = 5.0  # clients do not know of a power cut, and put again after ten minutes
SAVE_RATE = 8 * 1024  # bytes a second, for a card wears out
SAVE_WITHIN_S = 600.0  # however much it is

_log = log.get(__name__)


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
        network: int = 0,
    ) -> None:
        self._port = port
        self._routed = routed
        self._state = state
        self._checkpoint = Checkpoint(
            state / layout.PYTHON_NODE_STATE,
            after_s=SAVE_AFTER_S,
            rate=SAVE_RATE,
            within_s=SAVE_WITHIN_S,
            unsaved="the DHT node will begin anew",
            unread="the DHT node begins anew",
        )
        self._lan = lan
        self._entries = entries
        self._changed = changed
        self._network = network
        self._core: DhtCore | None = None
        self._sockets: Sockets | None = None
        self._serves = False
        self._waiting: dict[int, Waiting] = {}

    def node(self) -> Node | None:
        """The node, while it is up."""
        core = self._core if self._serves else None
        return None if core is None else Node(core.own_id, self._port, self._statistics(core))

    def beacon(self) -> Beacon | None:
        """What discovery announces, while the node is up."""
        core = self._core if self._serves else None
        return None if core is None else Beacon(core.own_id, self._port, self._network)

    async def put(self, key: bytes, value: Value, *, source: bytes = b"") -> bool:
        """Put a value for the life of its type; whether another node has it, too. Here and in
        `keeping`, `source` is the address of the client that wants it, which pays for it."""
        with self._operation(
            lambda core, now: core.put(key, value, source=source, now=now)
        ) as events:
            while True:
                match await events.get():
                    case Done(_, ok):
                        return ok

    @contextmanager
    def keeping(self, key: bytes, value: Value, *, source: bytes = b"") -> Iterator[Waiting]:
        """Put a value again and again, while the context lasts; `Done` when others have it."""
        with self._operation(
            lambda core, now: core.put(key, value, source=source, permanent=True, now=now)
        ) as events:
            yield events

    @contextmanager
    def listening(self, key: bytes) -> Iterator[Waiting]:
        """What comes to and goes from a key, while the context lasts; `Done` when the node
        went down."""
        with self._operation(lambda core, now: core.listen(key, now=now)) as events:
            yield events

    @contextmanager
    def getting(self, key: bytes) -> Iterator[Waiting]:
        """The values of a key as they are found, then `Done`."""
        with self._operation(lambda core, now: core.get(key, now=now)) as events:
            yield events

    def is_up(self) -> bool:
        return self._serves

    def info(self) -> Info | None:
        """What clients of the proxy are told of the node, while it is up."""
        core = self._core if self._serves else None
        if core is None:
            return None
        now = asyncio.get_running_loop().time()
        return describe(core, port=self._port, operations=len(self._waiting), now=now)

    async def run(self, ready: Ready) -> None:
        loop = asyncio.get_running_loop()
        node_id = await asyncio.to_thread(
            identity.load_or_make, self._state / layout.PYTHON_NODE_ID
        )
        guard = Guard(self._lan)
        core = DhtCore(
            node_id,
            is_local=guard.is_local,
            dice=random.SystemRandom(),
            now=loop.time(),
            unix_time=time.time(),
            network=self._network,
            versions=net.versions(),
        )
        sockets = Sockets(
            core, loop=loop, port=self._port, routed=self._routed, answered=self._hand_over
        )
        try:
            with sockets:
                self._core, self._sockets = core, sockets
                guard.look()
                await self._checkpoint.recall(partial(_recall, core))
                await together(
                    self._work(core, sockets, guard), self._beat(core, ready), self._keep(core)
                )
        finally:
            self._core = self._sockets = None
            self._serves = False
            self._changed()
            waiting, self._waiting = self._waiting, {}  # another core counts from 1 again
            for operation, events in waiting.items():
                events.put_nowait(Done(operation, ok=False))

    async def _keep(self, core: DhtCore) -> None:
        async def state() -> tuple[bytes, Callable[[], bytes]]:
            pack = core.snapshot(now=asyncio.get_running_loop().time(), unix_time=time.time())
            data, digest = await asyncio.to_thread(_packed, pack)
            return digest, lambda: data

        await self._checkpoint.keep(state)

    async def _work(self, core: DhtCore, sockets: Sockets, guard: Guard) -> None:
        loop = asyncio.get_running_loop()
        while True:
            guard.look()
            sockets.send(core.join(self._entries(), now=loop.time()))
            look_at = loop.time() + LOOK_S
            while (now := loop.time()) < look_at:
                core.set_clock(now=now, unix_time=time.time())
                sockets.send(core.on_timer(now=now))
                self._hand_over()
                await sockets.pause(min(look_at, core.wake_at))

    async def _beat(self, core: DhtCore, ready: Ready) -> None:
        """Prove through the socket, as a client would, that a value put comes back."""
        heartbeat = Heartbeat(
            asker_id=secrets.token_bytes(20), node_id=core.own_id, network=self._network
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            beat.connect(sock, self._port)
            pulse = beat.Pulse(sock, heartbeat, core.own_id, who="our DHT node")
            while True:
                overloaded = await pulse.beat()
                if not self._serves:
                    self._serves = True
                    self._changed()
                ready(beat.told(self._port, overloaded), reason=overloaded)
                await asyncio.sleep(BEAT_EVERY_S)

    @contextmanager
    def _operation(self, begin: Callable[[DhtCore, float], int]) -> Iterator[Waiting]:
        core, sockets, waiting = self._core, self._sockets, self._waiting
        if core is None or sockets is None:
            raise HostError("our DHT node is not up")
        loop = asyncio.get_running_loop()
        operation = begin(core, loop.time())
        events = waiting[operation] = Waiting()
        self._hand_over()
        sockets.nudge()
        try:
            yield events
        finally:
            del waiting[operation]
            core.cancel(operation, now=loop.time())

    def _hand_over(self) -> None:
        if self._core is not None:
            for event in self._core.take_events():
                if (events := self._waiting.get(event.operation)) is not None:
                    events.put_nowait(event)

    def _statistics(self, core: DhtCore) -> Statistics:
        now = asyncio.get_running_loop().time()
        known = [family(table, now=now) for table in core.tables.values()]
        return Statistics(
            good=sum(nodes.good for nodes in known),
            dubious=sum(nodes.dubious for nodes in known),
            values=max(0, len(core.answers.storage) - 1),  # without the heartbeat's own
            messages=core.sent,
            dropped=dict(core.dropped),
        )


def _recall(core: DhtCore, data: bytes) -> None:
    """Take over what it knew and kept when it last ran."""
    core.recall(data, now=asyncio.get_running_loop().time(), unix_time=time.time())


def _packed(pack: Callable[[], bytes]) -> tuple[bytes, bytes]:
    """The state as bytes, and what changes with it."""
    data = pack()
    return data, hashlib.sha256(data).digest()
