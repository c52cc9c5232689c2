"""Asks a node through its socket whether it works; see `heartbeat`."""

import asyncio
import secrets
import socket

from lanjami.dhtnode.heartbeat import Heartbeat, Reply
from lanjami.errors import HostError, WireError
from lanjami.runtime import log, net
from lanjami.runtime.patience import Patience

_log = log.get(__name__)

WITHIN_S = 3.0  # a beat that takes longer is a hang, or a flood
RESEND_S = 0.25  # a flood can crowd out a datagram, hardly sixteen in a row


class Pulse:
    """The beats of the node `node_id`, which `sock` is connected to; `who` it is in sentences."""

    def __init__(
        self, sock: socket.socket, heartbeat: Heartbeat, node_id: bytes, *, who: str
    ) -> None:
        self._sock = sock
        self._heartbeat = heartbeat
        self._node_id = node_id
        self._patience = Patience(who)

    async def beat(self) -> str:
        """Beat once; "", or what is worse off. Raises HostError where the node hangs."""
        try:
            await beat(self._sock, self._heartbeat, self._node_id)
        except TimeoutError:
            missed = f"no value came back within {WITHIN_S:g} s"
            return self._patience.checked(passed=False, missed=missed)
        return self._patience.checked(passed=True)


def told(port: int, overloaded: str) -> str:
    """What a node at a UDP port says of itself after a beat that returned `overloaded`."""
    return f"UDP {port}" if overloaded else f"UDP {port}, a value put and got back"


async def beat(sock: socket.socket, heartbeat: Heartbeat, node_id: bytes) -> None:
    """Put a value and get it back; TimeoutError where that does not succeed in time."""
    async with asyncio.timeout(WITHIN_S):
        transaction = secrets.randbits(30)
        opened = await _exchange(sock, heartbeat, transaction, heartbeat.get(transaction))
        if opened.node_id != node_id:
            raise HostError("another DHT node answers on our port")
        put = heartbeat.put(transaction + 1, token=opened.token)
        await _exchange(sock, heartbeat, transaction + 1, put)
        while True:
            transaction += 2
            got = await _exchange(sock, heartbeat, transaction, heartbeat.get(transaction))
            if got.has_value:
                return
            await asyncio.sleep(RESEND_S)


async def _exchange(
    sock: socket.socket, heartbeat: Heartbeat, transaction: int, query: bytes
) -> Reply:
    loop = asyncio.get_running_loop()
    while True:
        try:
            async with asyncio.timeout(RESEND_S):
                await loop.sock_sendall(sock, query)
                while True:
                    try:
                        reply = heartbeat.parse(await loop.sock_recv(sock, net.LARGEST_DATAGRAM))
                    except WireError as error:
                        _log.debug("not a reply", reason=error)
                        continue
                    if reply.transaction == transaction:
                        return reply
        except TimeoutError:
            continue
        except ConnectionRefusedError:  # nobody has the port for now; `watch` may know why
            await asyncio.sleep(RESEND_S)


def connect(sock: socket.socket, port: int) -> None:
    """Have `sock` speak to UDP `port` of this machine; raises HostError."""
    try:
        sock.connect(("127.0.0.1", port))
    except OSError as error:
        raise HostError(f"the loopback interface cannot be used: {error.strerror}") from error
