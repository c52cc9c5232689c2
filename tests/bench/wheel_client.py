"""A client of the `opendht` wheel: `python wheel_client.py [--bootstrap HOST] [--listen]`.

Without a bootstrap it finds one by peer discovery, as Jami does. It prints when it started and
when its routing table first had a good node, which is when OpenDHT calls itself connected
(Dht::getStatus), in seconds of CLOCK_MONOTONIC; then it stays until it is killed.
"""

import argparse
import socket
import sys
import time

import opendht

_POLL_S = 0.0002


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--bootstrap")
    arguments.add_argument("--listen", action="store_true")
    given = arguments.parse_args()

    config = opendht.DhtConfig()
    config.setPeerDiscovery(not given.bootstrap, not given.bootstrap)
    node = opendht.DhtRunner()
    started_at = time.monotonic()
    node.run(port=0, config=config)
    if given.bootstrap:
        node.bootstrap(given.bootstrap, "4222")
    if given.listen:
        # nobody has a value there, so the callback, which could deadlock, is never called
        node.listen(opendht.InfoHash.getRandom(), lambda _value, _expired: True)
    while "[good]" not in node.getRoutingTablesLog(socket.AF_INET):
        time.sleep(_POLL_S)  # the wheel tells nobody when a node becomes good
    sys.stdout.write(f"started {started_at:.6f}\nconnected {time.monotonic():.6f}\n")
    sys.stdout.flush()
    while True:
        time.sleep(3600)  # a client that stays, until it is killed


if __name__ == "__main__":
    main()
