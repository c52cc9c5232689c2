"""The box is known as lanjami.local."""

import asyncio
import json
import sys
from typing import Any

from lanjami.discovery import mdns
from tests.support.appliance import Appliance
from tests.support.lab import Host, Lab, Switch


def _browse(host: Host, *names: str) -> dict[str, Any]:
    """What a host hears: the addresses of names, and the services of the box."""
    return dict(json.loads(host.run(sys.executable, "-m", "tests.support.browser", *names)))


async def test_the_box_tells_its_name_and_its_services(lab: Lab, switch: Switch, box: Host) -> None:
    watcher = lab.host("watcher").plug(switch, "10.77.0.2/24")
    assert _browse(watcher, "lanjami")["lanjami"] == []
    appliance = await Appliance(box).start()
    heard = _browse(watcher, "lanjami")
    assert "10.77.0.1" in heard["lanjami"]
    assert "fd77::1" in heard["lanjami"]
    assert heard["_lanjami._tcp"] == {
        "port": 80,
        "properties": {"version": "0.1.0", "dht": "4222", "ns": "http://10.77.0.1"},
    }
    assert heard["_opendht._udp"]["port"] == 4222
    assert heard["_http._tcp"]["port"] == 80

    goodbyes = watcher.capture("goodbye", "udp", "port", "5353")
    assert appliance.stop() == 0
    await asyncio.sleep(0.5)
    assert any("[0s] A 10.77.0.1" in line for line in goodbyes.packets("-vvv"))
    assert _browse(watcher, "lanjami")["lanjami"] == []


async def test_a_second_box_takes_the_next_name_and_says_so(
    lab: Lab, switch: Switch, box: Host
) -> None:
    other = lab.host("other").plug(switch, "10.77.0.5/24")
    watcher = lab.host("watcher").plug(switch, "10.77.0.2/24")
    await Appliance(box).start()
    second = await Appliance(other).start()
    status = await second.healthy()
    assert status["host"] == "lanjami-2.local"
    assert "another box here is lanjami.local" in status["services"]["mdns"]["detail"]
    heard = _browse(watcher, "lanjami", "lanjami-2")
    assert "10.77.0.1" in heard["lanjami"]
    assert heard["lanjami-2"] == ["10.77.0.5"] or "10.77.0.5" in heard["lanjami-2"]


async def test_a_box_whose_addresses_change_answers_to_its_name_all_the_while(
    lab: Lab, switch: Switch, box: Host
) -> None:
    watcher = lab.host("watcher").plug(switch, "10.77.0.2/24")
    appliance = await Appliance(box).start()
    silence = (sys.executable, "-m", "tests.support.silence", "lanjami", "8", "10.77.0.2")
    asking = watcher.start(*silence)
    heard = watcher.capture("names", "udp", "port", "5353")
    for change in ("add 10.77.0.9/24", "add fd77::9/64", "del 10.77.0.9/24"):
        await asyncio.sleep(1.5)
        box.ip("addr", *change.split(), "dev", "eth0")
    assert asking.wait(within_s=20) == 0
    # a box that asks for a name is sure of it when nobody has answered for so long
    assert float(asking.output()) < mdns.PROBES * mdns.PROBE_EVERY_S
    told = "\n".join(heard.packets("-vvv"))
    assert "AAAA fd77::9" in told
    assert "[0s] AAAA fd77::1" in told  # which the box no longer speaks from
    for lasting in ("A 10.77.0.1", "PTR", "SRV", "TXT"):
        assert f"[0s] {lasting}" not in told
    assert (await appliance.healthy())["host"] == "lanjami.local"


async def test_two_boxes_that_meet_later_end_up_with_two_names(lab: Lab, switch: Switch) -> None:
    island = lab.switch("island")
    first = lab.host("first").plug(switch, "10.77.0.1/24")
    second = lab.host("second").plug(island, "10.77.0.5/24")
    boxes = [await Appliance(host).start() for host in (first, second)]
    assert [(await box.healthy())["host"] for box in boxes] == ["lanjami.local"] * 2
    # somebody connects the two switches
    port = ("link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns")
    switch.ip(*port, island.namespace)
    for end in (switch, island):
        end.ip("link", "set", "up0", "master", "br0", "up")
    watcher = lab.host("watcher").plug(switch, "10.77.0.2/24")
    # of two that have the same name, the higher address keeps it, or the one that asked last moves
    hosts: list[str] = []
    async with asyncio.timeout(30):
        while sorted(hosts) != ["lanjami", "lanjami-2"]:  # one that moves has none for a while
            _browse(watcher, "lanjami")  # a person opens lanjami.local
            hosts = [(await box.healthy())["host"].removesuffix(".local") for box in boxes]
    await asyncio.sleep(2)
    heard = _browse(lab.host("newcomer").plug(switch, "10.77.0.3/24"), *hosts)
    for host, ip in zip(hosts, ("10.77.0.1", "10.77.0.5"), strict=True):
        assert [known for known in heard[host] if "." in known] == [ip]


async def test_the_box_works_beside_avahi(lab: Lab, switch: Switch, box: Host) -> None:
    config = lab.folder / "avahi.conf"
    config.write_text("[server]\nhost-name=printer\nenable-dbus=no\n[rlimits]\n")
    box.start("avahi-daemon", "--no-drop-root", "--no-chroot", "-f", str(config))
    watcher = lab.host("watcher").plug(switch, "10.77.0.2/24")
    async with asyncio.timeout(15):
        while not _browse(watcher, "printer")["printer"]:
            await asyncio.sleep(0.5)
    await Appliance(box).start()
    heard = _browse(watcher, "lanjami", "printer")
    assert "10.77.0.1" in heard["lanjami"]
    assert "10.77.0.1" in heard["printer"]


async def test_each_lan_hears_only_the_addresses_it_can_reach(
    lab: Lab, switch: Switch, box: Host
) -> None:
    other = lab.switch("other")
    appliance = await Appliance(box).start()
    box.plug(other, "10.78.0.1/24", interface="eth1")
    async with asyncio.timeout(5):
        while (await appliance.healthy())["discovery"]["interfaces"] != ["eth0", "eth1"]:
            await asyncio.sleep(0.1)
    await asyncio.sleep(2)
    here = lab.host("here").without_ipv6().plug(switch, "10.77.0.2/24")
    there = lab.host("there").without_ipv6().plug(other, "10.78.0.2/24")
    assert [ip for ip in _browse(here, "lanjami")["lanjami"] if "." in ip] == ["10.77.0.1"]
    heard = _browse(there, "lanjami")
    assert [ip for ip in heard["lanjami"] if "." in ip] == ["10.78.0.1"]
    assert heard["_lanjami._tcp"]["properties"]["ns"] == "http://10.78.0.1"
