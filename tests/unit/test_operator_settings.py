"""What the operator sets on the page, as the configuration of the next start."""

import tomllib
from collections.abc import Collection, Mapping
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami import config
from lanjami.config import Network, Sources, Wifi
from lanjami.errors import ConfigError
from lanjami.status.operator.settings import FormError, compose, current, places, read_form

FILE = """# mine
[dht]
port = 4300
[dns]
upstream = ["192.168.1.1"]
[network.eth0]
serve = ["dns", "ntp"]
"""
SOURCES = Sources(FILE, "", ("mdns.host=attic",))
WIFI = {
    "wifi.interface": "wlan0",
    "wifi.ssid": "Haus",
    "wifi.passphrase": "correct horse",
    "wifi.country": "de",
    "wifi.channel": "6",
}


IDLE: dict[str, Collection[IPv4Network]] = {"eth0": (), "wlan0": ()}


def _set(
    form: dict[str, str],
    sources: Sources = SOURCES,
    kept: str = "",
    interfaces: Mapping[str, Collection[IPv4Network]] = IDLE,
) -> config.Config:
    text = read_form(form, sources, kept, interfaces)
    return Sources(sources.file, text, sources.overrides).parse()


def test_what_is_set_takes_the_place_of_the_files_and_nothing_else() -> None:
    found = _set({"role.eth0": "network", "address.eth0": "10.9.0.1/24"})
    assert found.network == {"eth0": Network(("dns", "dhcp", "ra", "ntp"), "10.9.0.1/24")}
    assert found.dht.port == 4300
    assert found.dns.upstream == ("192.168.1.1",)
    assert found.mdns.host == "attic"


def test_a_form_that_says_nothing_changes_nothing() -> None:
    assert _set({}) == SOURCES.parse()
    kept = read_form({"role.wlan0": "network", **WIFI}, SOURCES, "", IDLE)
    assert _set({}, kept=kept) == Sources(FILE, kept, SOURCES.overrides).parse()


def test_who_becomes_a_guest_serves_no_longer() -> None:
    assert _set({"role.eth0": "guest"}).network == {}


def test_what_the_page_has_no_word_for_stays_as_it_is() -> None:
    (eth0, wlan0) = places(SOURCES.parse(), IDLE)
    assert (eth0.role, eth0.serve) == ("kept", ("dns", "ntp"))
    assert wlan0.role == "guest"
    assert _set({"role.eth0": "kept"}).network["eth0"].serve == ("dns", "ntp")
    with pytest.raises(FormError):
        _set({"role.wlan0": "kept"})


def test_a_wifi_is_a_network_with_an_address_that_is_free() -> None:
    found = _set({"role.eth0": "network", "role.wlan0": "guest", **WIFI})
    assert found.wifi == Wifi("wlan0", "Haus", "correct horse", "DE", 6)
    assert found.network["eth0"].address == "10.77.0.1/24"
    assert found.network["wlan0"].address == "10.78.0.1/24"


FALLEN_BACK = Sources('[fallback.eth0]\nserve = ["dns", "dhcp"]\naddress = "10.77.0.1/24"\n')


def test_what_the_box_fell_back_to_is_not_kept_by_the_way() -> None:
    (eth0, _) = places(FALLEN_BACK.parse(), IDLE)
    assert (eth0.role, eth0.address) == ("guest", "")
    kept = read_form({"role.eth0": "guest", "address.eth0": ""}, FALLEN_BACK, "", IDLE)
    assert config.parse("", page=kept).network == {}
    assert _set({}, FALLEN_BACK).serving("dhcp") == ["eth0"]


def test_a_network_that_is_set_beside_it_is_another() -> None:
    found = _set(WIFI, FALLEN_BACK)
    assert found.network["wlan0"].address == "10.78.0.1/24"
    assert found.network["eth0"].address == "10.77.0.1/24"


def test_a_network_that_has_its_address_already_is_another_wherever_it_is_listed() -> None:
    kept = read_form({**WIFI}, Sources(), "", IDLE)
    assert config.parse(kept).network["wlan0"].address == "10.77.0.1/24"
    found = _set({"role.eth0": "network", "address.eth0": ""}, Sources(), kept)
    assert found.network["eth0"].address == "10.78.0.1/24"
    assert found.network["wlan0"].address == "10.77.0.1/24"


@pytest.mark.parametrize("guest", ["eth0", "eth1"])
def test_a_network_of_our_own_is_none_that_the_box_is_a_guest_in(guest: str) -> None:
    """As of a second box, on the network of a first one."""
    interfaces = {"eth0": (), "eth1": (), guest: [IPv4Network("10.77.0.0/24")]}
    found = _set({"role.eth1": "network", "address.eth1": ""}, Sources(), "", interfaces)
    assert found.network["eth1"].address == "10.78.0.1/24"


