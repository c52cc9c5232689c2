"""Ports of the loopback interface that nobody has."""

import socket
from contextlib import suppress


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def free_pair() -> int:
    """A UDP port that nobody has, and nobody has the next one either."""
    while True:
        port = free_port(socket.SOCK_DGRAM)
        with (
            suppress(OSError, OverflowError),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s,
        ):
            s.bind(("", port + 1))
            return port
