"""The datagrams of OpenDHT's peer discovery."""

import json
from contextlib import suppress
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.discovery.wire import (
    ID_LENGTH,
    LONGEST_NAME,
    QUERY,
    Beacon,
    Person,
    Publication,
    Query,
    pack,
    parse,
)
from lanjami.errors import WireError

NODE_ID = bytes.fromhex("0a3fa8803498cf2bf57762d7fe2e60db150e35f0")
ACCOUNT_ID = bytes(range(ID_LENGTH))

# Sent by OpenDHT 2.4.12 (Debian's jami-daemon) for this node, UDP port 4222, network 0.
RECORDED = bytes.fromhex("81a364687493c414" + NODE_ID.hex() + "cd107e00")

# Whatever MessagePack can carry, also as keys of maps.
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats()
    | st.text(max_size=30)
    | st.binary(max_size=30)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=9))
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_scalars, inner, max_size=4),
    max_leaves=12,
)
_payloads = _values | st.lists(_scalars, min_size=2, max_size=3)


def test_the_recorded_datagram_is_read() -> None:
    assert len(RECORDED) == 32
    assert parse(RECORDED) == Publication(Beacon(NODE_ID, 4222, 0), None)


def test_the_recorded_datagram_is_written_byte_for_byte() -> None:
    assert pack(Beacon(NODE_ID, 4222)) == RECORDED


def test_the_recorded_query_is_read_and_written() -> None:
    assert bytes.fromhex("a171") == QUERY
    assert parse(QUERY) == Query()


def test_what_a_real_client_sends_is_read_and_written_byte_for_byte() -> None:
    recorded = json.loads(Path("tests/data/discovery-datagrams.json").read_text())
    beacon = Beacon(bytes.fromhex(recorded["node_id"]), recorded["port"])
    person = Person(bytes.fromhex(recorded["account_id"]), recorded["display_name"])
    assert parse(bytes.fromhex(recorded["query"])) == Query()
    assert parse(bytes.fromhex(recorded["account_only"])) == Publication(None, person)
    both = bytes.fromhex(recorded["node_and_account"])
    assert parse(both) == Publication(beacon, person)
    # after the map's length, the client's own node stands as we would send it
    assert both[1:].startswith(pack(beacon)[1:])
    assert bytes.fromhex(recorded["query"]) == QUERY


@given(
    st.binary(min_size=20, max_size=20).filter(any),
    st.integers(1, 65535),
    st.integers(0, 2**32 - 1),
)
def test_a_beacon_survives_the_wire(node_id: bytes, port: int, network: int) -> None:
    beacon = Beacon(node_id, port, network)
    assert parse(pack(beacon)) == Publication(beacon, None)


def test_an_account_is_read_beside_a_node() -> None:
    datagram = msgpack.packb({"dht": [NODE_ID, 4222, 0], "jami": [ACCOUNT_ID, "Ann"]})
    assert parse(datagram) == Publication(Beacon(NODE_ID, 4222), Person(ACCOUNT_ID, "Ann"))


def test_an_account_may_come_alone() -> None:
    datagram = msgpack.packb({"jami": [ACCOUNT_ID, ""]})
    assert parse(datagram) == Publication(None, Person(ACCOUNT_ID, ""))


def test_a_display_name_is_shortened_and_made_fit_for_a_terminal() -> None:
    datagram = msgpack.packb({"jami": [ACCOUNT_ID, "\x1b[31m" + "ö" * 500 + "\n\u202e"]})
    message = parse(datagram)
    assert isinstance(message, Publication)
    assert message.person is not None
    name = message.person.display_name
    assert name == ("[31m" + "ö" * 500)[:LONGEST_NAME]


def test_unknown_services_are_passed_over() -> None:
    datagram = msgpack.packb({"radio": [1, 2], 7: "x", "dht": [NODE_ID, 4222, 0]})
    assert parse(datagram) == Publication(Beacon(NODE_ID, 4222), None)


