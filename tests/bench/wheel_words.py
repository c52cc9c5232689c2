"""A client of the `opendht` wheel that puts, or hears what another one puts.

`python wheel_words.py hear|put HOST KEY COUNT`: once connected to the node at HOST it says "ready",
and then a line for each of COUNT values at KEY: its id, and when it was put or heard, in seconds
of CLOCK_MONOTONIC. It puts one every `PAUSE_S`.
"""

import socket
import sys
import time
from typing import Any

import opendht

PAUSE_S = 0.02  # longer than any of them takes: who waits for one word waits for no other
_POLL_S = 0.01


def main(verb: str, host: str, key: str, count: str) -> None:
    node = opendht.DhtRunner()
    node.run(port=0)
    node.bootstrap(host, "4222")
    while "[good]" not in node.getRoutingTablesLog(socket.AF_INET):
        time.sleep(_POLL_S)  # the wheel tells nobody when a node becomes good
    (_hear if verb == "hear" else _put)(node, opendht.InfoHash.get(key), int(count))


def _hear(node: opendht.DhtRunner, key: opendht.InfoHash, count: int) -> None:
    heard: list[tuple[int, float]] = []

    def hear(value: Any, expired: bool) -> bool:  # noqa: FBT001 - the binding's call
        if not expired:
            heard.append((value.id, time.monotonic()))
        return True

    node.listen(key, hear)
    _say("ready")
    while len(heard) < count:
        time.sleep(_POLL_S)  # heard on a thread of the node's
    for id, at_s in heard:
        _say(f"{id} {at_s:.6f}")


def _put(node: opendht.DhtRunner, key: opendht.InfoHash, count: int) -> None:
    _say("ready")
    for id in range(1, count + 1):
        value = opendht.Value(b"a word")
        value.id = id
        _say(f"{id} {time.monotonic():.6f}")
        node.put(key, value)
        time.sleep(PAUSE_S)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
