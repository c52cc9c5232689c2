"""Ports of this machine: those that nobody has, and one that somebody takes.

The former are below those that Linux gives to who connects (32768 to 60999), so that nobody who
only opens a connection takes one between its choice and its use.
"""

import asyncio
import random
import socket

_LOWEST, _HIGHEST = 10_000, 30_000
_dice = random.SystemRandom()  # another run of the tests at the same time chooses others
_given: set[int] = set()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    return _free(kind, 1)


def free_pair() -> int:
    """A UDP port that nobody has, and nobody has the next one either."""
    return _free(socket.SOCK_DGRAM, 2)


async def served(port: int, *, within_s: float = 20.0) -> None:
    """Wait until connections to a TCP port of loopback are taken."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


def _free(kind: socket.SocketKind, count: int) -> int:
    while True:
        first = _dice.randrange(_LOWEST, _HIGHEST)
        ports = range(first, first + count)
        if _given.isdisjoint(ports) and all(_is_free(port, kind) for port in ports):
            _given.update(ports)
            return first


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as sock:
        try:
            sock.bind(("", port))
        except OSError:
            return False
    return True
