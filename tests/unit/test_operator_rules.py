"""What a request and a password have to be."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.lan import Ip
from lanjami.status.operator import rules
from lanjami.status.operator.rules import (
    fault_of,
    is_from_own_page,
    is_own_host,
    is_same,
    source_of,
)

LAN, LOOPBACK = ip_address("10.0.0.5"), ip_address("127.0.0.1")
NAMES = {"lanjami.local", "lanjami.lan"}
ADDRESSES = {LAN, ip_address("fd00::5")}


@pytest.mark.parametrize(
    ("field", "visited", "is_own"),
    [
        ("10.0.0.5", LAN, True),
        ("10.0.0.5:8080", LAN, True),
        ("[fd00::5]", LAN, True),
        ("[fd00:0::5]:80", LAN, True),
        ("lanjami.local", LAN, True),
        ("LANJAMI.local.:80", LAN, True),
        ("lanjami.lan", LAN, True),
        ("localhost:8080", LOOPBACK, True),
        ("127.0.0.1", LOOPBACK, True),
        ("192.168.7.7", ip_address("192.168.7.7"), True),
        ("localhost", LAN, False),
        ("127.0.0.1", LAN, False),
        ("10.0.0.6", LAN, False),
        ("evil.example", LAN, False),
        ("10.0.0.5.evil.example", LAN, False),
        ("lanjami.local.evil.example", LAN, False),
        ("evil.example:80", LOOPBACK, False),
        ("lanjami.local@evil.example", LAN, False),
        ("evil.example#lanjami.local", LAN, False),
        ("", LAN, False),
        ("[", LAN, False),
        ("[]:80", LAN, False),
        (":80", LAN, False),
        ("0", LAN, False),
        ("167772165", LAN, False),
        ("10.0.0.5\r\nX: y", LAN, False),
    ],
)
def test_a_host_is_the_boxs_own_or_not(field: str, visited: Ip, *, is_own: bool) -> None:
    assert is_own_host(field, visited=visited, names=NAMES, addresses=ADDRESSES) is is_own


@given(st.text())
def test_no_other_host_is_own(field: str) -> None:
    name = field.partition(":")[0].lower().removesuffix(".")
    if name not in NAMES and "10.0.0.5" not in field and "fd00" not in field.lower():
        assert not is_own_host(field, visited=LAN, names=NAMES, addresses=ADDRESSES)


@pytest.mark.parametrize(
    ("origin", "site", "is_own"),
    [
        ("http://10.0.0.5", None, True),
        ("http://10.0.0.5", "same-origin", True),
        ("HTTP://10.0.0.5", None, True),
        (None, None, False),
        (None, "same-origin", False),
        ("null", None, False),
        ("", None, False),
        ("http://10.0.0.5", "cross-site", False),
        ("http://10.0.0.5", "same-site", False),
        ("http://10.0.0.5", "none", False),
        ("https://10.0.0.5", None, False),
        ("http://10.0.0.5:8080", None, False),
        ("http://10.0.0.5.evil.example", None, False),
        ("http://evil.example", None, False),
        ("10.0.0.5", None, False),
    ],
)
def test_a_form_is_from_an_own_page_or_not(
    origin: str | None, site: str | None, *, is_own: bool
) -> None:
    assert is_from_own_page(host="10.0.0.5", origin=origin, site=site) is is_own


@pytest.mark.parametrize(
    ("password", "repeated", "fault"),
    [
        ("correct horse", "correct horse", None),
        ("pferd batterie grün", "pferd batterie grün", None),
        ("short", "short", "short"),
        ("x" * 129, "x" * 129, "long"),
        ("correct\nhorse", "correct\nhorse", "long"),
        ("aaaaaaaaaaaa", "aaaaaaaaaaaa", "simple"),
        ("correct horse", "correct horsf", "differs"),
    ],
)
def test_a_password_is_taken_or_not(password: str, repeated: str, fault: str | None) -> None:
    assert fault_of(password, repeated) == fault
    assert fault is None or fault in rules.REFUSALS


def test_secrets_are_compared_whole() -> None:
    assert is_same("token", "token")
    for other in ("", "toke", "token ", "Token", "ü\udcff"):
        assert not is_same(other, "token")


def test_tries_are_counted_for_who_makes_them() -> None:
    assert source_of("10.0.0.5") == source_of("::ffff:10.0.0.5")
    assert source_of("fe80::1%eth0") == source_of("fe80::2%eth0")
    assert source_of("fd00:0:0:1::1") != source_of("fd00:0:0:2::1")
    assert source_of("") == ""
