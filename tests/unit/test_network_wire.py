"""The questions that the box asks as a client would, and what it makes of any answer."""

import struct
from contextlib import suppress
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.errors import WireError
from lanjami.network import dhcp_wire, dns_wire, ntp_wire

MAC, TRANSACTION = bytes.fromhex("02aabbccddee"), 0x1234
SERVER = b"\x36\x04\x0a\x4d\x00\xfe"
OFFER = b"\x35\x01\x02"


def _reply(options: bytes, *, mac: bytes = MAC, transaction: int = TRANSACTION) -> bytes:
    question = bytearray(dhcp_wire.discover(mac=mac, transaction=transaction)[:240])
    question[0] = 2
    question[16:20] = IPv4Address("10.77.0.50").packed
    return bytes(question) + options


def _read(datagram: bytes) -> dhcp_wire.Offer | None:
    return dhcp_wire.read_offer(datagram, mac=MAC, transaction=TRANSACTION)


def test_a_question_for_an_address_is_as_long_as_old_servers_want() -> None:
    asked = dhcp_wire.discover(mac=MAC, transaction=TRANSACTION)
    assert len(asked) == 300
    assert asked[:4] == bytes((1, 1, 6, 0))
    assert asked[10:12] == b"\x80\0"
    assert asked[28:34] == MAC
    assert asked[236:244] == bytes.fromhex("63825363350101ff")


@pytest.mark.parametrize("tail", [b"\xff", b"", b"\0\0\xff", b"\xff\x35\x01\x05"])
def test_an_offer_names_its_server(tail: bytes) -> None:
    expected = dhcp_wire.Offer(IPv4Address("10.77.0.254"), IPv4Address("10.77.0.50"))
    assert _read(_reply(b"\0" + OFFER + SERVER + tail)) == expected


@pytest.mark.parametrize(
    "datagram",
    [
        dhcp_wire.discover(mac=MAC, transaction=TRANSACTION),
        _reply(OFFER + SERVER, mac=bytes(6)),
        _reply(OFFER + SERVER, transaction=1),
        _reply(b"\x35\x01\x05" + SERVER),
        _reply(SERVER),
    ],
    ids=["question", "another station", "another question", "acknowledgement", "no type"],
)
def test_what_is_no_offer_to_us_is_none(datagram: bytes) -> None:
    assert _read(datagram) is None


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        _reply(b"")[:239],
        _reply(OFFER),
        _reply(OFFER + b"\x36\x03\x0a\x4d\x00"),
        _reply(OFFER + b"\x36\x04\x0a\x4d"),
        _reply(OFFER + b"\x36"),
        _reply(OFFER + SERVER + b"\x0c\x03ab"),
        _reply(OFFER + SERVER).replace(b"\x63\x82\x53\x63", bytes(4)),
    ],
)
def test_a_broken_offer_is_nonsense(datagram: bytes) -> None:
    with pytest.raises(WireError):
        _read(datagram)


def _dns(*, id: int = 7, flags: int = 0x8180, answers: bytes = b"", count: int = 0) -> bytes:
    question = dns_wire.ask("lanjami.lan", id=id)[12:]
    return struct.pack("!6H", id, flags, 1, count, 0, 0) + question + answers


A_RECORD = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes((10, 77, 0, 1))


def test_a_question_for_a_name_is_written_as_labels() -> None:
    asked = dns_wire.ask("lanjami.lan", id=7)
    assert asked == b"\0\7\1\0\0\1\0\0\0\0\0\0\7lanjami\3lan\0\0\1\0\1"


def test_an_answer_has_a_code_and_addresses() -> None:
    mail = b"\1a\0" + struct.pack("!HHIH", 15, 1, 60, 4) + bytes(4)
    told = dns_wire.read(_dns(answers=mail + A_RECORD, count=2), id=7)
    assert told == dns_wire.Answer(0, (IPv4Address("10.77.0.1"),))
    assert dns_wire.read(_dns(flags=0x8183), id=7) == dns_wire.Answer(dns_wire.NXDOMAIN, ())


def test_an_answer_to_another_question_is_none() -> None:
    assert dns_wire.read(_dns(), id=8) is None
    assert dns_wire.read(_dns(flags=0x0100), id=7) is None


@pytest.mark.parametrize("cut", [0, 11, 13, 20, 28, 35, 42])
def test_a_cut_answer_is_nonsense(cut: int) -> None:
    with pytest.raises(WireError):
        dns_wire.read(_dns(answers=A_RECORD, count=1)[:cut], id=7)


TOKEN = b"12345678"


def _ntp(seconds: int, *, flags: int = 0x24, stratum: int = 10, token: bytes = TOKEN) -> bytes:
    return (
        bytes((flags, stratum)).ljust(24, b"\0")
        + token
        + bytes(8)
        + struct.pack("!II", seconds, 1 << 31)
    )


def test_the_time_is_told_in_seconds_since_1970() -> None:
    assert ntp_wire.read(_ntp(2_208_988_800 + 1_700_000_000), token=TOKEN) == 1_700_000_000.5


def test_the_time_goes_on_after_february_2036() -> None:
    assert ntp_wire.read(_ntp(0), token=TOKEN) == (1 << 32) - 2_208_988_800 + 0.5


@pytest.mark.parametrize(
    "datagram",
    [
        _ntp(1 << 31, flags=0xE4),
        _ntp(1 << 31, stratum=0),
        _ntp(1 << 31, stratum=16),
        _ntp(1 << 31, flags=0x23),
        _ntp(1 << 31, token=bytes(8)),
    ],
    ids=["no clock", "kiss of death", "not synchronized", "question", "another question"],
)
def test_who_has_no_time_tells_none(datagram: bytes) -> None:
    assert ntp_wire.read(datagram, token=TOKEN) is None


def test_a_question_for_the_time_carries_its_token() -> None:
    asked = ntp_wire.ask(TOKEN)
    assert (len(asked), asked[0], asked[40:]) == (48, 0x23, TOKEN)


@given(st.binary(max_size=600))
def test_any_datagram_is_an_answer_or_nonsense(datagram: bytes) -> None:
    for read in (
        lambda: _read(datagram),
        lambda: _read(_reply(datagram)),
        lambda: dns_wire.read(datagram, id=7),
        lambda: dns_wire.read(_dns(answers=datagram, count=3), id=7),
        lambda: ntp_wire.read(datagram, token=TOKEN),
    ):
        with suppress(WireError):
            read()
