"""A DHT node that tells of nodes in the Internet: `python -m tests.support.liar BOX BOX6 IP IP6`.

It makes itself known to the box, and answers everything with the same nodes until it is ended.
"""

import ipaddress
import secrets
import select
import socket
import sys
from typing import NoReturn

import msgpack

PORT = 4222


def main(box: tuple[str, str], internet: tuple[str, str]) -> NoReturn:
    nodes = {
        "n4": secrets.token_bytes(20) + _packed(internet[0]),
        "n6": secrets.token_bytes(20) + _packed(internet[1]),
    }
    own_id = secrets.token_bytes(20)
    sockets = [socket.socket(family, socket.SOCK_DGRAM) for family in _FAMILIES]
    for sock, to in zip(sockets, box, strict=True):
        for name, arguments in (("ping", {}), ("find", {"target": secrets.token_bytes(20)})):
            query = {
                "a": {"id": own_id, **arguments},
                "q": name,
                "t": secrets.randbits(30),
                "v": "RNG1",
                "y": "q",
            }
            sock.sendto(msgpack.packb(query), (to, PORT))
    while True:
        for sock in select.select(sockets, [], [])[0]:
            data, sender = sock.recvfrom(65535)
            message = msgpack.unpackb(data, strict_map_key=False)
            if message.get("y") == "q":
                reply = {"id": own_id, "token": b"token", **nodes}
                answer = {"r": reply, "t": message["t"], "v": "RNG1", "y": "r"}
                sock.sendto(msgpack.packb(answer), sender)


def _packed(ip: str) -> bytes:
    return ipaddress.ip_address(ip).packed + PORT.to_bytes(2, "big")


_FAMILIES = (socket.AF_INET, socket.AF_INET6)

if __name__ == "__main__":
    main((sys.argv[1], sys.argv[2]), (sys.argv[3], sys.argv[4]))
