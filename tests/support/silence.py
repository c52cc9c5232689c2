"""Listens for silence by mDNS: `python -m tests.support.silence NAME SECONDS ADDRESS` asks for
NAME.local all the while, from its own ADDRESS, and prints for how many seconds at most nobody
answered."""

import itertools
import socket
import struct
import sys
import time

MDNS = ("224.0.0.251", 5353)
EVERY_S = 0.05


def main(name: str, lasts_s: float, own: str) -> None:
    question = bytes([len(name)]) + name.encode() + b"\5local\0" + struct.pack("!2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
        asking.settimeout(EVERY_S)
        answered_at = started_at = time.monotonic()
        longest_s = 0.0
        for number in itertools.count():  # a responder takes the same question for a duplicate
            now = time.monotonic()
            if now > started_at + lasts_s:
                break
            # from a port of its own, so that each one is answered, to us (RFC 6762 section 6.7)
            asking.sendto(struct.pack("!6H", number, 0, 1, 0, 0, 0) + question, MDNS)
            try:
                asking.recv(9000)
                answered_at = time.monotonic()
                time.sleep(EVERY_S)
            except TimeoutError:
                longest_s = max(longest_s, now - answered_at)
    sys.stdout.write(f"{max(longest_s, now - answered_at)}\n")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3])
