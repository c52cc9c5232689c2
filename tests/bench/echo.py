"""The least that answers a query: `python echo.py ADDRESS`, on the host that has this address.

A blocking socket that answers every datagram to discovery's group with the same bytes.
"""

import socket
import sys

GROUP, PORT = "239.192.0.1", 8888  # dht::PeerDiscovery's group and port
ANSWER = b"\x81\xa3dht"


def main(address: str) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("", PORT))
    membership = socket.inet_aton(GROUP) + socket.inet_aton(address)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    while True:
        _, sender = sock.recvfrom(2048)
        sock.sendto(ANSWER, sender)


if __name__ == "__main__":
    main(sys.argv[1])
