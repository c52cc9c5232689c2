"""The main story: two people, one box, no Internet."""

import asyncio
from collections.abc import Callable

import pytest

from tests.support.appliance import Appliance
from tests.support.jami import FOUND, NOT_FOUND, REGISTERED, TAKEN, Jami
from tests.support.lab import Host

pytestmark = pytest.mark.timeout(240)

Client = Callable[..., Jami]


async def test_alice_and_bob_meet_take_names_write_and_call(box: Host, client: Client) -> None:
    alice = await client("alice", 2).start()
    await alice.add_account()
    await asyncio.sleep(6)
    assert not await alice.is_registered(), "without the box there must be nothing to join"

    await Appliance(box).start()
    bob = await client("bob", 3).start()
    await bob.add_account()
    for person in (alice, bob):
        await person.registered()
        await person.announced()

    assert await alice.register_name("alice") == REGISTERED
    assert await bob.look_up_name("alice") == (FOUND, alice.id)
    assert await bob.look_up_id(alice.id) == (FOUND, "alice")
    assert await bob.register_name("alice") == TAKEN
    assert (await bob.look_up_name("nobody"))[0] == NOT_FOUND

    await alice.invite(bob.id)
    await bob.accept_invitation(alice.id)
    for person in (alice, bob):
        await person.conversation()
    conversation = await alice.conversation()
    await alice.send(conversation, "hello bob")
    await bob.message("hello bob")
    await bob.send(conversation, "hello alice")
    await alice.message("hello alice")

    call = await alice.call(bob.id)
    await bob.accept_call()
    await alice.in_call(call)
