"""Zero settings: where the box is the network, nobody changes anything in Jami."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.support import dhcp_client
from tests.support.appliance import Appliance
from tests.support.jami import Jami, befriend, write_both_ways
from tests.support.lab import Host, Lab, Switch

NOTHING_CHANGED: dict[str, str] = {}
PHONE = {"Account.proxyEnabled": "true"}  # as the apps on phones make every account
SOON_S = 5.0
WITHOUT_S = 8.0

Person = Callable[..., Awaitable[Jami]]


def network(*serve: str, interface: str = "eth0", address: str = "10.77.0.1/24") -> list[str]:
    """The settings of a box that is the network on one interface."""
    words = ", ".join(f'"{what}"' for what in serve)
    return [
        f"network.{interface}.serve=[{words}]",
        f'network.{interface}.address="{address}"',
    ]


ALL = network("dns", "dhcp", "ra", "ntp")


@pytest.fixture
def bare_box(lab: Lab, switch: Switch) -> Host:
    """A machine with a cable, and no address."""
    return lab.host("box").plug(switch)


@pytest.fixture
async def person(lab: Lab, switch: Switch) -> AsyncIterator[Person]:
    """Somebody who plugs in a machine that gets its address by DHCP, and makes an account."""
    made: list[Jami] = []
    hosts: list[Host] = []

    async def make(name: str, changed: dict[str, str] = NOTHING_CHANGED) -> Jami:
        host = lab.host(name).without_ipv6().plug(switch)
        hosts.append(host)
        dhcp_client.resolver_of(host)
        assert await asyncio.to_thread(dhcp_client.lease, host) is not None
        jami = Jami(host, changed=changed)
        made.append(jami)
        await jami.start()
        return await jami.add_account()

    yield make
    for jami in made:
        await jami.stop()
    for host in hosts:
        dhcp_client.forget(host)


async def hands_out_addresses(appliance: Appliance, *, within_s: float = 20.0) -> None:
    """Wait until the box has made sure that nobody else does."""
    await says(appliance, "detail", "dhcp 10.77.0.20 to", within_s=within_s)


async def says(
    appliance: Appliance,
    member: str,
    words: str,
    *,
    service: str = "network-eth0",
    within_s: float = 20.0,
) -> None:
    """Wait until the status of a service has these words in one of its members."""
    told = None
    try:
        async with asyncio.timeout(within_s):
            while told is None or words not in told[member]:
                await asyncio.sleep(0.2)
                status = await appliance.status()
                told = None if status is None else status["services"].get(service)
    except TimeoutError:
        raise AssertionError(
            f"{service} does not say {words!r} but {told}\n{appliance.process.output()}"
        ) from None


async def test_without_its_names_nobody_who_changed_nothing_is_served(
    bare_box: Host, person: Person
) -> None:
    appliance = await Appliance(bare_box, *network("dhcp")).start()
    await hands_out_addresses(appliance)
    alice = await person("alice")
    await asyncio.sleep(WITHOUT_S)
    assert not await alice.is_registered()


@pytest.mark.parametrize("changed", [NOTHING_CHANGED, PHONE], ids=["computers", "phones"])
async def test_two_who_changed_nothing_meet_write_and_call(
    bare_box: Host, person: Person, changed: dict[str, str]
) -> None:
    appliance = await Appliance(bare_box, *ALL).start()
    await hands_out_addresses(appliance)
    people = []
    for name in ("alice", "bob"):
        one = await person(name, changed)
        started_at = time.monotonic()
        await one.registered(within_s=SOON_S)
        await one.announced(within_s=SOON_S)
        assert time.monotonic() - started_at < SOON_S
        people.append(one)
    alice, bob = people
    conversation = await befriend(alice, bob)
    await write_both_ways(alice, bob, conversation, "hello")
    call = await alice.call(bob.id)
    await bob.accept_call()
    await alice.in_call(call)
    await appliance.healthy()
