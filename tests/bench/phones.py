"""Clients of a DHT proxy: `python phones.py ask|listen HOST PORT [SOURCE ...]`.

The output is lines of JSON.
ask: requests a second of each kind, over connections that stay, and the milliseconds from a put
     until somebody who listens has heard of it.
listen: opens so many listens, from all sources in turn; the seconds that took. They stay open
     until the program is killed.
"""

import asyncio
import hashlib
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence

CONNECTIONS = 16
ASK_S = 2.0
KEYS = 50  # of each connection
PUTS = 200
LISTENS = 5000
OPENING = 64  # at once

_STREAM = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(host: str, port: int) -> None:
    body = json.dumps({"id": "1", "data": "aGVsbG8=", "type": 0}).encode()
    kinds: dict[str, Callable[[int], bytes]] = {
        "info": lambda _: _request("GET", "/"),
        "get": lambda number: _request("GET", f"/key/{_key(number)}"),
        "put": lambda number: _request("POST", f"/key/{_key(number)}", body),
    }
    rates = {}
    for kind in ("info", "put", "get"):
        until = time.monotonic() + ASK_S
        counts: list[int] = []

        async def ask_on(
            first: int, kind: str = kind, until: float = until, counts: list[int] = counts
        ) -> None:
            stream, asked = await asyncio.open_connection(host, port), 0
            while time.monotonic() < until:
                stream[1].write(kinds[kind](first + asked % KEYS))
                await _answer(stream)
                asked += 1
            counts.append(asked)
            stream[1].close()

        async with asyncio.TaskGroup() as tasks:
            for number in range(CONNECTIONS):
                tasks.create_task(ask_on(number * KEYS))
        rates[kind] = sum(counts) / ASK_S
    _say({"rates": rates, "latency_ms": await _latency(host, port)})


async def _latency(host: str, port: int) -> list[float]:
    listening = await asyncio.open_connection(host, port)
    listening[1].write(_request("GET", f"/key/{_key(9999)}/listen"))
    await listening[0].readuntil(b"\r\n\r\n")
    putting = await asyncio.open_connection(host, port)
    took = []
    for number in range(1, PUTS + 1):
        body = json.dumps({"id": str(number), "data": "aGVsbG8=", "type": 0}).encode()
        started_at = time.perf_counter()
        putting[1].write(_request("POST", f"/key/{_key(9999)}", body))
        await listening[0].readuntil(b"}\n\r\n")
        took.append(1000 * (time.perf_counter() - started_at))
        await _answer(putting)
    return took


async def listen(host: str, port: int, sources: Sequence[str]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    streams: list[_STREAM] = []
    numbers = iter(range(LISTENS))

    async def open_some() -> None:
        for number in numbers:
            source = (sources[number % len(sources)], 0)
            stream = await asyncio.open_connection(host, port, local_addr=source)
            stream[1].write(_request("GET", f"/key/{_key(number)}/listen"))
            head = await stream[0].readuntil(b"\r\n\r\n")
            assert b" 200 " in head, head
            streams.append(stream)

    started_at = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(OPENING):
            tasks.create_task(open_some())
    _say({"opened": len(streams), "took_s": time.monotonic() - started_at})
    await asyncio.Event().wait()


async def _answer(stream: _STREAM) -> None:
    head = await stream[0].readuntil(b"\r\n\r\n")
    assert b" 200 " in head, head
    lower = head.lower()
    if b"chunked" in lower:
        await stream[0].readuntil(b"0\r\n\r\n")
    else:
        length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0])
        await stream[0].readexactly(length)


def _request(method: str, path: str, body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: proxy\r\nConnection: keep-alive\r\n{length}\r\n"
    return head.encode() + body


def _key(number: int) -> str:
    return hashlib.sha1(str(number).encode()).hexdigest()


def _say(said: object) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    what, host, port, *sources = sys.argv[1:]
    asyncio.run(ask(host, int(port)) if what == "ask" else listen(host, int(port), sources))
