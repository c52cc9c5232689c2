"""Asks the box, through its sockets and at each of its addresses, as a client asks.

Each function returns what was wrong, empty where nothing was.
"""

import asyncio
import http.client
import json
import re
import secrets
import socket
from collections.abc import Callable, Collection
from contextlib import closing, suppress
from functools import partial
from itertools import repeat, starmap
from typing import Any

from lanjami.dhtnode import messages, packing, wire
from lanjami.errors import WireError
from lanjami.lan import Ip
from lanjami.runtime import net
from lanjami.turn import stun

WITHIN_S = 3.0
RESEND_S = 0.3
_AT_ONCE = 200  # connections that wait for an answer
# As lanjami says it, and as the public reference server writes it.
_UNREGISTERED = re.compile("not registe?red", re.IGNORECASE)
_TARGETS = 4  # what is asked for nodes near it: each answer tells of the eight nearest


async def look_up(ip: Ip, port: int) -> str:
    """Look up an ID that nobody has, which the names themselves have to answer."""
    return await asyncio.to_thread(_look_up, str(ip), port)


def _look_up(host: str, port: int) -> str:
    status, told = _get(host, port, f"/addr/{secrets.token_hex(20)}")
    if isinstance(told, dict) and (
        (status == http.client.OK and "name" in told)
        or (status == http.client.NOT_FOUND and _UNREGISTERED.search(str(told.get("error"))))
    ):
        return ""
    return _wrong(status, told, "is no name server")


async def name_servers(places: Collection[Ip], ports: Collection[int]) -> list[Ip]:
    """Those of the places that have a name server at one of the ports; takes some seconds, also
    where many do not answer."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def is_one(ip: Ip, port: int) -> bool:
        async with room:
            if not await _is_open(ip, port):
                return False
        return not await look_up(ip, port)  # by a few threads

    async with asyncio.TaskGroup() as tasks:
        asked = [(ip, tasks.create_task(is_one(ip, port))) for ip in places for port in ports]
    return list(dict.fromkeys(ip for ip, task in asked if task.result()))


async def _is_open(ip: Ip, port: int) -> bool:
    """Whether a connection is taken."""
    try:
        async with asyncio.timeout(WITHIN_S):
            _, writer = await asyncio.open_connection(str(ip), port)
    except OSError:  # a time-out, too
        return False
    writer.close()
    return True


async def ask_proxy(ip: Ip, port: int) -> str:
    """Ask the DHT proxy for its node."""
    return await asyncio.to_thread(_ask_proxy, str(ip), port)


def _ask_proxy(host: str, port: int) -> str:
    status, told = _get(host, port, "/node/info")
    if status == http.client.OK and isinstance(told, dict) and "node_id" in told:
        return ""
    return _wrong(status, told, "is no DHT proxy")


def _get(host: str, port: int, path: str) -> tuple[int, Any]:
    """The status and the JSON of an answer, or 0 and why there is none."""
    try:
        with closing(http.client.HTTPConnection(host, port, timeout=WITHIN_S)) as connection:
            connection.request("GET", path, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            body = answer.read(1 << 20)
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__
    with suppress(ValueError):
        return answer.status, json.loads(body)
    return answer.status, None


def _wrong(status: int, told: Any, otherwise: str) -> str:
    if not status:
        return str(told)
    if isinstance(told, dict) and "error" in told:
        return f"HTTP {status}: {told['error']}"
    return f"what answers there {otherwise} (HTTP {status})"


async def ask_relay(credentials: stun.Credentials, ip: Ip, port: int) -> str:
    """Have a relay given and taken back."""
    steps = stun.proof(credentials, starmap(secrets.token_bytes, repeat((12,))))
    try:
        with connected(ip, port) as sock:
            request = next(steps)
            while True:
                answer = await _exchange(sock, request, partial(stun.answers, request))
                request = steps.send(answer)
    except StopIteration as done:
        return "" if done.value is not None else "all relays are given"
    except TimeoutError:
        return "no answer"
    except (OSError, WireError) as error:
        return str(error)


async def nodes_near(ip: Ip, port: int) -> set[Ip]:
    """The addresses of nodes that a DHT node tells of, for some places that are chosen by chance.
    Raises TimeoutError, OSError."""
    found: set[Ip] = set()
    asker = secrets.token_bytes(20)
    with connected(ip, port) as sock:
        for _ in range(_TARGETS):
            transaction = secrets.randbits(30)
            (query,) = packing.pack(
                messages.Find(
                    transaction=transaction,
                    node_id=asker,
                    is_client=True,
                    target=secrets.token_bytes(20),
                    want=(4, 6),
                )
            )

            is_reply = partial(_is_reply, transaction)
            reply = wire.parse(await _exchange(sock, query, is_reply))
            if isinstance(reply, messages.Reply):
                found |= {record.endpoint.address for record in reply.nodes}
    return found


def _is_reply(transaction: int, data: bytes) -> bool:
    try:
        message = wire.parse(data)
    except WireError:
        return False
    return isinstance(message, messages.Reply) and message.transaction == transaction


def connected(ip: Ip, port: int) -> socket.socket:
    """A UDP socket that speaks to one place; OSError where there is no way there."""
    sock = socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect((str(ip), port))
    except OSError:
        sock.close()
        raise
    return sock


async def _exchange(
    sock: socket.socket, request: bytes, is_answer: Callable[[bytes], bool]
) -> bytes:
    """The answer to a datagram, which is sent again as it may be lost; TimeoutError, OSError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(WITHIN_S):
        while True:
            await loop.sock_sendall(sock, request)
            with suppress(TimeoutError):
                async with asyncio.timeout(RESEND_S):
                    while True:
                        data = await loop.sock_recv(sock, net.LARGEST_DATAGRAM)
                        if is_answer(data):
                            return data
