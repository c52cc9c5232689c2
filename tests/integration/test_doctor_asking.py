"""Who counts as a name server, and how long it takes to find out."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from http import HTTPStatus
from ipaddress import IPv4Address

import pytest

from lanjami.doctor import asking
from tests.support.ports import free_port

LOOPBACK = IPv4Address("127.0.0.1")


@asynccontextmanager
async def _answering(status: HTTPStatus, body: object) -> AsyncIterator[int]:
    """A server that says the same to whatever is asked; its port."""
    content = json.dumps(body).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    "told",
    [
        {"success": False, "error": "address not registered"},
        {"error": "address not registred"},  # as the public reference server writes it
    ],
)
async def test_a_name_server_says_that_nobody_registered(told: object) -> None:
    async with _answering(HTTPStatus.NOT_FOUND, told) as port:
        assert await asking.look_up(LOOPBACK, port) == ""
    async with _answering(HTTPStatus.OK, {"name": "alice"}) as port:
        assert await asking.look_up(LOOPBACK, port) == ""


@pytest.mark.parametrize(
    "told",
    [
        {"detail": "Not Found"},
        {"error": "Not found"},
        {"timestamp": "2026-01-01", "status": 404, "error": "Not Found", "path": "/addr/0a"},
        {"statusCode": 404, "message": "Cannot GET /addr/0a", "error": "Not Found"},
        {},
        ["not registered"],
    ],
)
async def test_any_other_server_is_none(told: object) -> None:
    async with _answering(HTTPStatus.NOT_FOUND, told) as port:
        assert await asking.look_up(LOOPBACK, port) != ""
        assert await asking.name_servers([LOOPBACK], [port]) == []


async def test_many_that_do_not_answer_cost_no_more_than_one() -> None:
    with ExitStack() as opened:
        silent, many = free_port(), [IPv4Address(f"127.0.1.{n}") for n in range(1, 61)]
        for ip in many:
            listener = opened.enter_context(socket.socket())
            listener.bind((str(ip), silent))
            listener.listen(0)
            for _ in range(2):  # who comes later is not let in, and waits as before a firewall
                waiting = opened.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex((str(ip), silent))
        async with _answering(HTTPStatus.NOT_FOUND, {"error": "not registered"}) as port:
            began = time.monotonic()
            assert await asking.name_servers([*many, LOOPBACK], [silent, port]) == [LOOPBACK]
            assert time.monotonic() - began < 2 * asking.WITHIN_S + 2
