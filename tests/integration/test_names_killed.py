"""The name server is killed at random moments while clients register, and started again."""

import asyncio
import itertools
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

import pytest

from tests.support.appliance import opendht_child
from tests.support.asker import Asker
from tests.support.box import Box
from tests.support.ports import free_port
from tests.support.registrations import ClientKeys

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")

CLIENTS = 12
CONTESTED = 4  # every so many names, all clients want the same
LOOKED_UP = 200
EARLY = 0.2  # of the kills come while the server starts
STARTS_WITHIN_S, SERVES_FOR_S = 0.06, 0.1


class Server(Protocol):
    """A name server that can be killed, and that clients ask while they know that it serves."""

    async def live(self, clients: "Clients", random: Random) -> None:
        """Live until killed at a random moment."""

    def last(self, clients: "Clients") -> AbstractAsyncContextManager[None]:
        """Live, and be killed at the end of the block."""


async def test_nothing_acknowledged_is_lost_in_200_kills(tmp_path: Path) -> None:
    names, port = tmp_path / "names.sqlite", free_port()
    clients = Clients(port, names)
    async with _forked(names, port) as server:
        await _kill(server, clients, Random(1), times=200)
    assert clients.lost > 20
    assert clients.given_unheard > 0


async def test_nothing_acknowledged_is_lost_when_the_whole_box_is_killed(box: Box) -> None:
    clients = Clients(box.http, box.state / "names.sqlite")
    await _kill(WholeBox(box), clients, Random(2), times=10)
    assert clients.lost > 0


async def _kill(server: Server, clients: "Clients", random: Random, *, times: int) -> None:
    """Kill the server again and again, and look each time whether what it acknowledged is there;
    then let the clients come to an end, and look again."""
    async with asyncio.TaskGroup() as tasks:
        for number in range(CLIENTS):
            tasks.create_task(clients.register(number))
        for _ in range(times):
            await server.live(clients, random)
            await asyncio.to_thread(clients.require_kept)
        clients.is_enough = True
        async with server.last(clients):
            while clients.registering:
                await clients.ended.wait()
                clients.ended.clear()
            await clients.look_up(random)
    await asyncio.to_thread(clients.require_kept)


@dataclass
class Clients:
    """Who register names, each over a connection of its own, and know what they were told."""

    port: int
    names: Path
    is_served: asyncio.Event = field(default_factory=asyncio.Event)
    is_enough: bool = False
    registering: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    given: dict[str, str] = field(default_factory=dict)  # name to ID, by 200
    taken: dict[str, set[str]] = field(default_factory=dict)  # name to who has it, by 403
    lost: int = 0  # answers
    given_unheard: int = 0  # names that were there after a kill without a word
    _keys: ClientKeys = field(default_factory=lambda: ClientKeys(bits=2048))

    def __post_init__(self) -> None:
        self._exponents = self._keys.exponents()

    async def register(self, number: int) -> None:
        """Register one name after the other, each until there is an answer."""
        self.registering += 1
        async with Asker(self.port) as asker:
            for step in itertools.count():
                is_contested = step % CONTESTED == 0
                name = f"all-{step}" if is_contested else f"one-{number}-{step}"
                body = self._keys.body(name, next(self._exponents))
                status, answer = await self._asked(asker, name, body)
                if status == 200:
                    assert self.given.setdefault(name, body["addr"]) == body["addr"]
                else:
                    assert (is_contested, status) == (True, 403)
                    self.taken.setdefault(name, set()).add(answer["addr"])
                if self.is_enough:
                    break
        self.registering -= 1
        self.ended.set()

    async def look_up(self, random: Random) -> None:
        async with Asker(self.port) as asker:
            for name in random.sample(sorted(self.given), min(LOOKED_UP, len(self.given))):
                assert await asker.get(f"/addr/{self.given[name]}") == (200, {"name": name})
                status, found = await asker.get(f"/name/{name}")
                assert (status, found["addr"]) == (200, self.given[name])

    def require_kept(self) -> None:
        """Make sure of everything in the files that the killed server left, or rather in a copy of
        them: they are not to be repaired by us."""
        copy = self.names.with_name("copy.sqlite")
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):  # it may have been killed before it made them
                shutil.copyfile(f"{self.names}{suffix}", f"{copy}{suffix}")
        with closing(sqlite3.connect(copy)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            there = database.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,)
            rows = database.execute("SELECT name, id FROM names").fetchall() if there else []
        for suffix in ("", "-wal", "-shm"):
            Path(f"{copy}{suffix}").unlink(missing_ok=True)
        kept = dict(rows)
        assert len(kept) == len(set(kept.values())) == len(rows)
        assert self.given.items() <= kept.items()
        for name, holders in self.taken.items():
            assert holders == {kept[name]}
        self.given_unheard += len(kept) - len(self.given)

    async def _asked(
        self, asker: Asker, name: str, body: dict[str, str]
    ) -> tuple[int, dict[str, str]]:
        while True:
            await self.is_served.wait()
            try:
                return await asker.post(f"/name/{name}", body)
            except ConnectionRefusedError:
                pass
            except (OSError, EOFError):
                self.lost += 1


class Forked:
    """The name server alone, as `tests.support.lives` makes it live."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def live(self, clients: Clients, random: Random) -> None:
        if random.random() < EARLY:
            self._write(f"beginning {random.uniform(0, STARTS_WITHIN_S)}")
        else:
            self._write(f"serving {random.uniform(0, SERVES_FOR_S)}")
            await self._require("up")
            clients.is_served.set()
        await self._require("gone")
        clients.is_served.clear()

    @asynccontextmanager
    async def last(self, clients: Clients) -> AsyncIterator[None]:
        self._write("serving inf")
        await self._require("up")
        clients.is_served.set()
        yield
        self._write("")
        await self._require("gone")

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def _require(self, line: str) -> None:
        assert self._process.stdout is not None
        assert (await self._process.stdout.readline()).decode() == f"{line}\n"


@asynccontextmanager
async def _forked(names: Path, port: int) -> AsyncIterator[Forked]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.lives", str(names), str(port)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Forked(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()  # kills a life that goes on
        assert await process.wait() == 0


class WholeBox:
    """`lanjami up`, with its OpenDHT child, whose end frees its port."""

    def __init__(self, box: Box) -> None:
        self._box = box

    async def live(self, clients: Clients, random: Random) -> None:
        async with self.last(clients):
            await asyncio.to_thread(time.sleep, random.uniform(0, SERVES_FOR_S))

    @asynccontextmanager
    async def last(self, clients: Clients) -> AsyncIterator[None]:
        process = await asyncio.to_thread(self._box.running)
        child = await asyncio.to_thread(opendht_child, process.pid)
        clients.is_served.set()
        yield
        process.kill()
        clients.is_served.clear()
        for pid in (process.pid, child):
            with suppress(ProcessLookupError):
                await _end_of(pid)


async def _end_of(pid: int) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    process = os.pidfd_open(pid)
    try:
        loop.add_reader(process, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(process)
        os.close(process)
