"""Tests the way from this machine to a lanjami box: python3 doctor.py 10.0.0.5

One file that needs nothing but Python 3.9 or newer, so that a box can hand it to any computer on
its LAN. It asks as a Jami client asks, prints what it finds and what to do, and sends nothing to
any address outside of local networks. `--peer ADDRESS` names another device of the same LAN, to
see whether the network lets clients reach each other. Ends with 0 when all is well, 1 when there
is a fault, 3 when no box answers.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import hmac
import http.client
import ipaddress
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

DISCOVERY_PORT = 8888
GROUP = "239.192.0.1"
QUERY = b"\xa1q"
HTTP_PORTS = (80, 8080)  # the box that hands this file out puts another port of its own here
DHT_PORT = 4222
TURN_PORT = 3478
TURN_USER = "ring"  # name and password that unmodified clients know
LISTEN_S = 3.0
RESEND_S = 0.4

WELL, FAULT, SKIPPED = "well", "fault", "skipped"
ALL_WELL, A_FAULT, NOT_RUNNING, USAGE = 0, 1, 3, 64

LOCAL_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"),
        *("fc00::/7", "fe80::/10", "::1/128"),
    )
)


class Finding:
    """What a check found, as `lanjami doctor` has it."""

    def __init__(self, name: str, verdict: str, meaning: str, advice: str = "") -> None:
        self.name, self.verdict, self.meaning, self.advice = name, verdict, meaning, advice

    def as_json(self) -> dict[str, str]:
        return {
            "name": self.name,
            "verdict": self.verdict,
            "meaning": self.meaning,
            "advice": self.advice,
        }


def examine(box: str, port: int | None = None, peer: str | None = None) -> list[Finding]:
    """All findings on the way to the box at an address, and to another device; `port` is the box's
    for HTTP where it is known."""
    served = Served(box, HTTP_PORTS if port is None else (port,))
    heard = Discovery(box, served.nodes)
    ports = served.dht or heard.ports or [DHT_PORT]
    return [
        served.finding(),
        *heard.findings(),
        check_isolation(peer, heard.others),
        *(check_dht(box, number) for number in sorted(set(ports))),
        *([check_names(box, served.port)] if served.port is not None else []),
        *(
            [check_proxy(box, served.port, is_there=served.proxy)]
            if served.port is not None
            else []
        ),
        check_turn(box, served.turn),
    ]


# --- HTTP: what is served, names and proxy ------------------------------------------------------


class Served:
    """What the box says that it serves, and the port at which it says so; `refused` is why it
    does not."""

    def __init__(self, box: str, ports: Sequence[int]) -> None:
        self.box = box
        self.port: int | None = None
        self.refused = ""
        self.dht: list[int] = []
        self.nodes: set[str] = set()
        self.proxy = True
        self.turn: int | None = TURN_PORT
        for port in ports:
            status, told = get(box, port, "/doctor.json")
            if status == 200 and isinstance(told, dict) and "lanjami" in told:
                self.port = port
                self._read(told)
                return
            why = f"HTTP {status}, which is no lanjami's answer" if status else told
            self.refused += f"{'; ' if self.refused else ''}port {port}: {why}"

    def _read(self, told: dict[str, Any]) -> None:
        self.dht = [port for port in _list(told.get("dht")) if isinstance(port, int)]
        self.nodes = {str(node) for node in _list(told.get("nodes"))}
        self.proxy = bool(told.get("proxy"))
        turn = told.get("turn")
        self.turn = turn if isinstance(turn, int) else None

    def finding(self) -> Finding:
        if self.port is not None:
            where = _host_port(self.box, self.port)
            return Finding("reachable", WELL, f"the box answers at http://{where}")
        return Finding(
            "reachable",
            FAULT,
            f"no lanjami answers at {self.box} ({self.refused})",
            "check the address on the box (`lanjami status`), with :PORT behind it where that is "
            "not 80 or 8080, and that this device is in the same network; on the box, `lanjami "
            "doctor` looks for a firewall",
        )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def get(host: str, port: int, path: str) -> tuple[int, Any]:
    """The status and the JSON of an answer, or 0 and why there is none."""
    connection = http.client.HTTPConnection(host, port, timeout=LISTEN_S)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        body = answer.read(1 << 20)
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__
    finally:
        connection.close()
    try:
        return answer.status, json.loads(body)
    except ValueError:
        return answer.status, None


def check_names(box: str, port: int) -> Finding:
    status, told = get(box, port, "/addr/" + os.urandom(20).hex())
    if status in (200, 404):
        return Finding("names", WELL, "names are looked up")
    return Finding(
        "names",
        FAULT,
        f"names are not answered ({_wrong(status, told)})",
        "see `lanjami status` on the box",
    )


def check_proxy(box: str, port: int, *, is_there: bool) -> Finding:
    if not is_there:
        return Finding("proxy", SKIPPED, "the box has no proxy: it comes with dhtnode-python")
    status, told = get(box, port, "/node/info")
    if status == 200 and isinstance(told, dict) and "node_id" in told:
        return Finding("proxy", WELL, "the DHT proxy for phones answers")
    return Finding(
        "proxy",
        FAULT,
        f"the DHT proxy does not answer ({_wrong(status, told)})",
        "switch the proxy off in Jami, or see `lanjami status` on the box: it runs with "
        "dhtnode-python",
    )


def _wrong(status: int, told: Any) -> str:
    if not status:
        return str(told)
    error = told.get("error") if isinstance(told, dict) else None
    return f"HTTP {status}: {error}" if error else f"HTTP {status}"


# --- discovery ----------------------------------------------------------------------------------


class Discovery:
    """What is heard by each way of looking for a bootstrap: which kinds were answered by the box,
    the ports of its DHT nodes, and who else answered. The box may answer from another of its
    addresses, so it is known by the ids of its `nodes`."""

    def __init__(self, box: str, nodes: set[str]) -> None:
        self.box = box
        self.nodes = set(nodes)
        self.answered: dict[str, bool | None] = {}
        self.ports: list[int] = []
        self.others: list[str] = []
        self.no_way: set[str] = set()  # the kinds that this machine has no route for
        if ":" in box:
            return
        self._look("unicast", box)
        self._look("multicast", GROUP)
        self._look("broadcast", "255.255.255.255")

    def _look(self, kind: str, target: str) -> None:
        with contextlib.ExitStack() as opened:
            asker = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            asker.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            asker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            ends_at = time.monotonic() + LISTEN_S
            is_heard = False
            while time.monotonic() < ends_at and not (is_heard and kind == "unicast"):
                try:
                    asker.sendto(QUERY, (target, DISCOVERY_PORT))
                except OSError as error:
                    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
                        self.no_way.add(kind)
                is_heard |= self._hear(kind, asker, min(ends_at, time.monotonic() + RESEND_S))
            self.answered[kind] = is_heard

    def _hear(self, kind: str, asker: socket.socket, until: float) -> bool:
        is_heard = False
        while (left_s := until - time.monotonic()) > 0:
            asker.settimeout(left_s)
            try:
                data, (address, _) = asker.recvfrom(65535)
            except OSError:
                if time.monotonic() < until:
                    time.sleep(0.02)  # refused at once: the next question may not be
                continue
            beacon = read_beacon(data)
            if beacon is None:
                continue
            if kind == "unicast" or address == self.box or beacon[0].hex() in self.nodes:
                is_heard = True
                self.nodes.add(beacon[0].hex())
                self.ports += [beacon[1]] if beacon[1] not in self.ports else []
            elif address not in self.others:
                self.others.append(address)
        return is_heard

    def findings(self) -> list[Finding]:
        if not self.answered:
            return [Finding("discovery", SKIPPED, "tested at the box's IPv4 address only")]
        return [
            Finding("route", FAULT, _NO_ROUTE, _ROUTE_ADVICE)
            if "multicast" in self.no_way
            else Finding("route", WELL, "multicast has a way out of this machine"),
            *(self._finding(kind) for kind in self.answered),
        ]

    def _finding(self, kind: str) -> Finding:
        name = "discovery-" + kind
        if self.answered[kind]:
            return Finding(name, WELL, f"the box answers a question by {kind}")
        if kind in self.no_way and kind != "unicast":
            return Finding(name, SKIPPED, "this machine has no way to ask by it: see `route`")
        return Finding(name, FAULT, f"a question by {kind} is not answered", _UNANSWERED[kind])


_NO_ROUTE = (
    "this machine has no route that covers 239.192.0.1, usually the default route: Jami's "
    "discovery neither asks nor hears"
)
_ROUTE_ADVICE = (
    "give it a gateway (DHCP does; the router need not reach the Internet), or type the box's "
    "address into Jami as bootstrap, which needs none"
)
_UNANSWERED = {
    "unicast": "the box does not hear or does not run discovery: on it, `lanjami doctor`; here, "
    "look for a firewall that drops UDP 8888",
    "multicast": "the access point or switch drops multicast, or this machine's firewall does: "
    "switch off IGMP snooping, 'multicast filter' or 'guest network' there; or type the box's "
    "address into Jami as bootstrap",
    "broadcast": "the access point or a firewall drops broadcasts: where multicast works, "
    "that harms nobody; else type the box's address into Jami as bootstrap",
}


def read_beacon(data: bytes) -> tuple[bytes, int, int] | None:
    """The DHT node that a datagram publishes: id, port and network."""
    try:
        message, _ = unpack(data)
        node_id, port, network = message["dht"]
    except (ValueError, KeyError, TypeError, IndexError, struct.error, RecursionError):
        return None
    if isinstance(node_id, bytes) and len(node_id) == 20 and isinstance(port, int):
        return node_id, port, network
    return None


# --- other clients ------------------------------------------------------------------------------


def check_isolation(peer: str | None, answered: list[str]) -> Finding:
    """Whether the network lets this client reach another one."""
    if peer is None:
        if answered:
            return Finding("isolation", WELL, f"another client answers: {answered[0]}")
        return Finding(
            "isolation",
            SKIPPED,
            "no other device answered",
            "name one that is switched on in the same network: --peer ADDRESS",
        )
    if answers(peer):
        return Finding("isolation", WELL, f"{peer} is reached")
    if is_neighbour(peer):
        return Finding(
            "isolation",
            SKIPPED,
            f"{peer} is there, but answers nothing: its firewall drops everything, or the access "
            "point speaks for it (proxy ARP) and keeps its clients apart",
            "name one that has no such firewall: --peer ADDRESS",
        )
    return Finding(
        "isolation",
        FAULT,
        f"{peer} is not reached, though the network may let both reach the box: the access point "
        "keeps its clients apart, or that device's firewall drops everything",
        "switch off 'client isolation', 'AP isolation' or 'guest network' on the access point; "
        "until then, calls pass by the box's relay (docs/turn.md)",
    )


def answers(peer: str) -> bool:
    """Whether a device answers at all: that nothing listens on a port is an answer, too."""
    family = socket.AF_INET6 if ":" in peer else socket.AF_INET
    for port in (9, 445):
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(LISTEN_S)
            try:
                sock.connect((peer, port))
                return True
            except ConnectionRefusedError:
                return True
            except OSError:
                continue
    return False


def is_neighbour(peer: str) -> bool:
    """Whether somebody says what its hardware address is, now that it was written to (Linux).

    An address that the kernel remembers is asked for again five seconds after the first datagram,
    and forgotten three or six seconds later (net/core/neighbour.c, neigh_timer_handler)."""
    ends_at = time.monotonic() + 2 * LISTEN_S
    while (state := neighbour_state(peer)) & _UNSURE and time.monotonic() < ends_at:
        time.sleep(0.2)  # the kernel tells it only to who asks
    return state == _REACHABLE


# Linux include/uapi/linux/neighbour.h and rtnetlink.h
_REACHABLE, _UNSURE = 0x02, 0x01 | 0x04 | 0x08 | 0x10  # incomplete, stale, delay, probe
_GET_NEIGHBOURS, _NEIGHBOUR, _DUMP = 30, 28, 0x301
_HEADER, _NEIGHBOUR_HEADER = struct.Struct("=IHHII"), struct.Struct("=BxxxiHBB")


def neighbour_state(peer: str) -> int:
    """What the kernel knows of a neighbour; 0 for nothing, or where it does not tell."""
    if not hasattr(socket, "AF_NETLINK"):
        return 0
    wanted = ipaddress.ip_address(peer.partition("%")[0])
    family = socket.AF_INET6 if wanted.version == 6 else socket.AF_INET
    about = _NEIGHBOUR_HEADER.pack(family, 0, 0, 0, 0)
    asked = _HEADER.pack(_HEADER.size + len(about), _GET_NEIGHBOURS, _DUMP, 1, 0) + about
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.settimeout(LISTEN_S)
        try:
            sock.send(asked)
            while True:
                for kind, body in _messages(sock.recv(1 << 17)):
                    if kind != _NEIGHBOUR:
                        return 0  # the end
                    state = _NEIGHBOUR_HEADER.unpack_from(body)[2]
                    if _destination(body[_NEIGHBOUR_HEADER.size :]) == wanted.packed:
                        return int(state)
        except OSError:
            return 0


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + length]
        at += max(length + -length % 4, _HEADER.size)


def _destination(attributes: bytes) -> bytes:
    at = 0
    while at + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, at)
        if kind == 1:  # NDA_DST
            return attributes[at + 4 : at + length]
        at += max(length + -length % 4, 4)
    return b""


# --- the DHT ------------------------------------------------------------------------------------


def check_dht(box: str, port: int) -> Finding:
    name, at = f"dht-{port}", box
    try:
        try:
            put_and_get(box, port)
        except socket.timeout:
            at = answering(box, port)
            put_and_get(at, port)
    except ConnectionRefusedError:
        told = "nothing listens there"
    except socket.timeout:
        told = "no answer"
    except OSError as error:
        told = str(error)
    else:
        return Finding(name, WELL, f"a value was put and came back at {_host_port(at, port)}")
    return Finding(
        name,
        FAULT,
        f"no value could be put and got back at {_host_port(box, port)} ({told})",
        f"a firewall on the way drops UDP {port}, or the node is down: on the box, "
        "`lanjami doctor`",
    )


def put_and_get(box: str, port: int) -> None:
    """Put a value into a DHT node and get it back, as a client, under a key near the node's id
    that nobody can guess."""
    asker, content = os.urandom(20), b"lanjami doctor " + os.urandom(20)
    family = socket.AF_INET6 if ":" in box else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:  # one, as the token is for its port
        sock.connect((box, port))

        def ask(what: str, **arguments: Any) -> dict[str, Any]:
            return ask_node(sock, what, {"id": asker, **arguments})

        node_id = ask("find", target=os.urandom(20), w=[2])["id"]
        key = node_id[:12] + os.urandom(8)
        token = ask("get", h=key, w=[2]).get("token", b"")
        value = {"id": 1, "dat": {"body": {"type": 0, "data": content}}}
        ask("put", h=key, token=token, values=[value])
        for got in ask("get", h=key, w=[2]).get("values", []):
            with contextlib.suppress(KeyError, TypeError):
                if got["dat"]["body"]["data"] == content:
                    return
    raise OSError("it does not keep what it is given")


def answering(box: str, port: int) -> str:
    """The other address from which a node answers that is asked at one of a box with several: a
    client takes it from there; socket.timeout."""
    transaction, query = _query("find", {"id": os.urandom(20), "target": os.urandom(20), "w": [2]})
    family = socket.AF_INET6 if ":" in box else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(RESEND_S)
        ends_at = time.monotonic() + LISTEN_S
        while time.monotonic() < ends_at:
            sock.sendto(query, (box, port))
            with contextlib.suppress(socket.timeout):
                data, sender = sock.recvfrom(65535)
                if _reply(data, transaction) is not None and sender[1] == port:
                    return str(sender[0])
    raise socket.timeout


def _query(what: str, arguments: dict[str, Any]) -> tuple[int, bytes]:
    transaction = int.from_bytes(os.urandom(4), "big") >> 2
    query = {"a": arguments, "q": what, "s": True, "t": transaction, "v": "lj", "y": "q"}
    return transaction, pack(query)


def ask_node(sock: socket.socket, what: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A node's reply to a query, which is sent again as it may be lost; socket.timeout, OSError."""
    transaction, query = _query(what, arguments)
    ends_at = time.monotonic() + LISTEN_S
    while time.monotonic() < ends_at:
        sock.send(query)
        resend_at = time.monotonic() + RESEND_S
        while (left_s := resend_at - time.monotonic()) > 0:
            sock.settimeout(left_s)
            try:
                reply = _reply(sock.recv(65535), transaction)
            except socket.timeout:
                break
            if reply is not None:
                return reply
    raise socket.timeout


