"""The box sends nothing to any address outside its own LANs."""

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from lanjami.lan import is_local
from tests.support.appliance import LANJAMI, Appliance
from tests.support.jami import FOUND, REGISTERED, Jami
from tests.support.lab import Host, Lab, Switch

Client = Callable[..., Awaitable[Jami]]

# RFC 5737 and RFC 9637: addresses that stand for the Internet here
INTERNET_V4, INTERNET_V6 = "203.0.113.9", "3fff:9::9"


@pytest.fixture
def router(lab: Lab, switch: Switch, box: Host) -> Iterator[Host]:
    """The way to the Internet, which the box knows: a default route and a DNS server."""
    outside = lab.switch("outside")
    router = lab.host("router").plug(switch, "10.77.0.254/24", "fd77::254/64").forwards()
    router.plug(outside, "203.0.113.1/24", "3fff:9::1/64", interface="eth1")
    lab.host("internet").plug(
        outside, f"{INTERNET_V4}/24", f"{INTERNET_V6}/64", gateway="203.0.113.1"
    ).ip("-6", "route", "add", "default", "via", "3fff:9::1")
    box.ip("route", "add", "default", "via", "10.77.0.254")
    box.ip("-6", "route", "add", "default", "via", "fd77::254")
    resolver = Path("/etc/netns", box.namespace, "resolv.conf")
    resolver.parent.mkdir(parents=True)
    resolver.write_text(f"nameserver {INTERNET_V4}\n")
    try:
        yield router
    finally:
        resolver.unlink()
        resolver.parent.rmdir()


async def test_nothing_leaves_the_lan_from_start_to_stop(
    box: Host, router: Host, client: Client
) -> None:
    capture = box.capture("all")
    appliance = await Appliance(box).start()
    alice, bob = await client("alice", 2), await client("bob", 3)
    for person in (alice, bob):
        await person.announced()
    assert await alice.register_name("alice") == REGISTERED
    assert await bob.look_up_name("alice") == (FOUND, alice.id)
    box.run(*LANJAMI, "status", "--state", str(appliance.state))
    assert appliance.stop() == 0
    outside = [line for line in capture.packets() if _leaves(line)]
    assert outside == []


async def test_the_capture_would_notice(box: Host, router: Host) -> None:
    capture = box.capture("all")
    for family, to in (("AF_INET", INTERNET_V4), ("AF_INET6", INTERNET_V6)):
        send = f"socket.socket(socket.{family}, socket.SOCK_DGRAM).sendto(b'', ('{to}', 9))"
        box.run(LANJAMI[0], "-c", f"import socket; {send}")
    await asyncio.sleep(1)
    outside = [line for line in capture.packets() if _leaves(line)]
    assert {_destination(line) for line in outside} == {INTERNET_V4, INTERNET_V6}


@pytest.mark.parametrize("routed", [False, True])
async def test_a_client_that_knows_the_internet_does_not_draw_the_box_into_it(
    lab: Lab, switch: Switch, box: Host, router: Host, *, routed: bool
) -> None:
    at_the_internet = router.capture("outside", "udp")
    await Appliance(box, f"dht.routed={str(routed).lower()}").start()
    liar = lab.host("liar").plug(switch, "10.77.0.66/24", "fd77::66/64")
    liar.start(
        *(LANJAMI[0], "-m", "tests.support.liar", "10.77.0.1", "fd77::1"),
        *(INTERNET_V4, INTERNET_V6),
    )
    if routed:
        # where it may, OpenDHT follows what it was told, when it next looks after its table
        async with asyncio.timeout(100):
            while not _reached(at_the_internet.so_far()):
                await asyncio.sleep(0.5)
    else:
        await asyncio.sleep(40)
        assert not _reached(at_the_internet.packets())


def _reached(lines: list[str]) -> set[str]:
    """The addresses of the Internet that something was sent to."""
    return {to for line in lines if (to := _destination(line))} & {INTERNET_V4, INTERNET_V6}


def _leaves(line: str) -> bool:
    """Whether a packet that tcpdump printed goes to no address of a local network."""
    to = _destination(line)
    if to is None:
        return False
    ip = ipaddress.ip_address(to)
    return not (is_local(ip) or ip.is_multicast or to == "255.255.255.255")


def _destination(line: str) -> str | None:
    """The destination in a line such as "eth0 Out IP 10.0.0.5.8888 > 10.0.0.6.1: UDP"; None for
    what comes in or is not IP."""
    match = re.search(r"\bOut IP6? \S+ > (\S+): ", line)
    if match is None:
        return None
    # a port stands behind a dot: 10.0.0.6.4222, fd77::1.4222
    to = match[1]
    return to.partition(".")[0] if ":" in to else ".".join(to.split(".")[:4])
