"""Real DHT nodes as child processes: the wheel and Debian's binding, driven by JSON, and Debian's
dhtnode, at its prompt."""

import asyncio
import json
import re
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from lanjami.dhtnode import messages as m
from lanjami.dhtnode import packing, wire
from lanjami.dhtnode.value import Value
from lanjami.runtime import net
from tests.support.dht_content import content
from tests.support.programs import program

WHEEL, BINDING = sys.executable, "/usr/bin/python3"  # OpenDHT 4.4.2 and Debian's 2.4.12
PATIENCE_S = 15.0
START_S = 60.0  # of Debian's node, which first makes an RSA key of 4,096 bits


# what dhtnode prints of a value that is text (OpenDHT src/value.cpp, operator<<)
_TEXT = re.compile(r'Value\[id:([0-9a-f]+) (?:[^\]"]* )?data\(text/plain\):"([^"]*)"\]')


class Wheel:
    """OpenDHT in a process of its own; its commands are those of `opendht_peer`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, command: str, *arguments: object) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([command, *arguments]).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await process.stdout.readline())

    async def joined(self, ip: str, port: int) -> Self:
        await self.ask("bootstrap", ip, port)
        assert await self.ask("connected", PATIENCE_S / 2) is not None, "it does not join"
        return self

    async def got(self, key: str) -> dict[int, bytes]:
        return _values(await self.ask("get", key))

    async def heard(self, key: str, number: int = 1) -> dict[int, bytes]:
        return _values(await self.ask("heard", key, number, PATIENCE_S / 2))

    async def went(self, key: str, number: int) -> set[int]:
        return set(await self.ask("went", key, number, PATIENCE_S * 2 / 3))


def _values(printed: list[tuple[int, str]]) -> dict[int, bytes]:
    return {id: bytes.fromhex(data) for id, data in printed}


@asynccontextmanager
async def wheel(
    *, python: str = WHEEL, port: int = 0, network: int = 0, identity: bool = False
) -> AsyncIterator[Wheel]:
    """`python` is an interpreter with one of the bindings."""
    async with program(
        *(python, "-m", "tests.support.opendht_peer"),
        *(str(port), str(network), "identity" if identity else "none"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    ) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"null\n"
        yield Wheel(process)


class Debian:
    """dhtnode 2.4.12, which speaks in sentences."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._printed = ""
        self.key_id = ""

    async def say(self, line: str, answer: str) -> re.Match[str]:
        """Type a line, and wait until what is printed from then on matches `answer`."""
        self._printed = ""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        return await self.printed(answer)

    async def printed(self, pattern: str, *, within_s: float = PATIENCE_S) -> re.Match[str]:
        assert self._process.stdout is not None
        async with asyncio.timeout(within_s):
            while (match := re.search(pattern, self._printed, re.DOTALL)) is None:
                data = await self._process.stdout.read(1 << 16)
                assert data, f"it ended: {self._printed}"
                self._printed += data.decode("utf-8", "replace")
        return match

    async def got(self, key: str) -> dict[int, bytes]:
        """The texts that it finds at a key, by their ids."""
        return _texts(await self.say(f"g {key}", r"Get: completed"))

    async def heard(self, number: int) -> dict[int, bytes]:
        """The texts that were printed since the last line was typed, once there are so many."""
        return _texts(await self.printed(rf"({_TEXT.pattern}.*?){{{number}}}"))

    async def joined(self) -> Self:
        async with asyncio.timeout(PATIENCE_S):
            while (await self.say("ll", r"Known nodes: (\d+) good.*Known nodes: (\d+) good"))[
                1
            ] == "0" and "Known nodes: 0 good" in self._printed.rpartition("IPv6 stats")[2]:
                await asyncio.sleep(0.1)
        return self


def _texts(printed: re.Match[str]) -> dict[int, bytes]:
    return {int(id, 16): text.encode() for id, text in _TEXT.findall(printed.string)}


@asynccontextmanager
async def debian(
    *, port: int, bootstrap: str = "", network: int = 0, proxy: str = "", identity: bool = True
) -> AsyncIterator[Debian]:
    """`bootstrap` is `ip:port` or `[ip]:port`; with a `proxy`, `ip:port`, it asks that for
    everything. Without an identity it starts at once, and signs and encrypts nothing."""
    entry = ["--proxyclient", proxy] if proxy else ["-b", bootstrap] if bootstrap else []
    own = ["-i"] if identity else []
    async with program(
        *("dhtnode", *own, "-p", str(port), "-n", str(network), *entry),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    ) as process:
        node = Debian(process)
        if identity:
            node.key_id = (await node.printed(r"Public key ID (\w{40})", within_s=START_S))[1]
        await node.printed(r"for a list of possible commands")
        yield node


async def put_late(
    port: int, key: bytes, value: Value, *, age_s: int, ip: str = "127.0.0.1"
) -> None:
    """Put a value that is so old already at the one node on a port of loopback, as a node does
    that hands somebody else's value on."""
    loop = asyncio.get_running_loop()
    who: dict[str, Any] = {"node_id": secrets.token_bytes(20), "is_client": True}
    created = int(time.time()) - age_s
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((ip, port))

        async def ask(query: m.Asked) -> m.Reply:
            (datagram,) = packing.pack(query)
            await loop.sock_sendall(sock, datagram)
            async with asyncio.timeout(PATIENCE_S):
                reply = wire.parse(await loop.sock_recv(sock, net.LARGEST_DATAGRAM))
            assert isinstance(reply, m.Reply), reply
            return reply

        token = (await ask(m.Get(transaction=1, key=key, **who))).token
        put = m.Put(transaction=2, key=key, token=token, values=(value,), created=created, **who)
        assert (await ask(put)).value_id == value.id


def expected(*sizes: int) -> dict[int, bytes]:
    """The values 1, 2 … of these sizes, as `opendht_peer` makes them."""
    return {id: content(id, size) for id, size in enumerate(sizes, start=1)}
