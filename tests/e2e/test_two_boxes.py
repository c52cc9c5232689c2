"""Whether an address is another machine's, on cables of this kernel's."""

import sys
import time
from collections.abc import Callable, Sequence

import pytest

from tests.support.lab import Host, Lab, Process, Switch

ASKS = (sys.executable, "-m", "tests.support.asks_for_address")
GUEST = (*ASKS, "guest", "8")  # looks for two seconds
NETWORK = (*ASKS, "network", "40")  # ten seconds: two questions of who has it, and some to be sure
OURS = "10.77.0.1/24"

Plugged = Callable[..., Host]


@pytest.fixture
def plugged(lab: Lab, switch: Switch) -> Plugged:
    """A machine on the switch whose hardware address ends in a number."""

    def plug(end: int, *addresses: str, interface: str = "eth0") -> Host:
        host = lab.host(f"host-{end}").plug(switch, *addresses, interface=interface)
        host.ip("link", "set", interface, "address", f"02:00:00:00:00:{end:02x}")
        return host

    return plug


def _told(host: Host, *cables: str, role: Sequence[str] = GUEST) -> list[str]:
    """What was told at the last of some looks."""
    return host.run(*role, *cables).splitlines()[-1].split()


def _started(host: Host, role: Sequence[str]) -> Process:
    """One that looks at its cable meanwhile."""
    program = host.start(*role, "eth0")
    while not program.output():
        time.sleep(0.02)  # it goes to a file, which can only be read again
    return program


def test_an_address_that_somebody_has_is_theirs(plugged: Plugged) -> None:
    asking = plugged(2)
    there = plugged(3, OURS)
    assert _told(asking, "eth0") == ["eth0"]
    there.unplug()
    assert _told(asking, "eth0") == []


def test_of_two_who_ask_it_is_the_first_ones(plugged: Plugged) -> None:
    first, second = plugged(2), plugged(3)
    other = _started(second, (*ASKS, "guest", "40"))
    assert _told(first, "eth0") == []
    assert other.wait(within_s=30) == 0
    assert other.output().splitlines()[-1] == "eth0"


def test_of_two_who_have_it_the_second_gives_way(plugged: Plugged) -> None:
    first, second = plugged(2, OURS), plugged(3, OURS)
    other = _started(second, NETWORK)
    assert _told(first, "eth0", role=NETWORK) == []
    assert other.wait(within_s=30) == 0
    assert other.output().splitlines()[-1] == "eth0"


def test_two_cables_of_one_machine_are_no_rivals(plugged: Plugged, switch: Switch) -> None:
    host = plugged(2, OURS)
    host.plug(switch, interface="usb0")
    assert _told(host, "eth0", "usb0") == []


def test_who_asks_for_its_neighbours_address_is_no_rival(plugged: Plugged) -> None:
    asking, client = plugged(2), plugged(1, "10.77.0.20/24")
    client.start("busybox", "ping", OURS.partition("/")[0])
    asked = asking.capture("arp", "arp", "src", "host", "10.77.0.20")
    assert _told(asking, "eth0") == []
    assert asked.packets()


def test_a_cable_that_goes_while_it_asks_costs_nothing(plugged: Plugged) -> None:
    asking = plugged(2)
    program = _started(asking, GUEST)
    asking.unplug()
    assert program.wait(within_s=10) == 0
