"""The main story: two people, one box, no Internet."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.support.appliance import Appliance
from tests.support.jami import (
    FOUND,
    NOT_FOUND,
    REGISTERED,
    TAKEN,
    Jami,
    befriend,
    speak,
    write_both_ways,
)
from tests.support.lab import Host

Client = Callable[..., Awaitable[Jami]]

WITHOUT_THE_BOX_S = 6.0


async def test_alice_and_bob_meet_take_names_write_and_call(box: Host, client: Client) -> None:
    alice = await client("alice", 2)
    await asyncio.sleep(WITHOUT_THE_BOX_S)
    assert not await alice.is_registered(), "without the box there must be nothing to join"
    assert (await alice.look_up_name("alice"))[0] not in (FOUND, NOT_FOUND)

    await Appliance(box).start()
    bob = await client("bob", 3)
    for person in (alice, bob):
        await person.registered()
        await person.announced()

    assert await alice.register_name("alice") == REGISTERED
    assert await bob.look_up_name("alice") == (FOUND, alice.id)
    assert await bob.look_up_id(alice.id) == (FOUND, "alice")
    assert await bob.register_name("alice") == TAKEN
    assert (await bob.look_up_name("nobody"))[0] == NOT_FOUND

    conversation = await befriend(alice, bob)
    await write_both_ways(alice, bob, conversation, "hello")

    await speak(alice, bob)


async def test_the_box_hears_who_lets_itself_be_seen(box: Host, client: Client) -> None:
    appliance = await Appliance(box).start()
    alice = await client("alice", 2)
    await alice.announced()
    async with asyncio.timeout(20):
        while not (people := await _people(appliance)):
            await asyncio.sleep(0.2)
    assert [(p["id"], p["name"], p["address"]) for p in people] == [
        (alice.id, "alice", "10.77.0.2")
    ]


async def _people(appliance: Appliance) -> list[dict[str, object]]:
    status = await appliance.status()
    assert status is not None
    return [n for n in status["discovery"]["neighbours"] if n["kind"] == "jami"]
