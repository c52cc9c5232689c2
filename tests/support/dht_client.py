"""An OpenDHT client as a program: `python -m tests.support.dht_client SECONDS [BOOTSTRAP_IP]`.

With peer discovery on and no address, or with the address of a bootstrap, it prints how many
seconds it took to be connected, or "never".
"""

import socket
import sys
import time

import opendht


def main(patience_s: float, bootstrap: str | None) -> None:
    config = opendht.DhtConfig()
    config.setPeerDiscovery(bootstrap is None, bootstrap is None)
    node = opendht.DhtRunner()
    started_at = time.monotonic()
    node.run(config=config)
    if bootstrap is not None:
        node.bootstrap(bootstrap)
    while time.monotonic() - started_at < patience_s:
        for family in (socket.AF_INET, socket.AF_INET6):
            if "[good]" in node.getRoutingTablesLog(family):
                sys.stdout.write(f"{time.monotonic() - started_at:.2f}\n")
                return
        time.sleep(0.005)  # the wheel tells nobody when a node becomes good
    sys.stdout.write("never\n")


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
