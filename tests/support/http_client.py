"""An HTTP client that does what no library would."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

LONGEST_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def is_quick(self) -> bool:
        """Whether the fast lane gave it; aiohttp tells its name."""
        return "server" not in self.fields


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    def says_no_more(self) -> None:
        self._writer.write_eof()

    async def answer(self, *, has_body: bool = True) -> Answer:
        async with asyncio.timeout(LONGEST_WAIT_S):
            status, fields = await self._head()
            size = int(fields.get("content-length", 0)) if has_body else 0
            return Answer(status, fields, await self._reader.readexactly(size))

    async def ask(self, request: bytes) -> Answer:
        self.send(request)
        return await self.answer()

    async def rest(self, *, within_s: float = LONGEST_WAIT_S) -> bytes:
        """What comes until the server closes; TimeoutError where it does not, ConnectionError
        where it does so without an ear for us (RST)."""
        async with asyncio.timeout(within_s):
            return await self._reader.read()

    async def ended(self, *, within_s: float = LONGEST_WAIT_S) -> None:
        """Wait for the server to end the connection, however it does."""
        with contextlib.suppress(ConnectionError):
            await self.rest(within_s=within_s)

    def reset(self) -> None:
        """Vanish, as a crashed machine that was asked again."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):  # of a server that cut us
            await self._writer.wait_closed()

    async def _head(self) -> tuple[int, dict[str, str]]:
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = (line.partition(":") for line in lines if line)
        return int(first.split(" ")[1]), {name.lower(): text.strip() for name, _, text in fields}


@contextlib.asynccontextmanager
async def connected(port: int, *, host: str = "127.0.0.1") -> AsyncIterator[Client]:
    async with asyncio.timeout(LONGEST_WAIT_S):
        client = Client(*await asyncio.open_connection(host, port))
    try:
        yield client
    finally:
        await client.close()


def get(target: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: box", *fields, "", ""]).encode()
