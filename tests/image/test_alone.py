"""A box without a network, which is plugged in later, where the router comes two minutes late."""

import re
import time
from collections.abc import Iterator

import pytest

from tests.image import asking, emulator
from tests.image.built import Built
from tests.image.emulator import Emulated
from tests.support.ports import free_port

pytestmark = pytest.mark.timeout(600)  # a start, and two minutes

SERVES_S = 120.0
ROUTER_AFTER_S = 120.0
GUEST_WITHIN_S = 90.0  # a DHCP client that was left alone asks seldom


@pytest.fixture(scope="module")
def machine(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """With no network adapter at all."""
    folder = tmp_path_factory.mktemp("alone")
    card = emulator.new_card(built, folder / "card")
    machine = Emulated(built, card, folder, network=[], extra=emulator.USB)
    yield machine
    machine.switch_off()


def test_without_a_network_it_starts_and_says_so(machine: Emulated) -> None:
    machine.wait_for(re.compile("lanjami self-test: no network"), within_s=SERVES_S)
    assert machine.run("systemctl is-system-running --wait", within_s=60) == "running"
    assert "No network" in machine.run("cat /dev/vcs1")


def test_on_a_cable_without_a_router_it_is_the_network(machine: Emulated) -> None:
    machine.tell("netdev_add", type="hubport", id="lan", hubid=0)
    machine.tell("device_add", driver="usb-net", netdev="lan", bus="usb.0", id="adapter")
    machine.wait_for(re.compile(r"self-test: passed; .* serves at 10\.77\.0\.1"), within_s=90)


def test_a_router_that_comes_two_minutes_late_makes_it_a_guest(machine: Emulated) -> None:
    # the story's own time: the router needs that long to start
    time.sleep(max(0.0, ROUTER_AFTER_S - machine.up_s))
    ports = free_port(), free_port()
    forwards = [{"str": rule} for rule in emulator.forwards(*ports)]
    machine.tell("netdev_add", type="user", id="router", hostfwd=forwards)
    machine.tell("netdev_add", type="hubport", id="port", hubid=0, netdev="router")
    machine.wait_for(
        re.compile(r"self-test: passed; .* serves at 10\.0\.2\."), within_s=GUEST_WITHIN_S
    )
    until = time.monotonic() + 30
    while wrong := asking.wrong("127.0.0.1", *ports, patience_s=3):
        assert time.monotonic() < until, wrong