def _reply(data: bytes, transaction: int) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError, IndexError, struct.error, RecursionError):
        message, _ = unpack(data)
        if isinstance(message, dict) and (message.get("y"), message.get("t")) == ("r", transaction):
            reply = message.get("r")
            if isinstance(reply, dict) and isinstance(reply.get("id"), bytes):
                return reply
    return None


# --- the relay ----------------------------------------------------------------------------------


def check_turn(box: str, port: int | None) -> Finding:
    if port is None:
        return Finding("turn", SKIPPED, "the box serves no relay (docs/turn.md)")
    try:
        relay(box, port)
    except ConnectionRefusedError:
        return Finding("turn", SKIPPED, "the box serves no relay (docs/turn.md)")
    except socket.timeout:
        told = "no answer"
    except (OSError, ValueError) as error:
        told = str(error)
    else:
        return Finding("turn", WELL, "a relay was given and taken back")
    return Finding(
        "turn",
        FAULT,
        f"no relay is given ({told}): clients that cannot reach each other cannot call",
        f"a firewall on the way drops UDP {port}, or the relay is down: on the box, "
        "`lanjami doctor`",
    )


def relay(box: str, port: int) -> None:
    """Ask for a relay as an unmodified client does, and give it back; the port of the relay that
    was asked stays the same all the while, as it is what the relay is known by."""
    family = socket.AF_INET6 if ":" in box else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((box, port))
        udp = [(0x0019, bytes([17, 0, 0, 0]))]
        kind, attributes = _stun(sock, 0x003, udp)
        if kind != 0x113 or 0x0015 not in attributes:
            raise ValueError("it asks for no password")
        realm = attributes.get(0x0014, b"")
        user = TURN_USER.encode()
        key = _key(user, realm)
        known = [(0x0006, user), (0x0014, realm), (0x0015, attributes[0x0015])]
        kind, attributes = _stun(sock, 0x003, [*udp, *known], key)
        if kind != 0x103:
            code = attributes.get(0x0009, b"\0\0\0\0")
            number = (code[2] & 7) * 100 + code[3]
            if number in (486, 508):
                raise ValueError("all relays are given")
            raise ValueError(f"error {number}")
        _stun(sock, 0x004, [(0x000D, bytes(4)), *known], key)


