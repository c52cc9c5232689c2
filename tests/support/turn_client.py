"""A client of a TURN server, as a program that runs on a host of the lab:
`python -m tests.support.turn_client SERVER USER PASSWORD ACTION …`, which prints JSON.

    permit PEER …        ask for permissions, one request each: the error codes (0: given)
    send PEER PORT       send a datagram through a relay: the code of the permission
    connect PEER PORT    have the relay connect by TCP (RFC 6062): the error code
    hoard NUMBER [hold]  ask for so many relays at once: the error codes; keep them for a minute
    meet                 send from one relay to another: what came
"""

import json
import secrets
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from ipaddress import ip_address

from lanjami.turn import stun

CREATE_PERMISSION, CONNECT, SEND, DATA = 0x008, 0x00A, 0x006, 0x007
XOR_PEER_ADDRESS, CONTENT = 0x0012, 0x0013
TCP = 6
PORT = 3478
WITHIN_S = 5.0


@dataclass
class Relay:
    """A relay that a server gave; `code` says why not."""

    server: str
    user: str
    password: str
    transport: int = stun.UDP
    code: int = 0
    address: tuple[str, int] = ("", 0)
    sock: socket.socket = field(init=False)
    credentials: stun.Credentials = field(init=False)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.server else socket.AF_INET
        kind = socket.SOCK_STREAM if self.transport == TCP else socket.SOCK_DGRAM
        self.sock = socket.socket(family, kind)
        self.sock.settimeout(WITHIN_S)
        self.sock.connect((self.server, PORT))
        version = 2 if ":" in self.server else 1
        wanted: dict[int, bytes] = {
            stun.Attribute.REQUESTED_TRANSPORT: bytes([self.transport, 0, 0, 0]),
            0x0017: bytes([version, 0, 0, 0]),  # REQUESTED-ADDRESS-FAMILY
        }
        challenge = self._ask(stun.Method.ALLOCATE, wanted, None)
        realm = challenge.attributes[stun.Attribute.REALM].decode()
        self.credentials = stun.Credentials(
            self.user,
            realm,
            stun.key(self.user, realm, self.password),
            challenge.attributes[stun.Attribute.NONCE],
        )
        given = self.ask(stun.Method.ALLOCATE, wanted)
        self.code = given.error
        if not self.code:
            content = given.attributes[stun.Attribute.XOR_RELAYED_ADDRESS]
            ip, port = stun.xor_address(content, given.transaction)
            self.address = str(ip), port

    def ask(self, method: int, attributes: dict[int, bytes]) -> stun.Message:
        return self._ask(method, attributes, self.credentials)

    def permit(self, peer: str) -> int:
        transaction = secrets.token_bytes(12)
        attributes = {XOR_PEER_ADDRESS: _disguised(peer, 0, transaction)}
        return self._ask(CREATE_PERMISSION, attributes, self.credentials, transaction).error

    def connect(self, peer: str, port: int) -> int:
        transaction = secrets.token_bytes(12)
        attributes = {XOR_PEER_ADDRESS: _disguised(peer, port, transaction)}
        return self._ask(CONNECT, attributes, self.credentials, transaction).error

    def send(self, peer: str, port: int, content: bytes) -> None:
        transaction = secrets.token_bytes(12)
        attributes = {XOR_PEER_ADDRESS: _disguised(peer, port, transaction), CONTENT: content}
        indication = stun.request(SEND | stun.Class.INDICATION, transaction, attributes)
        self.sock.sendall(indication)

    def receive(self) -> bytes:
        """The content of the next datagram that came through the relay."""
        while (message := stun.parse(self._read())).method != DATA:
            pass
        return message.attributes[CONTENT]

    def _ask(
        self,
        method: int,
        attributes: dict[int, bytes],
        credentials: stun.Credentials | None,
        transaction: bytes | None = None,
    ) -> stun.Message:
        asked = stun.request(
            method, transaction or secrets.token_bytes(12), attributes, credentials=credentials
        )
        self.sock.sendall(asked)
        while not stun.answers(asked, answer := self._read()):
            pass
        return stun.parse(answer)

    def _read(self) -> bytes:
        if self.transport == stun.UDP:
            return self.sock.recv(65535)
        header = self._exactly(stun.HEADER.size)
        return header + self._exactly(int.from_bytes(header[2:4], "big"))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += (got := self.sock.recv(size - len(data)))
            if not got:
                raise ConnectionError("the server closed")
        return data


def _disguised(peer: str, port: int, transaction: bytes) -> bytes:
    ip = ip_address(peer)
    mask = struct.pack("!I12s", stun.COOKIE, transaction)
    masked = bytes(a ^ b for a, b in zip(ip.packed, mask, strict=False))
    return (
        bytes([0, 1 if ip.version == 4 else 2])
        + struct.pack("!H", port ^ (stun.COOKIE >> 16))
        + masked
    )


def main(server: str, user: str, password: str, action: str, *words: str) -> object:
    match action:
        case "permit":
            relay = Relay(server, user, password)
            return relay.code or [relay.permit(peer) for peer in words]
        case "send":
            relay = Relay(server, user, password)
            code = relay.permit(words[0])
            relay.send(words[0], int(words[1]), b"hello")
            return code
        case "connect":
            relay = Relay(server, user, password, TCP)
            return relay.permit(words[0]) or relay.connect(words[0], int(words[1]))
        case "hoard":
            relays = [Relay(server, user, password) for _ in range(int(words[0]))]
            ends_at = time.monotonic() + (60 if "hold" in words else 0)  # longer than any story
            while time.monotonic() < ends_at:
                time.sleep(0.5)  # and then take also what others gave back
                relays = [r if r.code == 0 else Relay(server, user, password) for r in relays]
            return [relay.code for relay in relays]
        case "meet":
            one, other = (Relay(server, user, password) for _ in range(2))
            for a, b in ((one, other), (other, one)):
                assert a.permit(b.address[0]) == 0
            one.send(*other.address, b"hello")
            return other.receive().decode()
    raise ValueError(action)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(*sys.argv[1:])))
