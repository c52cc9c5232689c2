"""What stands for a UnifiedPush distributor's server, and for the application that it wakes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

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
    """Takes pushes at any path; `status` says what it answers to the next ones."""

    port: int
    status: Callable[[int], int] = lambda _: 200
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


def decrypt(sealed: bytes, private: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """Read a push of one record (RFC 8291, RFC 8188), as an application does."""
    salt, size, length = sealed[:16], int.from_bytes(sealed[16:20]), sealed[20]
    assert len(sealed) - 21 - length <= size
    sender = sealed[21 : 21 + length]
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
    own = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = private.exchange(ec.ECDH(), point)
    secret = HKDF(SHA256(), 32, auth, b"WebPush: info\0" + own + sender).derive(shared)
    key = HKDF(SHA256(), 16, salt, b"Content-Encoding: aes128gcm\0").derive(secret)
    nonce = HKDF(SHA256(), 12, salt, b"Content-Encoding: nonce\0").derive(secret)
    opened = AESGCM(key).decrypt(nonce, sealed[21 + length :], None)
    text = opened.rstrip(b"\0")
    assert text.endswith(b"\2"), "it is the last record"
    return text[:-1]
