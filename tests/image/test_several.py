"""Two boxes on a switch where nobody else gives addresses: one is the network, the other its guest.

One start of both, at once, as when the power comes back; then the second is plugged in elsewhere,
and back.
"""

import dataclasses
import os
import re
import time
from collections.abc import Iterator

import pytest

from tests.image import emulator
from tests.image.built import Built
from tests.image.emulator import Emulated
from tests.image.laptops import ADDRESS, has_an_address, is_served
from tests.support.dhcp_client import newcomer
from tests.support.lab import Host, Lab, Switch

# The fixtures' part of the time is a start of two machines under emulation.
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root on Linux"),
    pytest.mark.timeout(900),
]

ROLES_S = 400.0  # for a start, 20 s in which nobody gives an address, and a minute to ask again
CHANGE_S = 300.0  # the same without a start, or as long as a lease of a box and a look after it
NETWORK = re.compile(rf"self-test: passed; .* serves at {re.escape(ADDRESS)}\b")
GUEST = re.compile(rf"self-test: passed; .* serves at (?!{re.escape(ADDRESS)}\b)10\.77\.0\.\d")
MACS = FIRST, SECOND = "52:54:00:00:00:0a", "52:54:00:00:00:0b"


@dataclasses.dataclass(frozen=True)
class Plugged:
    """A box whose cable leads to a port of the switch."""

    machine: Emulated
    port: str


@pytest.fixture(scope="module")
def switch(lab: Lab) -> Switch:
    return lab.switch()


@pytest.fixture(scope="module")
def boxes(built: Built, lab: Lab, switch: Switch) -> Iterator[list[Plugged]]:
    """The first and the second, by their hardware addresses; the second is switched on sooner."""
    plugged = []
    cards = {mac: emulator.new_card(built, lab.folder / mac.replace(":", "")) for mac in MACS}
    for mac, card in reversed(cards.items()):
        adapter = f"virtio-net-pci,netdev=lan,id=adapter,romfile=,mac={mac}"
        port = switch.tap()
        machine = Emulated(
            built,
            card,
            lab.folder / f"box-{mac[-1]}",
            network=emulator.tap(port),
            board=dataclasses.replace(emulator.VIRT, adapter=("-device", adapter)),
            through=["ip", "netns", "exec", switch.namespace],
        )
        plugged.append(Plugged(machine, port))
    yield plugged[::-1]
    for one in plugged:
        one.machine.switch_off()


@pytest.fixture
def laptop(lab: Lab, switch: Switch) -> Iterator[Host]:
    with newcomer(lab, switch, "laptop") as host:
        yield host


def _require_service(laptop: Host, by: str) -> None:
    """Whoever comes is served, and by the box of that hardware address."""
    until = time.monotonic() + CHANGE_S
    for is_so in (has_an_address, is_served):
        while not is_so(laptop):
            assert time.monotonic() < until, is_so
    assert by in laptop.ip("neighbour", "show", ADDRESS)


def test_of_two_that_start_together_one_is_the_others_guest(
    boxes: list[Plugged], laptop: Host
) -> None:
    first, second = (one.machine for one in boxes)
    first.wait_for(NETWORK, within_s=ROLES_S)
    second.wait_for(GUEST, within_s=ROLES_S)
    assert not NETWORK.search(second.said)
    assert not GUEST.search(first.said)
    _require_service(laptop, by=FIRST)


def test_a_guest_that_is_plugged_in_elsewhere_is_the_network_there(
    boxes: list[Plugged], switch: Switch
) -> None:
    second = boxes[1]
    said = len(second.machine.said)
    second.machine.tell("set_link", name="adapter", up=False)
    switch.ip("link", "set", second.port, "nomaster")
    time.sleep(5)  # until its machine has taken its address away
    second.machine.tell("set_link", name="adapter", up=True)
    second.machine.wait_for(NETWORK, within_s=CHANGE_S, since=said)


def test_where_two_networks_are_connected_one_box_becomes_the_others_guest(
    boxes: list[Plugged], switch: Switch, laptop: Host
) -> None:
    first, second = (one.machine for one in boxes)
    said = len(first.said), len(second.said)
    switch.ip("link", "set", boxes[1].port, "master", "br0")
    until = time.monotonic() + CHANGE_S
    while not (second_is_guest := bool(GUEST.search(second.said, said[1]))):
        # where its machine asked for an address before the second had noticed
        if GUEST.search(first.said, said[0]):
            break
        assert time.monotonic() < until, second.said[-4000:]
        time.sleep(0.5)  # a serial line tells nobody that something has come
    _require_service(laptop, by=FIRST if second_is_guest else SECOND)


def test_no_watch_had_to_be_started_again(boxes: list[Plugged]) -> None:
    for one in boxes:
        said = max(0, len(one.machine.said) - 4000)
        told = one.machine.run("systemctl show -p NRestarts lanjami-watch", since=said)
        assert told.splitlines()[-1] == "NRestarts=0"