def _key(user: bytes, realm: bytes) -> bytes:
    """As the protocol has it (RFC 8489, 9.2.2); the password is the name."""
    return hashlib.md5(user + b":" + realm + b":" + user, usedforsecurity=False).digest()


def _stun(
    sock: socket.socket, method: int, attributes: list[tuple[int, bytes]], key: bytes = b""
) -> tuple[int, dict[int, bytes]]:
    """The type and the attributes of the answer to a request of STUN (RFC 8489, 5)."""
    transaction = os.urandom(12)
    body = b"".join(
        struct.pack("!HH", number, len(content)) + content + bytes(-len(content) % 4)
        for number, content in attributes
    )
    length = len(body) + (24 if key else 0)
    request = struct.pack("!HHI", method, length, 0x2112A442) + transaction + body
    if key:
        request += struct.pack("!HH", 0x0008, 20) + hmac.new(key, request, "sha1").digest()
    ends_at = time.monotonic() + LISTEN_S
    while time.monotonic() < ends_at:
        sock.send(request)
        sock.settimeout(RESEND_S)
        with contextlib.suppress(socket.timeout):
            data = sock.recv(65535)
            if data[8:20] == transaction:
                return struct.unpack("!H", data[:2])[0], _attributes(data)
    raise socket.timeout


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 20
    while at + 4 <= len(data):
        number, size = struct.unpack_from("!HH", data, at)
        found.setdefault(number, data[at + 4 : at + 4 + size])
        at += 4 + size + -size % 4
    return found


