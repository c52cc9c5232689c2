"""The OpenDHT bootstrap node, as a program of its own: `python -m lanjami.dhtnode.opendht`.

OpenDHT aborts the whole process on some errors and can deadlock with Python's lock, so it never
runs inside the appliance. Arguments: UDP port, node id (40 hex), parent's process id, and
"routed" or "unrouted": whether datagrams may pass a router. It writes one line when it runs, then
for each line on stdin one line of JSON with its statistics, and stops at the end of stdin.

One thread speaks to the node, and no callback is ever registered: a callback that waits for
Python's lock while a getter waits for the node's is how it deadlocks.
"""

import json
import os
import socket
import sys

import opendht

from lanjami.dhtnode.runner_log import count_nodes, count_values
from lanjami.runtime.privileges import give_up
from lanjami.runtime.process import end_with_parent

_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_FILES = 64  # the node opens about ten, right after the program's own


def main(port: int, node_id: str, *, routed: bool) -> None:
    """Run the node until stdin ends."""
    config = opendht.DhtConfig()
    config.setBootstrapMode(True)
    config.setNodeId(opendht.InfoHash(node_id.encode()))
    node = opendht.DhtRunner()
    node.run(port=port, config=config)
    if not routed:
        _keep_behind_the_routers(port)
    _say({"node_id": node.getNodeId().toString().decode(), "port": port})
    sent = [0, 0, 0, 0, 0]
    for _ in sys.stdin:
        sent = [a + b for a, b in zip(sent, node.getNodeMessageStats(), strict=True)]
        counts = [count_nodes(node.getRoutingTablesLog(family)) for family in _FAMILIES]
        _say(
            {
                "good": sum(good for good, _ in counts),
                "dubious": sum(dubious for _, dubious in counts),
                "values": count_values(node.getStorageLog()),
                "messages": sum(sent),
            }
        )


def _keep_behind_the_routers(port: int) -> None:
    """A client that also knows nodes of the Internet hands them to us, and OpenDHT would write
    to them. So its IPv4 socket may not use a gateway, and its IPv6 socket, for which Linux has
    no such option, sends what the first router drops. The sockets are found by their port."""
    for file in range(3, _FILES):
        try:
            sock = socket.socket(fileno=os.dup(file))
        except OSError:  # not an open file, or not a socket
            continue
        with sock:
            if sock.type != socket.SOCK_DGRAM or sock.getsockname()[1:2] != (port,):
                continue
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)


def _say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    end_with_parent(int(sys.argv[3]))
    give_up()
    main(int(sys.argv[1]), sys.argv[2], routed=sys.argv[4] == "routed")
    # An orderly shutdown could deadlock, and a bootstrap node has nothing of its own to hand on.
    os._exit(0)
