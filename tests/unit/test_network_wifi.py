"""What is read of a radio, and what hostapd is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.config import Wifi
from lanjami.network import hostapd_conf, wifi

# the form of iw 5.19 (info.c, scan.c)
INFO = """\
Wiphy phy0
\tmax # scan SSIDs: 10
\tSupported interface modes:
\t\t * IBSS
\t\t * managed
\t\t * AP
\t\t * P2P-client
\tBand 1:
\t\tCapabilities: 0x1020
\tMaximum associated stations in AP mode: 8
"""
SCAN = """\
BSS 02:00:00:00:01:00(on wlan0)
\tfreq: {}
\tSSID: other
"""


def test_a_radio_that_can_be_an_access_point() -> None:
    assert wifi.read_radio(INFO) == wifi.Radio(can_be_access_point=True, most_clients=8)


@pytest.mark.parametrize(
    "info",
    ["", "Wiphy phy0", INFO.replace("* AP\n", "* AP/VLAN\n"), "Supported commands:\n\t * AP"],
)
def test_a_radio_that_cannot(info: str) -> None:
    assert not wifi.read_radio(info).can_be_access_point


def test_what_the_driver_does_not_say_is_not_known() -> None:
    assert wifi.read_radio(INFO.replace("Maximum", "Some")).most_clients is None


@pytest.mark.parametrize(
    ("frequencies", "channel"),
    [
        ([], 1),
        ([2412], 6),
        ([2412, 2437], 11),
        ([2412, 2437, 2462, 2462], 1),
        ([2422], 11),
        ([5180, 2412], 6),
    ],
)
def test_the_channel_is_where_the_fewest_others_are(frequencies: list[int], channel: int) -> None:
    assert wifi.quietest_channel("".join(SCAN.format(mhz) for mhz in frequencies)) == channel


def test_newer_tools_write_fractions() -> None:
    assert wifi.quietest_channel(SCAN.format("2412.0")) == 6


@pytest.mark.parametrize(
    ("states", "why"),
    [
        ({}, ""),
        ({"soft": "0\n", "hard": "0\n"}, ""),
        ({"soft": "1\n", "hard": "0\n"}, "rfkill unblock"),
        ({"soft": "1\n", "hard": "1\n"}, "hardware switch"),
    ],
)
def test_a_radio_that_is_switched_off(states: dict[str, str], why: str) -> None:
    assert why in wifi.blocked(states)
    assert bool(wifi.blocked(states)) == bool(why)


def _conf(ssid: str = "lanjami", passphrase: str = "") -> dict[str, str]:
    settings = Wifi(interface="wlan0", ssid=ssid, passphrase=passphrase, country="DE")
    text = hostapd_conf.render(settings, channel=6, control="/run/x")
    return dict(line.split("=", 1) for line in text.splitlines())


def test_an_access_point_keeps_the_law_of_its_country() -> None:
    conf = _conf()
    assert (conf["country_code"], conf["ieee80211d"], conf["channel"]) == ("DE", "1", "6")


def test_without_a_passphrase_it_is_open() -> None:
    assert "wpa" not in _conf()
    assert _conf(passphrase="correct horse")["wpa_passphrase"] == "correct horse"


@given(st.text(min_size=1).filter(lambda text: 1 <= len(text.encode("utf-8", "replace")) <= 32))
def test_any_name_stays_one_line(ssid: str) -> None:
    if ssid.encode("utf-8", "replace").decode() != ssid:
        return
    conf = _conf(ssid)
    assert bytes.fromhex(conf["ssid2"]).decode() == ssid
    assert conf.keys() == _conf().keys()
