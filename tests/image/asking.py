"""Asks a box what its clients ask: `python -m tests.image.asking HOST HTTP_PORT DHT_PORT`.

It prints nothing and exits 0 where all answers are right, else it says which is not.
"""

import json
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial

import msgpack

TRANSACTION = 1
NOBODY = "nobody-has-this-name"


def page(host: str, port: int, *, patience_s: float) -> bool:
    """The status page."""
    status, content = _get(f"http://{host}:{port}/", patience_s)
    return status == 200 and b"<html" in content


def names(host: str, port: int, *, patience_s: float) -> bool:
    """The name server, of a name that nobody has."""
    status, content = _get(f"http://{host}:{port}/name/{NOBODY}", patience_s)
    return status == 404 and "error" in json.loads(content)


def proxy(host: str, port: int, *, patience_s: float) -> bool:
    """The DHT proxy, of its node."""
    status, content = _get(f"http://{host}:{port}/node/info", patience_s)
    return status == 200 and "node_id" in json.loads(content)


def dht(host: str, port: int, *, patience_s: float) -> bool:
    """The bootstrap: a ping, as every DHT node sends it."""
    ping = {"q": "ping", "a": {"id": b"\1" * 20}, "t": TRANSACTION, "y": "q", "s": True}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(patience_s)
        sock.sendto(msgpack.packb(ping), (host, port))
        answer = msgpack.unpackb(sock.recv(1500), strict_map_key=False)
    return (answer["y"], answer["t"]) == ("r", TRANSACTION)


def wrong(host: str, http_port: int, dht_port: int, *, patience_s: float = 10.0) -> list[str]:
    """Which of them does not answer in time, or not as it should."""
    return list(_wrong(host, http_port, dht_port, patience_s=patience_s))


def serves(host: str, http_port: int, dht_port: int, *, patience_s: float) -> bool:
    """Whether all of them answer in time; nobody waits for the others where one does not."""
    return not any(_wrong(host, http_port, dht_port, patience_s=patience_s))


def _wrong(host: str, http_port: int, dht_port: int, *, patience_s: float) -> Iterator[str]:
    questions = {
        "page": (page, http_port),
        "names": (names, http_port),
        "proxy": (proxy, http_port),
        "dht": (dht, dht_port),
    }
    for name, (ask, port) in questions.items():
        if not _holds(partial(ask, host, port, patience_s=patience_s)):
            yield name


def _holds(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except (OSError, ValueError, KeyError):
        return False


def _get(url: str, patience_s: float) -> tuple[int, bytes]:
    try:
        # as a browser does: others get the proxy's answer at the page's address
        request = urllib.request.Request(url, headers={"Accept": "text/html"})
        with urllib.request.urlopen(request, timeout=patience_s) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


if __name__ == "__main__":
    sys.exit(", ".join(wrong(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))) or 0)
