"""The image as it is, started on a machine: what whoever plugs a card in sees."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from image import layout
from tests.image import asking
from tests.image.built import Built
from tests.image.emulator import Emulated, destinations
from tests.support.ports import free_port

BOOT_S = 90.0


@pytest.fixture(scope="module")
def machine(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """It runs, and has answered what clients ask."""
    ports = {"http_port": free_port(), "dht_port": free_port()}
    machine = Emulated(built, tmp_path_factory.mktemp("card"), **ports)
    with contextlib.closing(contextlib.ExitStack()) as at_end:
        at_end.callback(machine.switch_off)
        while wrong := asking.wrong("127.0.0.1", *ports.values(), patience_s=3):
            assert machine.up_s < BOOT_S, f"no {wrong} after {BOOT_S} s:\n{machine.said[-4000:]}"
            time.sleep(0.5)  # a port that QEMU forwards is open all the time
        yield machine


def test_clients_are_answered_soon(machine: Emulated) -> None:
    assert machine.up_s < BOOT_S


def test_no_unit_has_failed(machine: Emulated) -> None:
    state = machine.run("systemctl is-system-running --wait", within_s=120)
    assert state == "running", machine.run("systemctl --failed --no-legend --plain --no-pager")


def test_the_data_has_the_rest_of_the_card(machine: Emulated) -> None:
    size = int(machine.run("blockdev --getsize64 $(blkid -L lanjami-data)"))
    assert size > 2e9  # of 4 GiB
    assert int(machine.run("df -B1 --output=size /data | tail -n 1")) > 0.9 * size


def test_nothing_writes_to_the_root(machine: Emulated) -> None:
    first = layout.ROOT_A.start_mib * layout.MIB
    past = first + layout.ROOT_A.size_mib * layout.MIB
    assert not [w for w in machine.written() if w.start < past and w.stop > first]


def test_it_knocks_at_no_door_outside(machine: Emulated) -> None:
    outside = {
        address
        for address in destinations(machine.capture)
        if address.is_global and not address.is_multicast
    }
    assert not outside
