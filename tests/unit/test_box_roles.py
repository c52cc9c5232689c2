"""Who is the network on a cable, and what the machine's own network programs are told."""

import math
from ipaddress import IPv4Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanjami.box import networkd, roles
from lanjami.box.roles import PATIENCE_S, RIVAL_PATIENCE_S, Line, Seen, step
from lanjami.config import Config, parse

ALONE, LEASED, UNPLUGGED = Seen(True, False), Seen(True, True), Seen(False, False)


def _after(*looks: tuple[float, Seen], rival_from: float = math.inf) -> Line:
    line = Line()
    for now, seen in looks:
        line = step(line, seen, has_rival=now >= rival_from, now=now)
    return line


def test_where_nobody_gives_addresses_the_box_becomes_the_network() -> None:
    assert not _after((0, ALONE), (PATIENCE_S - 0.1, ALONE)).is_network
    assert _after((0, ALONE), (PATIENCE_S, ALONE)).is_network


def test_patience_begins_with_the_cable() -> None:
    assert not _after((0, UNPLUGGED), (100, ALONE), (110, ALONE)).is_network
    assert not _after((0, ALONE), (15, UNPLUGGED), (16, ALONE), (30, ALONE)).is_network


def test_a_router_that_starts_later_makes_it_a_guest_again() -> None:
    assert _after((0, ALONE), (30, ALONE), (60, LEASED)) == Line()


def test_a_guest_whose_router_goes_for_good_becomes_the_network() -> None:
    assert _after((0, LEASED), (100, ALONE), (120, ALONE)).is_network


def test_the_network_stays_while_nobody_is_plugged_in() -> None:
    assert _after((0, ALONE), (30, ALONE), (60, UNPLUGGED), (500, ALONE)).is_network


def test_where_another_box_is_the_network_it_waits_to_become_its_guest() -> None:
    waits = ((0, ALONE), (10, ALONE), (RIVAL_PATIENCE_S + 9, ALONE))
    assert not _after(*waits, rival_from=10).is_network
    assert _after(*waits, (RIVAL_PATIENCE_S + 10, ALONE), rival_from=10).is_network
    assert not _after(*waits, (RIVAL_PATIENCE_S + 10, LEASED), rival_from=10).is_network


def test_of_two_that_are_connected_one_ends_being_the_network_and_waits() -> None:
    connected = ((0, ALONE), (30, ALONE), (60, ALONE), (60 + RIVAL_PATIENCE_S - 1, ALONE))
    assert not _after(*connected, rival_from=60).is_network
    assert _after(*connected, (60 + RIVAL_PATIENCE_S, ALONE), rival_from=60).is_network


def test_what_answers_for_every_address_does_not_keep_it_from_being_the_network() -> None:
    line, networks = Line(), 0
    for now in range(int(3 * RIVAL_PATIENCE_S)):
        line = step(line, ALONE, has_rival=line.gives_way, now=now)
        networks += line.is_network
    assert line.is_network
    assert networks > RIVAL_PATIENCE_S / 2
    assert step(line, LEASED, has_rival=False, now=9999) == Line()


def test_where_the_other_box_goes_again_it_is_the_network_at_once() -> None:
    line = _after((0, ALONE), (30, ALONE), rival_from=0)
    assert step(line, ALONE, has_rival=False, now=31).is_network


@given(st.lists(st.tuples(st.floats(0, 40), st.booleans(), st.booleans())))
def test_it_is_never_the_network_where_others_are(looks: list[tuple[float, bool, bool]]) -> None:
    line, now, alone_s = Line(), 0.0, 0.0
    for passed, carrier, leased in looks:
        now += passed
        alone_s = 0.0 if leased or not carrier else alone_s + passed
        before, line = line, step(line, Seen(carrier, leased), has_rival=False, now=now)
        assert not (leased and line.is_network)
        assert before.is_network or not line.is_network or alone_s >= PATIENCE_S - 1e-6


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("", ["eth0", "usb0"]),
        ("[box]\nfallback = false", []),
        ("[box]\naddress = '192.168.1.5/24'", []),
        ("[network.eth0]\nserve = ['dns']", ["usb0"]),
    ],
)
def test_what_the_operator_said_of_a_cable_holds(text: str, free: list[str]) -> None:
    assert roles.may_fall_back(parse(text), ["usb0", "eth0"]) == free


def test_the_configuration_of_the_network_is_a_good_one_and_can_be_taken_back() -> None:
    text = "[mdns]\nhost = 'hall'"
    networks = {name: roles.address(number) for number, name in enumerate(("eth0", "usb0"))}
    made = roles.with_roles(text, networks)
    config = parse(made)
    assert config.serving("dhcp") == ["eth0", "usb0"]
    assert config.network["eth0"].address == "10.77.0.1/24"
    assert config.chosen == {}
    assert parse(roles.without_roles(made)) == parse(text)
    assert roles.with_roles(text, {}) == text


