"""What stands for a UnifiedPush server, and for the application that it wakes."""

import asyncio
import base64
import json
import math
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import http_ece
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lanjami.dhtnode.push import Pusher
from tests.support.ports import free_port

MOST_BYTES = 4096  # UnifiedPush: what a push server has to take


@dataclass(frozen=True, slots=True)
class Pushed:
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


@dataclass(slots=True)
class Receiver:
    """Takes pushes at any path; `status` says what it answers to the next ones, and after `most`
    it answers none."""

    port: int
    status: Callable[[int], int] = lambda _: 200
    most: float = math.inf
    pushed: list[Pushed] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "up") -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    async def until(self, number: int, *, within_s: float = 10.0) -> list[Pushed]:
        async with asyncio.timeout(within_s):
            while len(self.pushed) < number:
                self.came.clear()
                await self.came.wait()
        return self.pushed

    async def on_post(self, request: web.Request) -> web.Response:
        body = await request.read()
        if len(body) > MOST_BYTES:
            return web.Response(status=413)
        self.pushed.append(Pushed(request.path, dict(request.headers), body))
        self.came.set()
        if len(self.pushed) > self.most:
            await asyncio.Event().wait()
        status = self.status(len(self.pushed))
        headers = {"Location": self.url("elsewhere")} if 300 <= status < 400 else {}
        return web.Response(status=status, headers=headers)


@asynccontextmanager
async def receiver(*, port: int | None = None) -> AsyncIterator[Receiver]:
    made = Receiver(port or free_port())
    app = web.Application()
    app.router.add_post("/{path:.*}", made.on_post)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", made.port).start()
        yield made
    finally:
        await runner.cleanup()


async def settled(pusher: Pusher, *, within_s: float = 10.0) -> dict[str, int]:
    """What became of notices, when none waits any more."""
    async with asyncio.timeout(within_s):
        while pusher.waiting:
            await asyncio.sleep(0.01)
    return pusher.counts()


@dataclass(frozen=True, slots=True)
class Application:
    """Has keys, and reads what is written to them as RFC 8291 says; http-ece does that."""

    private: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    auth: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    @property
    def public(self) -> bytes:
        key = self.private.public_key()
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def topic(self) -> str:
        """Its keys as a subscription says them."""
        parts = (self.public, self.auth)
        return "|".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)

    def read(self, sealed: bytes) -> bytes:
        return bytes(http_ece.decrypt(sealed, private_key=self.private, auth_secret=self.auth))
