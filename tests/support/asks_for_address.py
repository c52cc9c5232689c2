"""A box that asks, on cables of its own, whether the address 10.77.0.1 is somebody else's.

    python -m tests.support.asks_for_address guest|network LOOKS CABLE…

Looks four times a second, and prints the cables on which the address is to be left to another;
"network" says that it has it itself.
"""

import sys
import time
from ipaddress import IPv4Interface

from lanjami.box.rivals import Ear

AT = IPv4Interface("10.77.0.1/24")
LOOK_EVERY_S = 0.25


def main(role: str, looks: int, cables: list[str]) -> None:
    ear, networks = Ear(), cables if role == "network" else []
    for _ in range(looks):
        found = ear.look(dict.fromkeys(cables, AT), networks, time.monotonic())
        sys.stdout.write(" ".join(sorted(found)) + "\n")
        sys.stdout.flush()
        time.sleep(LOOK_EVERY_S)
    ear.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
