"""A real OpenDHT node driven by lines of JSON: `python -m tests.support.opendht_peer`.

Arguments: PORT NETWORK IDENTITY, where IDENTITY is "none" or "identity"; it has to be the wheel
or Debian's binding. Each line on stdin is a list, each line on stdout its answer:

    ["bootstrap", ip, port]          -> null
    ["connected", seconds]           -> seconds it took, or null
    ["put", key, id, size]           -> true
    ["put_signed", key, id, size]    -> true
    ["put_encrypted", key, id, size] -> true, to itself
    ["get", key]                     -> [[id, bytes in hex], ...]
    ["listen", key]                  -> null
    ["heard", key, number, seconds]  -> [[id, bytes in hex], ...] once there are `number`
    ["went", key, number, seconds]   -> the ids that expired, once there are `number`
    ["id"]                           -> the node's id

Debian's binding can neither sign nor encrypt.

One thread speaks to the node, as its binding deadlocks otherwise.
"""

import json
import socket
import sys
import time
from collections import defaultdict
from typing import Any

import opendht

from tests.support.dht_content import content

FAMILIES = (socket.AF_INET, socket.AF_INET6)


class Peer:
    def __init__(self, port: int, network: int, *, identity: bool) -> None:
        config = opendht.DhtConfig()
        config.setNetwork(network)
        if identity:
            self._identity = opendht.Identity.generate(bits=2048)
            config.setIdentity(self._identity)
        self._node = opendht.DhtRunner()
        self._node.run(port=port, config=config)
        self._heard: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self._went: dict[str, list[int]] = defaultdict(list)

    def bootstrap(self, ip: str, port: int) -> None:
        self._node.bootstrap(ip, str(port))

    def connected(self, patience_s: float) -> float | None:
        started_at = time.monotonic()
        while (took_s := time.monotonic() - started_at) < patience_s:
            if any("[good]" in self._node.getRoutingTablesLog(family) for family in FAMILIES):
                return took_s
            time.sleep(0.005)
        return None

    def put(self, key: str, id: int, size: int) -> bool:
        return bool(self._node.put(_hash(key), _value(id, size)))

    def put_signed(self, key: str, id: int, size: int) -> bool:
        return bool(self._node.putSigned(_hash(key), _value(id, size)))

    def put_encrypted(self, key: str, id: int, size: int) -> bool:
        to = self._identity.publickey.getLongId()
        return bool(self._node.putEncrypted(_hash(key), _value(id, size), to))

    def get(self, key: str) -> list[tuple[int, str]]:
        return [(value.id, value.data.hex()) for value in self._node.get(_hash(key))]

    def listen(self, key: str) -> None:
        def heard(value: Any, expired: bool) -> bool:  # noqa: FBT001 - the binding's call
            if expired:
                self._went[key].append(value.id)
            else:
                self._heard[key].append((value.id, value.data.hex()))
            return True

        self._node.listen(_hash(key), heard)

    def heard(self, key: str, number: int, patience_s: float) -> list[tuple[int, str]]:
        until = time.monotonic() + patience_s
        while len(self._heard[key]) < number and time.monotonic() < until:
            time.sleep(0.005)
        return self._heard[key]

    def went(self, key: str, number: int, patience_s: float) -> list[int]:
        until = time.monotonic() + patience_s
        while len(self._went[key]) < number and time.monotonic() < until:
            time.sleep(0.005)
        return self._went[key]

    def id(self) -> str:
        return str(self._node.getNodeId().toString().decode())


def _value(id: int, size: int) -> Any:
    value = opendht.Value(content(id, size))
    value.id = id
    return value


def _hash(key: str) -> Any:
    return opendht.InfoHash.get(key)


if __name__ == "__main__":
    peer = Peer(int(sys.argv[1]), int(sys.argv[2]), identity=sys.argv[3] == "identity")
    sys.stdout.write("null\n")
    sys.stdout.flush()
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        sys.stdout.write(json.dumps(getattr(peer, command)(*arguments)) + "\n")
        sys.stdout.flush()
