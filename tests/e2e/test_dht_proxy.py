"""Phones: clients whose account has the DHT proxy on, and the box is their proxy."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.appliance import Appliance
from tests.support.jami import FOUND, REGISTERED, Jami, befriend, speak, write_both_ways
from tests.support.lab import Host

Client = Callable[..., Awaitable[Jami]]

PROXY = "http://10.77.0.1:80"
WITHOUT_THE_BOX_S = 6.0


async def test_a_phone_meets_a_computer(box: Host, client: Client) -> None:
    phone = await client("phone", 2, proxy=PROXY)
    await asyncio.sleep(WITHOUT_THE_BOX_S)
    assert not await phone.is_registered(), "without the box there must be nothing to join"

    appliance = await Appliance(box).start()
    computer = await client("computer", 3)
    await computer.announced()
    # a client whose proxy is not there looks for it once a minute
    await phone.registered(within_s=70)
    await phone.announced()

    assert await phone.register_name("phone") == REGISTERED
    assert await computer.look_up_name("phone") == (FOUND, phone.id)

    conversation = await befriend(phone, computer)
    await write_both_ways(phone, computer, conversation, "hello")
    await speak(computer, phone)
    await speak(phone, computer)
    await appliance.healthy()


async def test_a_phone_finds_the_proxy_on_whichever_default_port(box: Host, client: Client) -> None:
    """As it does where the LAN's DNS says that dhtproxy.jami.net is the box."""
    await Appliance(box, "proxy.default_ports=true").start()
    phone = await client("phone", 2, proxy="10.77.0.1:[80-95]")
    await phone.registered()
    await phone.announced()


@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_two_phones_meet_and_outlive_a_restart_of_the_box(
    box: Host, client: Client, end: str
) -> None:
    appliance = await Appliance(box).start()
    alice = await client("alice", 2, proxy=PROXY)
    bob = await client("bob", 3, proxy=PROXY)
    for person in (alice, bob):
        await person.registered()
        await person.announced()
    conversation = await befriend(alice, bob)
    await write_both_ways(alice, bob, conversation, "before")

    if end == "stopped":
        assert appliance.stop() == 0
    else:
        appliance.kill()
    await appliance.start()
    for person in (alice, bob):
        await person.registered(within_s=90)
    await speak(alice, bob)
    await write_both_ways(alice, bob, conversation, "after")