def test_a_service_that_does_not_convert_leaves_the_others() -> None:
    datagram = msgpack.packb({"dht": "nonsense", "jami": [ACCOUNT_ID, "Ann"]})
    assert parse(datagram) == Publication(None, Person(ACCOUNT_ID, "Ann"))


def test_a_node_of_another_network_is_read() -> None:
    assert parse(pack(Beacon(NODE_ID, 4222, 7))) == Publication(Beacon(NODE_ID, 4222, 7), None)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        [NODE_ID, 4222],
        [NODE_ID, 4222, 0, 0],
        {"id": NODE_ID},
        [NODE_ID[:-1], 4222, 0],
        [NODE_ID + b"x", 4222, 0],
        [bytes(ID_LENGTH), 4222, 0],
        ["a" * ID_LENGTH, 4222, 0],
        [NODE_ID, 0, 0],
        [NODE_ID, 65536, 0],
        [NODE_ID, -1, 0],
        [NODE_ID, "4222", 0],
        [NODE_ID, 4222.0, 0],
        [NODE_ID, True, 0],
        [NODE_ID, 4222, -1],
        [NODE_ID, 4222, 2**32],
        [NODE_ID, 4222, False],
        [NODE_ID, 4222, None],
    ],
)
def test_what_is_no_node_is_refused(payload: object) -> None:
    with pytest.raises(WireError):
        parse(msgpack.packb({"dht": payload}))


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [ACCOUNT_ID],
        [ACCOUNT_ID, "Ann", 1],
        [ACCOUNT_ID[:-1], "Ann"],
        ["a" * ID_LENGTH, "Ann"],
        [ACCOUNT_ID, b"Ann"],
        [ACCOUNT_ID, 7],
    ],
)
def test_what_is_no_account_is_refused(payload: object) -> None:
    with pytest.raises(WireError):
        parse(msgpack.packb({"jami": payload}))


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"q",
        b"\xc4\x01q",  # binary, where a string is asked for
        msgpack.packb("Q"),
        msgpack.packb("qq"),
        msgpack.packb({}),
        msgpack.packb(["q"]),
        QUERY + QUERY,
        QUERY + b"\0",
        RECORDED[:-1],
        RECORDED + b"\0",
        b"\xa1\xff",  # not UTF-8
        b"\xc1",  # never used
        b"\x81\x90\x00",  # a map with an array for a key
        b"\x81\x80\x00",  # a map with a map for a key
        b"\xdd\xff\xff\xff\xff",  # an array of four billion
        b"\xdf\xff\xff\xff\xff",  # a map of four billion
        b"\xdb\xff\xff\xff\xff",  # a string of 4 GiB
        b"\x91" * 60000,  # deeper than any stack
        b"\x81\xa3dht" * 12000,
        b"\xd7\xff" + b"\xff" * 8,  # a time that is none
    ],
    ids=lambda datagram: datagram[:8].hex() + f"-{len(datagram)}",
)
def test_nonsense_is_refused(datagram: bytes) -> None:
    with pytest.raises(WireError):
        parse(datagram)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(datagram: bytes) -> None:
    with suppress(WireError):
        parse(datagram)


@given(st.data())
def test_a_datagram_damaged_in_one_byte_is_a_message_or_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(RECORDED) - 1))
    byte = data.draw(st.integers(0, 255))
    with suppress(WireError):
        parse(RECORDED[:at] + bytes([byte]) + RECORDED[at + 1 :])


@given(_values)
def test_any_value_is_a_message_or_refused(value: object) -> None:
    with suppress(WireError):
        parse(msgpack.packb(value))


@given(_payloads, _payloads)
def test_any_payload_is_a_message_or_refused(dht: object, jami: object) -> None:
    with suppress(WireError):
        message = parse(msgpack.packb({"dht": dht, "jami": jami}))
        assert isinstance(message, Publication)
        assert message.beacon is not None or message.person is not None
