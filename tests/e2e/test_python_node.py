"""The same story with our DHT node alone, and with both nodes when one goes."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

from tests.support.appliance import Appliance, opendht_child
from tests.support.jami import REGISTERED, Jami, befriend, speak, write_both_ways
from tests.support.lab import Host

Client = Callable[..., Awaitable[Jami]]

WITHOUT_THE_BOX_S = 6.0


async def test_alice_and_bob_meet_by_the_node_in_python_alone(box: Host, client: Client) -> None:
    alice = await client("alice", 2)
    await asyncio.sleep(WITHOUT_THE_BOX_S)
    assert not await alice.is_registered(), "without the box there must be nothing to join"

    appliance = await Appliance(box, 'dht.engines=["python"]').start()
    bob = await client("bob", 3)
    for person in (alice, bob):
        await person.registered()
        await person.announced()
    assert await alice.register_name("alice") == REGISTERED

    conversation = await befriend(alice, bob)
    await write_both_ways(alice, bob, conversation, "hello")
    await speak(alice, bob)

    status = await appliance.status()
    assert status is not None
    (node,) = status["dht"]["nodes"]
    assert node["engine"] == "python"
    assert node["values"] > 0, "the clients keep their values here"


async def test_they_write_on_when_opendhts_node_is_stopped(box: Host, client: Client) -> None:
    appliance = await Appliance(box).start()
    alice, bob = await client("alice", 2), await client("bob", 3)
    for person in (alice, bob):
        await person.registered()
        await person.announced()
    conversation = await befriend(alice, bob)
    os.kill(opendht_child(appliance.process.pid), signal.SIGSTOP)
    await write_both_ways(alice, bob, conversation, "still here")
    carol = await client("carol", 4)
    await carol.registered()
    await carol.announced()
    conversation = await befriend(alice, carol)
    await write_both_ways(alice, carol, conversation, "welcome")
