"""The announcer on the loopback interface, with real sockets."""

import asyncio
import random
import socket
import struct
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from lanjami.discovery import wire
from lanjami.discovery.announcer import Announcer
from lanjami.lan import Address, Interface
from lanjami.limits import Limits
from lanjami.runtime import net
from tests.support.running import Heard, running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="loopback joins groups on Linux")

BEACON = wire.Beacon(bytes(range(20)), 4222)
LOOPBACK = Interface("lo", socket.if_nametoindex("lo"), (Address(IPv4Interface("127.0.0.1/8")),))


@asynccontextmanager
async def _announcing(
    *beacons: wire.Beacon, limits: partial[Limits] | type[Limits] = Limits
) -> AsyncIterator[tuple[Announcer, Heard]]:
    announcer = Announcer(
        interval_s=1.0, lan=lambda: (LOOPBACK,), beacons=lambda: beacons, limits=limits
    )
    async with running(announcer) as heard:
        yield announcer, heard


@contextmanager
def _asker() -> Iterator[socket.socket]:
    """A socket that asks from a port of its own, as a client that came up without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        index = struct.pack("4s4si", bytes(4), bytes(4), LOOPBACK.index)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, index)
        yield sock


def _client_socket() -> socket.socket:
    source = LOOPBACK.addresses[0].ip
    return net.group_receiver(wire.GROUP_V4, wire.PORT, index=LOOPBACK.index, source=source)


async def _answer(sock: socket.socket) -> bytes:
    async with asyncio.timeout(2):
        return await asyncio.get_running_loop().sock_recv(sock, 65535)


@pytest.mark.parametrize("to", [str(wire.GROUP_V4), "127.0.0.1"])
async def test_a_question_is_answered_to_its_source(to: str) -> None:
    async with _announcing(BEACON) as (announcer, _):
        with _asker() as asker:
            asker.sendto(wire.QUERY, (to, wire.PORT))
            assert await _answer(asker) == wire.pack(BEACON)
        counts = announcer.counts()
        assert (counts.queries, counts.answers) == (1, 1)


async def test_a_node_that_comes_up_is_announced_at_once() -> None:
    up: list[wire.Beacon] = []
    announcer = Announcer(interval_s=60.0, lan=lambda: (LOOPBACK,), beacons=lambda: up)
    with _client_socket() as client:
        async with running(announcer):
            await asyncio.sleep(0.1)
            up.append(BEACON)
            announcer.nudge()
            async with asyncio.timeout(0.5):
                while await _answer(client) != wire.pack(BEACON):
                    pass  # our own question, which comes first


async def test_without_a_node_nothing_is_said() -> None:
    async with _announcing() as (announcer, _):
        with _asker() as asker:
            asker.sendto(wire.QUERY, ("127.0.0.1", wire.PORT))
            with pytest.raises(TimeoutError):
                await _answer(asker)
        assert announcer.counts().answers == 0


async def test_a_client_that_came_first_keeps_its_unicast_datagrams() -> None:
    """Its answers from others must not end up with us."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, _asker() as other:
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("", wire.PORT))
        async with _announcing(BEACON) as (announcer, _):
            other.sendto(b"for the client", ("127.0.0.1", wire.PORT))
            while await _answer(client) != b"for the client":
                pass  # our announcements, which it hears too
            other.sendto(wire.QUERY, (str(wire.GROUP_V4), wire.PORT))
            assert await _answer(other) == wire.pack(BEACON)
            assert announcer.counts().queries == 1


async def test_a_client_that_comes_later_gets_the_port_too() -> None:
    async with _announcing(BEACON):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client, _asker() as other:
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind(("", wire.PORT))
            other.sendto(b"for the client", ("127.0.0.1", wire.PORT))
            while await _answer(client) != b"for the client":
                pass  # our announcements, which it hears too


@pytest.mark.parametrize("limits", [Limits, partial(Limits, 1e9, 1e9, 1e9, 1e9)])
async def test_a_hundred_thousand_mutated_datagrams_leave_it_answering(
    limits: partial[Limits] | type[Limits],
) -> None:
    """Once as it is, where the limits drop most of them, and once with every one parsed."""
    seeded = random.Random(1)
    originals = [wire.QUERY, wire.pack(BEACON), b"\x81\xa4jami\x92\xc4\x14" + bytes(20) + b"\xa1x"]

    async with _announcing(BEACON, limits=limits) as (announcer, _):
        with _asker() as asker:
            used: list[int] = []
            for batch in range(1000):
                for _ in range(100):
                    datagram = bytearray(seeded.choice(originals))
                    for _ in range(seeded.randint(1, 4)):
                        datagram[seeded.randrange(len(datagram))] = seeded.randrange(256)
                    try:
                        asker.sendto(datagram, ("127.0.0.1", wire.PORT))
                    except BlockingIOError:
                        await asyncio.sleep(0)
                await asyncio.sleep(0)
                if batch in (200, 999):
                    used.append(_resident_kib())
            assert used[1] - used[0] < 4096, "memory grew by more than 4 MiB"
            await asyncio.sleep(1)
            with _asker() as fresh:
                fresh.sendto(wire.QUERY, ("127.0.0.1", wire.PORT))
                assert await _answer(fresh) == wire.pack(BEACON)
        counts = announcer.counts()
        assert sum(counts.dropped.values()) + counts.queries > 10_000
        assert len(announcer.neighbours()) <= 16


def _resident_kib() -> int:
    status = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