# --- MessagePack, as much as the DHT needs ------------------------------------------------------


def pack(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return bytes([value]) if value < 0x80 else b"\xce" + struct.pack("!I", value)
    if isinstance(value, bytes):
        return b"\xc5" + struct.pack("!H", len(value)) + value
    if isinstance(value, str):
        return b"\xda" + struct.pack("!H", len(value.encode())) + value.encode()
    if isinstance(value, list):
        return b"\xdc" + struct.pack("!H", len(value)) + b"".join(map(pack, value))
    pairs = b"".join(pack(key) + pack(member) for key, member in value.items())
    return b"\xde" + struct.pack("!H", len(value)) + pairs


_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {0xCA: "!f", 0xCB: "!d", 0xCC: "!B", 0xCD: "!H", 0xCE: "!I", 0xCF: "!Q"}
_NUMBERS.update({0xD0: "!b", 0xD1: "!h", 0xD2: "!i", 0xD3: "!q"})
_LENGTHS = {0xC4: "!B", 0xC5: "!H", 0xC6: "!I", 0xD9: "!B", 0xDA: "!H", 0xDB: "!I"}
_LENGTHS.update({0xDC: "!H", 0xDD: "!I", 0xDE: "!H", 0xDF: "!I"})


def unpack(data: bytes, at: int = 0) -> tuple[Any, int]:
    """The object at a place, and where the next begins; ValueError, IndexError, struct.error."""
    first = data[at]
    at += 1
    if first < 0x80 or first >= 0xE0:
        return (first if first < 0x80 else first - 0x100), at
    if first in _CONSTANTS:
        return _CONSTANTS[first], at
    if first in _NUMBERS:
        (number,) = struct.unpack_from(_NUMBERS[first], data, at)
        return number, at + struct.calcsize(_NUMBERS[first])
    if first in _LENGTHS:
        (length,) = struct.unpack_from(_LENGTHS[first], data, at)
        return _unpack_long(first, data, at + struct.calcsize(_LENGTHS[first]), length)
    return _unpack_long(first, data, at, first & (0x1F if 0xA0 <= first < 0xC0 else 0x0F))


def _unpack_long(first: int, data: bytes, at: int, length: int) -> tuple[Any, int]:
    if 0x80 <= first < 0x90 or first in (0xDE, 0xDF):
        return _unpack_map(data, at, length)
    if 0x90 <= first < 0xA0 or first in (0xDC, 0xDD):
        return _unpack_array(data, at, length)
    if first in (0xC4, 0xC5, 0xC6):
        return _slice(data, at, length), at + length
    if 0xA0 <= first < 0xC0 or first in (0xD9, 0xDA, 0xDB):
        return _slice(data, at, length).decode("utf-8", "replace"), at + length
    raise ValueError("not MessagePack as the DHT has it")


def _slice(data: bytes, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise ValueError("cut off")
    return data[at : at + length]


def _unpack_array(data: bytes, at: int, length: int) -> tuple[Any, int]:
    found = []
    for _ in range(length):
        value, at = unpack(data, at)
        found.append(value)
    return found, at


def _unpack_map(data: bytes, at: int, length: int) -> tuple[Any, int]:
    found = {}
    for _ in range(length):
        key, at = unpack(data, at)
        value, at = unpack(data, at)
        if isinstance(key, (list, dict)):
            raise ValueError("a key that is none")
        found[key] = value
    return found, at


# --- the program --------------------------------------------------------------------------------


def local_address(host: str) -> str:
    """The address of a host, IPv4 where it has one; ValueError where it is not of a local network:
    nothing is sent anywhere else, and no other name is asked of a DNS server."""
    if not host.endswith((".local", ".lan")):
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_DGRAM)
    every = [entry[4][0] for entry in sorted(found, key=lambda e: e[0] != socket.AF_INET)]
    for text in every:
        ip = ipaddress.ip_address(str(text).partition("%")[0])
        if any(ip in network for network in LOCAL_NETWORKS):
            return str(text)
    raise ValueError(f"{host} is at {every[0]}, which is outside of the local networks")


def split_port(text: str) -> tuple[str, int | None]:
    """The host and the port of "10.0.0.5:8000", "[fd00::5]:8000" or, without, "10.0.0.5" or
    "fd00::5"; ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        return text, None
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"{port or 'nothing'} is no port")
    return host, int(port)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Test the way from this machine to a lanjami box.",
        epilog="Ends with 0 when all is well, 1 when there is a fault, 3 when no box answers.",
    )
    parser.add_argument("box", help="its address, such as 10.0.0.5 or 10.0.0.5:8000")
    parser.add_argument("--peer", help="another device of this LAN, to see whether it is reached")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    given = parser.parse_args(words)
    try:
        host, port = split_port(given.box)
        box = local_address(host)
        peer = local_address(given.peer) if given.peer else None
    except (OSError, ValueError) as error:
        sys.stderr.write(f"doctor: {error}\n")
        return USAGE
    found = examine(box, port, peer)
    sys.stdout.write(_as_json(found) if given.json else _as_table(found))
    if _is_silent(found):
        return NOT_RUNNING
    return A_FAULT if any(finding.verdict == FAULT for finding in found) else ALL_WELL


def _is_silent(found: list[Finding]) -> bool:
    """Whether nothing of the box answered at all."""
    its_own = ("reachable", "discovery-", "dht-", "turn")
    return not any(f.verdict == WELL and f.name.startswith(its_own) for f in found)


def _as_json(found: list[Finding]) -> str:
    return json.dumps({"findings": [finding.as_json() for finding in found]}, indent=2) + "\n"


def _as_table(found: list[Finding]) -> str:
    marks = {WELL: "ok", FAULT: "FAULT", SKIPPED: "-"}
    width = max(len(finding.name) for finding in found)
    lines = []
    for finding in found:
        meaning = "".join(c if c.isprintable() else repr(c)[1:-1] for c in finding.meaning)
        lines.append(f"{marks[finding.verdict]:5}  {finding.name:{width}}  {meaning}")
        if finding.advice:
            lines.append(f"{'':5}  {'':{width}}  -> {finding.advice}")
    faults = sum(finding.verdict == FAULT for finding in found)
    end = "All is well." if not faults else f"{faults} fault{'s' * (faults > 1)}."
    return "\n".join([*lines, "", end, ""])


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


if __name__ == "__main__":
    sys.exit(main())
