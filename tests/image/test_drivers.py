"""Each driver that a Raspberry Pi needs is in the image, with all that it needs itself: no machine
that QEMU makes has most of them, and a driver that lacks another is not there."""

import lzma
import re
from pathlib import Path

import pytest

from tests.image.built import Built

# The boards' own, and common adapters on USB.
ALWAYS = {
    *("bcm2835_wdt", "bcm2835_rng", "dwc2", "dwc3", "genet", "macb", "vc4", "xhci_hcd"),
    *("brcmfmac", "brcmfmac_wcc", "lan78xx", "smsc95xx"),
    *("asix", "ax88179_178a", "cdc_ether", "r8152", "usb_storage"),
    "raspberrypi_hwmon",  # Debian has none, so the build makes it
}


class Driver:
    """A kernel's module: what it needs, and which devices of a device tree call for it."""

    def __init__(self, file: Path) -> None:
        content = lzma.decompress(file.read_bytes())
        found = re.search(rb"\0depends=([^\0]*)\0", content)
        names = found[1].decode().split(",") if found else []
        self.needs = {_name(name) for name in names if name}
        self.devices = set(re.findall(rb"\0alias=of:N\*T\*C([^\0]*?)(?:C\*)?\0", content))


@pytest.fixture(scope="module")
def drivers(tree: Path) -> dict[str, Driver]:
    files = (tree / "usr/lib/modules").rglob("*.ko.xz")
    return {_name(file.name.removesuffix(".ko.xz")): Driver(file) for file in files}


@pytest.fixture(scope="module")
def devices(built: Built) -> set[bytes]:
    """All that the boards have, as their device trees call it."""
    trees = [built.boot_file(name) for name in built.boot_files() if name.endswith(".dtb")]
    return {device for tree in trees for device in re.findall(rb"[\w-]+,[\w.+-]+", tree)}


def test_what_every_board_and_adapter_needs_is_there(
    drivers: dict[str, Driver], tree: Path
) -> None:
    (listed,) = (tree / "usr/lib/modules").glob("*/modules.builtin")
    builtin = {_name(Path(line).stem) for line in listed.read_text().splitlines()}
    assert ALWAYS - builtin - drivers.keys() == set()


def test_a_driver_has_all_that_it_needs(drivers: dict[str, Driver], devices: set[bytes]) -> None:
    called = {name for name, driver in drivers.items() if driver.devices & devices}
    assert {"dwc2", "vc4", "genet"} <= called
    lacking = {name: _needed(name, drivers) - drivers.keys() for name in called | ALWAYS}
    assert {name: needs for name, needs in lacking.items() if needs} == {}


def _needed(name: str, drivers: dict[str, Driver]) -> set[str]:
    found: set[str] = set()
    unseen = {name} & drivers.keys()
    while unseen:
        needs = drivers[unseen.pop()].needs - found
        found |= needs
        unseen |= needs & drivers.keys()
    return found


def _name(file: str) -> str:
    return file.replace("-", "_")
