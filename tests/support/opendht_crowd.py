"""Many real OpenDHT nodes in one process: `python opendht_crowd.py ADDRESS ...`, a node for each.

Run as a file by an interpreter with the wheel or with Debian's binding. Each line on stdin is a
list, each line on stdout its answer:

    ["join", moment, ip, port]  -> for each node the seconds from `moment`, of CLOCK_MONOTONIC,
                                   when all start, until it is connected; null where it is not
    ["known"]                   -> for each node how many good ones it knows
    ["put", [key, ...]]         -> how many could be put, each by the next node; the key is the
                                   value
    ["get", [key, ...]]         -> how many were found, each by the next node

One thread speaks to the nodes, one call after the other, as the binding deadlocks otherwise.
"""

import itertools
import json
import socket
import sys
import time
from collections.abc import Sequence

import opendht

JOIN_WITHIN_S = 60.0
_POLL_S = 0.002


class Crowd:
    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._nodes = [opendht.DhtRunner() for _ in addresses]
        self._next = itertools.cycle(self._nodes)

    def join(self, moment: float, ip: str, port: int) -> list[float | None]:
        time.sleep(max(0.0, moment - time.monotonic()))
        for node, address in zip(self._nodes, self._addresses, strict=True):
            node.run(port=4222, ipv4=address, ipv6="", config=opendht.DhtConfig())
            node.bootstrap(ip, str(port))
        took: dict[int, float] = {}
        while len(took) < len(self._nodes) and time.monotonic() < moment + JOIN_WITHIN_S:
            for number, node in enumerate(self._nodes):
                if number not in took and "[good]" in node.getRoutingTablesLog(socket.AF_INET):
                    took[number] = time.monotonic() - moment
            time.sleep(_POLL_S)
        return [took.get(number) for number in range(len(self._nodes))]

    def known(self) -> list[int]:
        return [node.getRoutingTablesLog(socket.AF_INET).count("[good]") for node in self._nodes]

    def put(self, keys: Sequence[str]) -> int:
        return sum(
            bool(next(self._next).put(opendht.InfoHash.get(key), opendht.Value(key.encode())))
            for key in keys
        )

    def get(self, keys: Sequence[str]) -> int:
        return sum(
            any(
                value.data == key.encode()
                for value in next(self._next).get(opendht.InfoHash.get(key))
            )
            for key in keys
        )


if __name__ == "__main__":
    crowd = Crowd(sys.argv[1:])
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        sys.stdout.write(json.dumps(getattr(crowd, command)(*arguments)) + "\n")
        sys.stdout.flush()
