"""The box as the network of a building: whoever plugs in, by cable or by Wi-Fi, is served.

One start. Its cable leads to a switch of the lab, where nobody gives addresses. Its radio is
Linux's own that radiates nowhere (mac80211_hwsim); another such radio is a station's.
"""

import dataclasses
import os
import re
from collections.abc import Iterator

import pytest

from image import layout
from tests.image import emulator
from tests.image.built import Built
from tests.image.emulator import Emulated
from tests.image.laptops import ADDRESS, has_an_address, is_served
from tests.support.dhcp_client import newcomer
from tests.support.jami import FOUND, REGISTERED, Jami
from tests.support.lab import Host, Lab, Switch

# The fixtures' part of the time is a start under emulation.
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root on Linux"),
    pytest.mark.timeout(900),
]

NETWORK_S = 600.0  # for a start, 20 s in which nobody gives an address, and lanjami anew
SOON_S = 90.0  # for what takes a second on a machine
AIR = "10.78.0.1"
RADIOS = dataclasses.replace(
    emulator.VIRT, line="modules_load=mac80211_hwsim mac80211_hwsim.radios=2"
)
SETTINGS = f"""\
[wifi]
interface = "wlan0"
ssid = "lanjami hall"
passphrase = "correct horse battery"
country = "DE"
channel = 1

[network.wlan0]
serve = ["dns", "dhcp", "ra", "ntp"]
address = "{AIR}/24"
"""
# A machine with the second radio, in a namespace of its own: it has to send what it says.
STATION = f"""\
set -eu
if [ "$#" -eq 0 ]; then
    ip netns add station
    iw phy "$(cat /sys/class/net/wlan1/phy80211/name)" set netns name station
    exec ip netns exec station sh "$0" inside
fi
last=battery  # the card has the passphrase in one place only
cat >/run/station.conf <<END
network={{
    ssid="lanjami hall"
    psk="correct horse $last"
}}
END
wpa_supplicant -B -i wlan1 -c /run/station.conf
tries=0
until iw dev wlan1 link | grep -q "SSID: lanjami hall"; do
    [ "$((tries += 1))" -lt 90 ]
    sleep 1
done
/usr/lib/klibc/bin/ipconfig -c dhcp -t 60 wlan1
exec /opt/lanjami/bin/python - <<END
from urllib.request import Request, urlopen
page = urlopen(Request("http://{AIR}/", headers={{"Accept": "text/html"}}), timeout={SOON_S})
print("the page:", page.status, page.headers["Content-Type"])
END
"""


@pytest.fixture(scope="module")
def switch(lab: Lab) -> Switch:
    return lab.switch()


@pytest.fixture(scope="module")
def machine(built: Built, lab: Lab, switch: Switch) -> Iterator[Emulated]:
    """It is switched on, with settings on its card."""
    card = emulator.new_card(built, lab.folder / "card")
    emulator.put(card, "lanjami.toml", SETTINGS)
    emulator.put(card, "station.sh", STATION)
    machine = Emulated(
        built,
        card,
        lab.folder / "box",
        network=emulator.tap(switch.tap()),
        board=RADIOS,
        through=["ip", "netns", "exec", switch.namespace],
    )
    yield machine
    machine.switch_off()
    card.unlink()


@pytest.fixture(scope="module")
def laptop(lab: Lab, switch: Switch, machine: Emulated) -> Iterator[Host]:
    """A machine on the switch that has got an address, and knows nothing else."""
    with newcomer(lab, switch, "laptop") as host:
        for is_so in (has_an_address, is_served):
            while not is_so(host):
                assert machine.up_s < NETWORK_S, machine.said[-4000:]
        yield host


def test_the_passphrase_is_on_the_cards_visible_part_no_longer(lab: Lab, laptop: Host) -> None:
    assert laptop, "it was served, so the settings were read"
    card = lab.folder / "card"
    assert 'passphrase = "(kept in the box)"' in emulator.get(card, "lanjami.toml")
    with card.open("rb") as file:
        file.seek(layout.FIRMWARE.start_mib * layout.MIB)
        assert b"correct horse battery" not in file.read(layout.FIRMWARE.size_mib * layout.MIB)


async def test_somebody_joins_and_takes_a_name(laptop: Host) -> None:
    # for a name alone a setting is needed: the box cannot pass for https://ns.jami.net
    alice = Jami(laptop, changed={"RingNS.uri": f"http://{ADDRESS}"})
    try:
        await alice.start()
        await alice.add_account()
        await alice.registered(within_s=SOON_S)
        await alice.announced(within_s=SOON_S)
        assert await alice.register_name("alice") == REGISTERED
        assert await alice.look_up_name("alice") == (FOUND, alice.id)
    finally:
        await alice.stop()


def test_a_station_joins_over_the_air_and_reaches_the_box(machine: Emulated, laptop: Host) -> None:
    told = machine.run("sh /boot/firmware/station.sh", within_s=3 * SOON_S)
    assert "the page: 200 text/html" in told, told
    assert re.search(r"address: 10\.78\.0\.\d+", told), told
