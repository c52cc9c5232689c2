"""The networks in which a client that only has discovery finds the box.

Clients are today's OpenDHT (the wheel). Each case first fails without the box.
"""

import asyncio
import sys
from collections.abc import Callable

import pytest

from tests.support.appliance import Appliance
from tests.support.lab import Host, Lab, Switch

# OpenDHT itself waits a second before it confirms a node that discovery told it of.
SOON_S = 2.5


def _join(client: Host, *, patience_s: float) -> float | None:
    """Seconds until an OpenDHT client on this host is connected; None for never."""
    told = client.run(sys.executable, "-m", "tests.support.dht_client", str(patience_s)).strip()
    return None if told == "never" else float(told)


def _plain(lab: Lab, switch: Switch) -> Host:
    return lab.host("client").without_ipv6().plug(switch, "10.77.0.2/24", gateway="10.77.0.254")


def _link_local_v4(lab: Lab, switch: Switch) -> Host:
    """No DHCP server answered; the system added a route for multicast."""
    client = lab.host("client").without_ipv6().plug(switch, "169.254.7.7/16")
    client.ip("route", "add", "224.0.0.0/4", "dev", "eth0")
    client.ip("route", "add", "10.77.0.0/24", "dev", "eth0")
    return client


def _ula_only(lab: Lab, switch: Switch) -> Host:
    return lab.host("client").plug(switch, "fd77::2/64")


def _v6_link_local_only(lab: Lab, switch: Switch) -> Host:
    return lab.host("client").plug(switch)


@pytest.mark.parametrize("make", [_plain, _link_local_v4, _ula_only, _v6_link_local_only])
async def test_a_client_finds_the_box(
    lab: Lab, switch: Switch, make: Callable[[Lab, Switch], Host]
) -> None:
    box = lab.host("box").plug(switch, "10.77.0.1/24", "fd77::1/64")
    if make is _link_local_v4:
        box.ip("route", "add", "169.254.0.0/16", "dev", "eth0")  # the way back
    client = make(lab, switch)
    await asyncio.sleep(2)  # IPv6 addresses are being checked for duplicates
    assert _join(client, patience_s=3) is None
    await Appliance(box).start()
    joined_s = _join(client, patience_s=5)
    assert joined_s is not None
    assert joined_s < SOON_S


async def test_a_box_with_a_default_route_elsewhere_serves_its_other_lan(
    lab: Lab, switch: Switch
) -> None:
    elsewhere = lab.switch("elsewhere")
    box = lab.host("box").plug(elsewhere, "10.99.0.1/24", gateway="10.99.0.254", interface="wan0")
    box.plug(switch, "10.77.0.1/24")
    await Appliance(box).start()
    joined_s = _join(_plain(lab, switch), patience_s=5)
    assert joined_s is not None
    assert joined_s < SOON_S


async def test_a_box_without_ipv6_is_well_and_serves(lab: Lab, switch: Switch) -> None:
    await Appliance(lab.host("box").without_ipv6().plug(switch, "10.77.0.1/24")).start()
    joined_s = _join(_plain(lab, switch), patience_s=5)
    assert joined_s is not None
    assert joined_s < SOON_S


async def test_an_adapter_that_is_pulled_and_plugged_again_is_served(
    lab: Lab, switch: Switch, box: Host
) -> None:
    appliance = await Appliance(box).start()
    client = _plain(lab, switch)
    box.unplug()
    assert _join(client, patience_s=3) is None
    box.plug(switch, "10.77.0.1/24")
    joined_s = _join(client, patience_s=5)
    assert joined_s is not None
    assert joined_s < SOON_S + 2.0  # it is followed within two seconds
    await appliance.healthy()


async def test_a_client_whose_only_question_is_lost_hears_the_next_announcement(
    lab: Lab, switch: Switch, box: Host
) -> None:
    await Appliance(box, "discovery.interval_s=2").start()
    await asyncio.sleep(8)  # the announcements of the start are over
    client = _plain(lab, switch)
    client.ip("link", "set", "eth0", "down")
    client.ip("link", "set", "eth0", "up")
    client.ip("route", "replace", "default", "via", "10.77.0.254", "dev", "eth0")
    client.run(
        "nft",
        "add table ip lost; add chain ip lost out "
        "{ type filter hook output priority 0; }; "
        "add rule ip lost out udp dport 8888 drop",
    )
    joined_s = _join(client, patience_s=8)
    assert joined_s is not None
    assert joined_s < 2.2 + SOON_S


async def test_the_box_shares_its_port_with_a_client_on_the_same_machine(
    lab: Lab, switch: Switch, box: Host
) -> None:
    await Appliance(box).start()
    # a client joins the group on the interface of the default route
    box.ip("route", "add", "default", "via", "10.77.0.254")
    at_home = _join(box, patience_s=5)
    assert at_home is not None
    assert at_home < SOON_S
    joined_s = _join(_plain(lab, switch), patience_s=5)
    assert joined_s is not None
    assert joined_s < SOON_S
