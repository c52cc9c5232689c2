"""A line that is slow, far or lossy, made of a TCP relay: for kernels without netem.

Each direction of each connection has a queue of its own for the delay; all connections of a
direction share the rate, as they would share a radio.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

PIECE = 1400  # bytes, as of one packet


@dataclass(frozen=True, slots=True)
class Profile:
    """`delay_s` is of one direction; `lost` the share of pieces that come `stall_s` late."""

    delay_s: float = 0.0
    mbit: float = 1000.0
    lost: float = 0.0
    stall_s: float = 0.25


class _Direction:
    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._free_at = 0.0
        self._dice = random.Random(7)

    def arrival(self, size: int, now: float) -> float:
        """When a piece that is sent now is there."""
        self._free_at = max(now, self._free_at) + size * 8 / (self._profile.mbit * 1e6)
        late = self._profile.stall_s if self._dice.random() < self._profile.lost else 0.0
        return self._free_at + self._profile.delay_s + late


@asynccontextmanager
async def slow_line(to_port: int, profile: Profile) -> AsyncIterator[int]:
    """The port of a relay to `to_port` on loopback."""
    there, back = _Direction(profile), _Direction(profile)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", to_port)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_pump(reader, other_writer, there))
                    tasks.create_task(_pump(other_reader, writer, back))
            except* ConnectionError:
                pass
            finally:
                other_writer.close()
                writer.close()

    server = await asyncio.start_server(relay, "127.0.0.1", 0, limit=PIECE)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: _Direction
) -> None:
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)  # a router's buffer

    async def deliver() -> None:
        while True:
            at, piece = await queue.get()
            await asyncio.sleep(at - loop.time())
            if not piece:
                raise ConnectionError("the other end closed")
            writer.write(piece)
            await writer.drain()

    async def take() -> None:
        while piece := await reader.read(PIECE):
            await queue.put((direction.arrival(len(piece), loop.time()), piece))
        await queue.put((loop.time(), b""))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(deliver())
        tasks.create_task(take())
