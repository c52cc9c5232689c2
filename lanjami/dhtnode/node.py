"""The service that keeps the OpenDHT child running and proves that it works."""

import asyncio
import importlib.util
import os
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lanjami import layout
from lanjami.dhtnode import beat, identity
from lanjami.dhtnode.heartbeat import Heartbeat
from lanjami.discovery.wire import Beacon
from lanjami.errors import HostError
from lanjami.runtime import net, process
from lanjami.runtime.service import Ready, together

START_S = 15.0  # a Raspberry Pi Zero 2 W under load needs several
BEAT_EVERY_S = 1.0
STATISTICS_EVERY_BEATS = 2
STATISTICS_WITHIN_S = 4.0
HANGS_WITHIN_S = 1.0
MOST_VALUES = 150_000  # some 150 MB; OpenDHT's own limit counts only the values' own bytes


class Statistics(msgspec.Struct, frozen=True):
    """The node's own counts: good and dubious nodes, stored values, messages sent, and what was
    dropped, by reason, where the engine tells."""

    good: int = 0
    dubious: int = 0
    values: int = 0
    messages: int = 0
    dropped: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is up."""

    node_id: bytes
    port: int
    statistics: Statistics


def is_installed() -> bool:
    """Whether OpenDHT is there to be run."""
    return importlib.util.find_spec("opendht") is not None


class DhtNode:
    """A bootstrap node on UDP `port`, IPv4 and IPv6, with its identity in the `state` folder.

    `routed` lets it write to nodes behind routers; `changed` is called when it came or went.
    """

    name = "dhtnode"

    def __init__(
        self, *, port: int, routed: bool, state: Path, changed: Callable[[], None]
    ) -> None:
        self._port = port
        self._routed = routed
        self._state = state
        self._changed = changed
        self._node: Node | None = None

    def node(self) -> Node | None:
        """The node, while it is up."""
        return self._node

    def beacon(self) -> Beacon | None:
        """What discovery announces, while the node is up."""
        return None if self._node is None else Beacon(self._node.node_id, self._port)

    async def run(self, ready: Ready) -> None:
        if not is_installed():
            raise HostError(
                f"OpenDHT is not installed: its wheels are for 64-bit Linux with glibc 2.34 or "
                f"newer and for macOS 15, not for this machine ({os.uname().machine}); "
                f"on a Raspberry Pi use the 64-bit system"
            )
        node_id = await asyncio.to_thread(identity.load_or_make, self._state / layout.NODE_ID)
        await asyncio.to_thread(net.require_udp, self._port)
        try:
            async with process.child(
                "the OpenDHT node", self._command(node_id), environment=process.python_environment()
            ) as child:
                await together(child.watch(), self._work(child, node_id, ready))
        finally:
            self._tell(None)  # when the child is gone, and its port free

    def _command(self, node_id: bytes) -> list[str]:
        # -P: a file of the user's in the current folder must not pass for one of Python's
        program = [sys.executable, "-P", "-m", "lanjami.dhtnode.opendht"]
        reach = "routed" if self._routed else "unrouted"
        return [*program, str(self._port), node_id.hex(), str(os.getpid()), reach]

    async def _work(self, child: process.Child, node_id: bytes, ready: Ready) -> None:
        loop = asyncio.get_running_loop()
        await child.hear(timeout_s=START_S)
        heartbeat = Heartbeat(asker_id=secrets.token_bytes(20), node_id=node_id)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            beat.connect(sock, self._port)
            pulse = beat.Pulse(sock, heartbeat, node_id, who="the OpenDHT node")
            statistics = Statistics()
            beats = 0
            while True:
                started_at = loop.time()
                overloaded = await pulse.beat()
                if overloaded or beats % STATISTICS_EVERY_BEATS == 0:
                    within_s = HANGS_WITHIN_S if overloaded else STATISTICS_WITHIN_S
                    statistics = await _statistics(child, within_s)
                beats += 1
                self._tell(Node(node_id, self._port, statistics))
                ready(beat.told(self._port, overloaded), reason=overloaded)
                await asyncio.sleep(max(0.0, started_at + BEAT_EVERY_S - loop.time()))

    def _tell(self, node: Node | None) -> None:
        came_or_went = (node is None) != (self._node is None)
        self._node = node
        if came_or_went:
            self._changed()


async def _statistics(child: process.Child, within_s: float) -> Statistics:
    """The child's counts, without the heartbeat's own value; HostError where it hangs, or
    stores more than memory is for."""
    line = await child.ask("statistics", timeout_s=within_s)
    counted = msgspec.json.decode(line, type=Statistics)
    if counted.values > MOST_VALUES:
        raise HostError(f"the OpenDHT node stored {counted.values} values, too many to keep")
    return msgspec.structs.replace(counted, values=max(0, counted.values - 1))