PAGE = "# Set on the status page, and laid over the configuration file.\n[network]\n\n[wifi]\n"


def test_what_the_box_is_for_the_time_being_is_no_matter_of_the_page() -> None:
    made = roles.with_roles("", {"eth0": roles.address(0)})
    assert parse(made, page=PAGE).serving("dhcp") == ["eth0"]
    taken = parse(made, page=f"{PAGE}[network.eth0]\nserve = ['dns']")
    assert (taken.serving("dns"), taken.serving("dhcp")) == (["eth0"], [])


def test_the_box_makes_room_for_a_network_that_somebody_sets() -> None:
    at_page = "[network.wlan0]\nserve = ['dhcp']\naddress = '10.77.0.1/16'"
    made = roles.with_roles("", {"eth0": roles.address(0), "usb0": roles.address(8)})
    assert parse(made, page=at_page).serving("dhcp") == ["wlan0", "usb0"]


NETWORK = Line(is_network=True)


def _addresses(text: str, *cables: str, before: str = "", at: str = "") -> dict[str, str]:
    lines = dict.fromkeys(cables, NETWORK) | {"guest": Line()}
    known = {before: IPv4Interface(at)} if before else {}
    found = roles.addresses(lines, parse(text), before=known, lans=[])
    return {name: str(one) for name, one in found.items()}


def test_every_cable_has_a_network_of_its_own() -> None:
    assert _addresses("", "eth0", "usb0") == {"eth0": "10.77.0.1/24", "usb0": "10.77.1.1/24"}


@pytest.mark.parametrize(
    ("taken", "given"),
    [
        ("10.77.0.1/24", "10.77.1.1/24"),
        ("10.0.0.1/8", "192.168.77.1/24"),
        ("10.76.0.1/14", "192.168.77.1/24"),
    ],
)
def test_no_network_of_somebody_elses_choice_is_given(taken: str, given: str) -> None:
    text = f"[network.wlan0]\nserve = ['dhcp']\naddress = '{taken}'"
    assert _addresses(text, "eth0") == {"eth0": given}
    networks = {"eth0": IPv4Interface(given)}
    assert parse(roles.with_roles(text, networks)).serving("dhcp") == ["wlan0", "eth0"]


def test_where_every_network_is_taken_none_is_given() -> None:
    text = "".join(
        f"[network.{name}]\nserve = ['dhcp']\naddress = '{at}'\n"
        for name, at in (("a", "10.0.0.1/8"), ("b", "172.16.0.1/12"), ("c", "192.168.0.1/16"))
    )
    assert _addresses(text, "eth0") == {}


def test_an_address_stays_while_other_cables_come_and_go() -> None:
    before = {"before": "usb0", "at": "10.77.1.1/24"}
    assert _addresses("", "usb0", **before) == {"usb0": "10.77.1.1/24"}
    moved = {"before": "usb0", "at": "10.77.0.1/24"}
    assert _addresses("", "eth0", "usb0", **moved)["usb0"] == "10.77.0.1/24"


def test_a_guest_asks_for_an_address_on_every_cable() -> None:
    files = networkd.render(Config())
    assert list(files) == ["20-lanjami-cable.network"]
    assert "DHCP=ipv4" in files["20-lanjami-cable.network"]
    assert networkd.supplicant(Config()) == ""


def test_a_fixed_address_is_set() -> None:
    config = parse("[box]\naddress = '192.168.1.5/24'\nrouter = '192.168.1.1'")
    told = networkd.render(config)["20-lanjami-cable.network"]
    assert "Address=192.168.1.5/24\nGateway=192.168.1.1\n" in told
    assert "DHCP" not in told


def test_a_cable_with_a_network_of_the_boxs_own_has_no_fixed_address_of_another() -> None:
    network = "[network.eth1]\nserve = ['dns']\naddress = '10.77.0.1/24'\n"
    files = networkd.render(parse(f"{network}[box]\naddress = '192.168.1.5/24'"))
    assert "Name=eth1\n" in files["10-lanjami-eth1.network"]
    assert "Address=" not in files["10-lanjami-eth1.network"]
    assert "DHCP=ipv4" in files["10-lanjami-eth1.network"]


def test_a_wifi_name_cannot_forge_settings() -> None:
    config = parse('[box.wifi]\nssid = "x\\"\\n}"\npassphrase = "a\\"b}cdefg"\ncountry = "DE"')
    told = networkd.supplicant(config)
    assert "ssid=" + b'x"\n}'.hex() + "\n" in told
    assert 'psk="a"b}cdefg"\n' in told  # up to the last quotation mark of the line
    assert "20-lanjami-wifi.network" in networkd.render(config)
