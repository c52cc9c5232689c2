"""An HTTP client that costs little, for tests that ask thousands of times."""

import asyncio
import json
from types import TracebackType
from typing import Any, Self


class Asker:
    """Asks a server on the loopback interface, one question at a time, over one connection that
    is opened again after it was lost. All raise OSError or EOFError where it is lost."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection[1].transport.abort()
            self._connection = None

    async def get(self, path: str) -> tuple[int, Any]:
        return await self._ask(f"GET {path}", b"")

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        return await self._ask(f"POST {path}", json.dumps(body).encode())

    async def _ask(self, what: str, content: bytes) -> tuple[int, Any]:
        try:
            if self._connection is None:
                self._connection = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._connection
            head = f"{what} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
            writer.write(head.encode() + content)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            length = next(int(line[15:]) for line in lines if line.startswith("Content-Length:"))
            return int(lines[0].split()[1]), json.loads(await reader.readexactly(length))
        except (OSError, EOFError):
            self.close()
            raise
