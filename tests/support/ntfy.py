"""A UnifiedPush server that is not ours: ntfy of Debian 13, and its own command as the phone."""

import base64
import json
import os
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.ports import free_port, served
from tests.support.programs import program
from tests.support.push_server import Phone

PROGRAM = Path("/var/cache/lanjami-lab/ntfy/usr/bin/ntfy")  # see scripts/lab-packages

_TOPIC = "upAAAAAAAAAAAA"  # the server's form of a topic for UnifiedPush


def server(
    folder: Path, *, address: str, port: int, exempt: str = "", every: str = ""
) -> tuple[str, ...]:
    """The command of a server that keeps pushes in a folder, and does not limit what comes from
    the `exempt` address; others may send one `every` "200ms", after 60 at once."""
    at = f"{address}:{port}"
    limits = ("--visitor-request-limit-exempt-hosts", exempt) if exempt else ()
    if every:
        limits = (*limits, "--visitor-request-limit-replenish", every)
    command = (str(PROGRAM), "serve", "--config", os.devnull, "--base-url", f"http://{at}")
    # in memory, it answers some of those that come at once with 500
    return (*command, "--listen-http", at, "--cache-file", str(folder / "ntfy.db"), *limits)


def endpoint(address: str, port: int) -> str:
    """Where an application of the phone has its pushes sent."""
    return f"http://{address}:{port}/{_TOPIC}?up=1"


def distributor(address: str, port: int) -> tuple[str, ...]:
    """The command of the phone: it has what was pushed while it was away, too. On each line is
    what `pushed` reads."""
    command = (str(PROGRAM), "subscribe", "--config", os.devnull, "--since", "all")
    return (*command, f"http://{address}:{port}/{_TOPIC}")


def pushed(line: str) -> bytes:
    told = json.loads(line)
    message = str(told["message"])
    return base64.b64decode(message) if told.get("encoding") == "base64" else message.encode()


class _Phone(Phone):
    async def pushed(self) -> bytes:
        return pushed(await self.line())


@asynccontextmanager
async def serving(folder: Path, *, exempt: str = "", every: str = "") -> AsyncIterator[int]:
    """A server on loopback; its port."""
    port = free_port()
    command = server(folder, address="127.0.0.1", port=port, exempt=exempt, every=every)
    async with program(*command, stderr=DEVNULL):
        await served(port)
        yield port


@asynccontextmanager
async def phone(port: int) -> AsyncIterator[Phone]:
    """A phone of a server on loopback."""
    command = distributor("127.0.0.1", port)
    async with program(*command, stdout=PIPE, stderr=DEVNULL) as process:
        made = _Phone(process)
        made.endpoint = endpoint("127.0.0.1", port)
        yield made


@asynccontextmanager
async def woken(folder: Path) -> AsyncIterator[Phone]:
    """A phone with its server."""
    async with serving(folder) as port, phone(port) as made:
        yield made
