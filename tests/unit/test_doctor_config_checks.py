"""What of a right configuration cannot work on a machine."""

import pytest

from lanjami.config import Config, parse
from lanjami.doctor.config_checks import PROGRAMS, Machine, doubts

ALL = Machine(interfaces=frozenset({"lo", "eth0", "br-lan", "wlan0"}), programs=frozenset(PROGRAMS))
ACCESS_POINT = "[wifi]\ninterface = 'wlan0'\nssid = 'x'\ncountry = 'DE'\n"
SERVED = "[network.wlan0]\nserve = ['dns', 'dhcp', 'ntp']\n"


def test_the_defaults_work_everywhere() -> None:
    assert not list(doubts(Config(), Machine()))


def test_what_can_work_is_not_doubted() -> None:
    text = SERVED + ACCESS_POINT + "[dns]\nupstream = ['10.0.0.1']\n[http]\nports = [80, 443]"
    assert not list(doubts(parse(text), ALL))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "[network.eth1]\nserve = ['dns']",
            "network.eth1: there is no interface eth1 here, but br-lan, eth0, wlan0",
        ),
        (
            "[network.br-lan]\nserve = ['dns']",
            "network.br-lan: discovery leaves br-lan alone, so clients there are not found by it",
        ),
        ("[dns]\nupstream = ['10.0.0.5']", "dns.upstream: 10.0.0.5 is this machine, which would"),
        ("[turn]\nport = 4223", "dht and turn are both given UDP port 4223"),
        ("[turn]\nport = 8080", "http and turn are both given TCP port 8080"),
        ("[dht]\nport = 61400", "dht and relays are both given UDP port 61400"),
        ("[turn]\ncertificate = '/c'\nkey = '/k'", "turn.key: /k cannot be read: none"),
        ("[dht]\nengines = ['opendht']", "dht.engines: OpenDHT has no package here"),
    ],
)
def test_what_cannot_work_is_said_with_its_place(text: str, sentence: str) -> None:
    machine = Machine(
        interfaces=ALL.interfaces,
        programs=ALL.programs,
        unreadable={"/k": "none"},
        addresses=frozenset({"10.0.0.5"}),
        has_opendht=False,
    )
    found = list(doubts(parse(text), machine))
    assert [each[: len(sentence)] for each in found][:1] == [sentence]
    assert len(found) <= 2  # 61400 is two ports, of two nodes


def test_programs_that_are_missing_are_said_once_each() -> None:
    found = list(doubts(parse(SERVED + ACCESS_POINT), Machine(interfaces=ALL.interfaces)))
    assert found == [
        "network.wlan0.serve: dnsmasq is not installed: apt install dnsmasq-base",
        "network.wlan0.serve: chronyd is not installed: apt install chrony",
        "wifi.interface: hostapd is not installed: apt install hostapd",
    ]


def test_a_machine_without_interfaces_is_said_so() -> None:
    (sentence, *_) = doubts(parse("[network.eth0]\nserve = ['dns']"), Machine())
    assert sentence.endswith("there is no interface eth0 here, but none at all")