def test_a_network_whose_address_is_taken_out_has_one_that_nobody_else_has() -> None:
    kept = read_form({"role.eth0": "network"}, Sources(), "", IDLE)
    own = {"eth0": [IPv4Network("10.77.0.0/24")], "wlan0": ()}
    found = _set({"address.eth0": ""}, Sources(), kept, own)
    assert found.network["eth0"].address == "10.77.0.1/24", "it is the box's own"


def test_a_network_that_is_to_stay_keeps_the_address_that_people_know() -> None:
    found = _set({"role.eth0": "network", **WIFI}, FALLEN_BACK)
    assert found.chosen["eth0"].address == "10.77.0.1/24"
    assert found.chosen["wlan0"].address == "10.78.0.1/24"


def test_a_passphrase_stays_where_none_is_typed_and_goes_only_on_purpose() -> None:
    kept = read_form(WIFI, SOURCES, "", IDLE)
    again = {**WIFI, "wifi.passphrase": ""}
    assert _set(again, kept=kept).wifi.passphrase == "correct horse"
    assert _set({**again, "wifi.open": "1"}, kept=kept).wifi.passphrase == ""
    assert _set({"wifi.interface": ""}, kept=kept).wifi == Wifi()
    with pytest.raises(FormError, match="passphrase"):
        _set(again)


@pytest.mark.parametrize(
    ("form", "key"),
    [
        ({"role.eth0": "network", "address.eth0": "8.8.8.8/24"}, "address"),
        ({"role.eth0": "network", "address.eth0": "10.0.0.1"}, "address"),
        ({"role.eth0": "network", "address.eth0": '10.0.0.1/24"\nx=1'}, "text"),
        ({"role.eth0": "emperor"}, "other"),
        ({**WIFI, "wifi.ssid": ""}, "ssid"),
        ({**WIFI, "wifi.ssid": "ä" * 17}, "ssid"),
        ({**WIFI, "wifi.passphrase": "short"}, "passphrase"),
        ({**WIFI, "wifi.passphrase": "grüne Wiese"}, "passphrase"),
        ({**WIFI, "wifi.country": "Germany"}, "country"),
        ({**WIFI, "wifi.country": ""}, "country"),
        ({**WIFI, "wifi.channel": "14"}, "other"),
        ({**WIFI, "wifi.channel": "six"}, "other"),
        ({**WIFI, "wifi.interface": "../../x"}, "other"),
        ({**WIFI, "wifi.interface": "w" * 40}, "other"),
        ({**WIFI, "wifi.ssid": "x\r\nserve = []"}, "text"),
        ({"wifi.ssid": "x" * 1000}, "text"),
    ],
)
def test_what_cannot_be_is_told(form: dict[str, str], key: str) -> None:
    with pytest.raises(FormError) as refused:
        _set(form)
    assert refused.value.key == key


def test_two_interfaces_on_one_network_are_refused() -> None:
    same = {"address.eth0": "10.9.0.1/16", "address.wlan0": "10.9.7.1/24"}
    with pytest.raises(FormError, match="same network"):
        _set({"role.eth0": "network", "role.wlan0": "network", **same})


@given(
    st.dictionaries(st.sampled_from([*WIFI, "wifi.open", "role.eth0", "address.eth0"]), st.text())
)
def test_whatever_is_typed_the_next_start_takes_it(form: dict[str, str]) -> None:
    try:
        text = read_form(form, SOURCES, "", IDLE)
    except FormError:
        return
    assert tomllib.loads(text).keys() <= {"network", "wifi"}
    Sources(FILE, text).parse()


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=8))
def test_every_name_of_a_wifi_is_written_as_it_is(ssid: str) -> None:
    wifi = Wifi("wlan0", ssid, 'a"b\\c #[x]', "DE")
    text = compose({"wlan0": Network(("dns",))}, wifi)
    assert config.parse(text).wifi == wifi


def test_settings_that_cannot_be_taken_are_not_shown() -> None:
    assert current(SOURCES, "[wifi") == SOURCES.parse()
    assert current(SOURCES, "[network]").network == {}


def test_the_pages_tables_are_laid_over_the_files_and_below_overrides() -> None:
    page = '[mdns]\nhost = "cellar"\n[network.eth1]\nserve = ["ntp"]'
    assert list(config.parse(FILE, page=page).network) == ["eth1"]
    assert Sources(FILE, page, ("mdns.host=attic",)).parse().mdns.host == "attic"
    with pytest.raises(ConfigError, match="not TOML"):
        config.parse(FILE, page="[")
