"""The relay: for clients that cannot reach each other, and for nobody else's purposes."""

import asyncio
import contextlib
import json
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lanjami.runtime.patience import LATE_S
from lanjami.turn.users import FILE, Users
from tests.support.appliance import LANJAMI, Appliance, children
from tests.support.jami import Jami, befriend, write_both_ways
from tests.support.lab import Host, Lab, Switch

HERE = "10.77.0.1"
RELAYS = "portrange 61001-61499"


@pytest.fixture
def guarded(box: Host) -> Host:
    """The box, with the guard of its firewall."""
    box.run(*LANJAMI, "firewall", "show", "--apply")
    return box


@pytest.fixture
def neighbour(lab: Lab, switch: Switch) -> Host:
    return lab.host("neighbour").plug(switch, "10.77.0.9/24", "fd77::9/64", gateway=HERE)


def ask(
    host: Host, *words: str, server: str = HERE, who: tuple[str, str] = ("ring", "ring")
) -> Any:
    module = ("-m", "tests.support.turn_client")
    return json.loads(host.run(sys.executable, *module, server, *who, *words))


async def relaying(
    appliance: Appliance,
    holds: Callable[[dict[str, Any]], bool] = lambda turn: True,
    *,
    within_s: float = 30.0,
) -> dict[str, Any]:
    """What the status says of the relay, when it relays and this holds of it."""
    status = None
    try:
        async with asyncio.timeout(within_s):
            while True:
                status = await appliance.status()
                if status is not None and status["turn"] and holds(status["turn"]):
                    return dict(status["turn"])
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"{status}\n{appliance.process.output()}") from None


def pids(appliance: Appliance) -> list[int]:
    """The coturns of a box."""
    return children(appliance.process.pid, "turnserver")


# --- between clients that cannot reach each other -----------------------------------------------


@pytest.fixture
async def apart(lab: Lab, box: Host, switch: Switch) -> AsyncIterator[tuple[Jami, Jami]]:
    """Two clients on two LANs that only the box is on; it is their router, and passes nothing."""
    other = lab.switch("other")
    box.plug(other, "10.78.0.1/24", interface="eth1")
    made = []
    for name, on, net in (("alice", switch, "10.77.0"), ("bob", other, "10.78.0")):
        host = lab.host(name).without_ipv6().plug(on, f"{net}.2/24", gateway=f"{net}.1")
        # as where the LAN's DNS says that turn.jami.net is the box
        made.append(
            Jami(
                host,
                name_server=f"http://{net}.1",
                discovery=False,
                bootstrap=f"{net}.1",
                turn=f"{net}.1",
            )
        )
    yield made[0], made[1]
    for client in made:
        await client.stop()


async def join(clients: Sequence[Jami]) -> None:
    for client in clients:
        await client.start()
        await client.add_account()
    for client in clients:
        await client.announced()


async def test_without_the_relay_they_do_not_meet(box: Host, apart: tuple[Jami, Jami]) -> None:
    await Appliance(box, "turn.serve=false").start()
    await join(apart)
    with pytest.raises(AssertionError, match="conversationReady"):
        await befriend(*apart)


async def test_through_the_relay_they_write_and_call(box: Host, apart: tuple[Jami, Jami]) -> None:
    box.run(*LANJAMI, "firewall", "show", "--apply")
    appliance = await Appliance(box).start()
    await relaying(appliance)
    # before: who finds no relay looks again after 10 s, then 20 s (jami-daemon turn_cache.cpp)
    await join(apart)
    alice, bob = apart
    messages = box.capture("messages", "tcp", "and", RELAYS)
    conversation = await befriend(alice, bob)
    await write_both_ways(alice, bob, conversation, "hello")
    assert messages.packets()

    media = box.capture("media", "udp", "and", RELAYS)
    call = await alice.call(bob.id)
    await bob.accept_call()
    await alice.call_is(call, "CURRENT")
    async with asyncio.timeout(20):
        while len(media.so_far()) < 50:  # a second of sound is about 50 datagrams
            await asyncio.sleep(0.5)
    told = await relaying(appliance)
    assert told["sessions"] >= 2
    assert told["allocations"] >= 6


# --- not for anything else ----------------------------------------------------------------------


async def test_without_a_guard_it_does_not_relay_and_is_no_fault(
    box: Host, neighbour: Host
) -> None:
    appliance = await Appliance(box).start()
    status = await appliance.healthy()
    assert status["turn"] is None
    assert "lanjami firewall show --apply" in status["services"]["turn"]["detail"]
    assert not pids(appliance)

    box.run(*LANJAMI, "firewall", "show", "--apply")
    await relaying(appliance)
    assert ask(neighbour, "meet") == "hello"

    box.run(*LANJAMI, "firewall", "show", "--remove")
    async with asyncio.timeout(45):
        while pids(appliance):
            await asyncio.sleep(0.2)
    assert (await appliance.healthy())["turn"] is None


async def test_who_is_not_of_the_building_is_no_peer(guarded: Host, neighbour: Host) -> None:
    guarded.ip("link", "add", "docker0", "type", "bridge")
    guarded.ip("addr", "add", "172.17.0.1/16", "dev", "docker0")
    guarded.ip("link", "set", "docker0", "up")
    appliance = await Appliance(guarded).start()
    await relaying(appliance)

    good = ["10.77.0.9", "10.77.0.254", "192.168.7.7", "172.16.0.9", HERE]
    assert ask(neighbour, "permit", *good) == [0] * len(good)
    bad = [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "224.0.0.251", "239.192.0.1", "255.255.255.255"),
        *("169.254.169.254", "203.0.113.9", "8.8.8.8", "100.64.0.1"),
        *("172.17.0.1", "172.17.0.5", "10.77.0.255"),
    ]
    assert ask(neighbour, "permit", *bad) == [403] * len(bad)
    told = await relaying(appliance, lambda turn: turn["refused"] >= len(bad))
    assert told["refused_by"]["forbidden peer"] == len(bad)


async def test_the_same_by_ipv6(guarded: Host, neighbour: Host) -> None:
    appliance = await Appliance(guarded).start()
    await relaying(appliance)
    good = ["fd77::9", "fd00::1", "fd77::1"]
    assert ask(neighbour, "permit", *good, server="fd77::1") == [0] * len(good)
    bad = [
        *("::1", "::", "ff02::1", "ff08::101", "fe80::1", "2001:db8::1", "2606:4700::1"),
        *("::ffff:127.0.0.1", "::ffff:10.77.0.9", "64:ff9b::7f00:1", "2002:7f00:1::"),
    ]
    assert ask(neighbour, "permit", *bad, server="fd77::1") == [403] * len(bad)
    told = await relaying(appliance, lambda turn: turn["refused"] >= len(bad))
    assert told["refused_by"]["forbidden peer"] == len(bad)


async def test_the_boxs_own_services_are_not_reached(guarded: Host, neighbour: Host) -> None:
    appliance = await Appliance(guarded).start()
    await relaying(appliance)
    names = guarded.capture("names", "-Q", "inout", "udp port 4222 and host 10.77.0.1")
    assert ask(neighbour, "connect", HERE, "80") == 447
    assert ask(neighbour, "send", HERE, "4222") == 0  # the permission is for the relays there
    # nor are those of others, below 1024
    assert ask(neighbour, "connect", "10.77.0.254", "22") == 447
    assert ask(neighbour, "send", "10.77.0.9", "53") == 0
    told = await relaying(appliance, lambda turn: turn["refused"] >= 4)
    assert told["refused_by"] == {"a service's port": 2, "peer did not answer": 2}
    assert not [line for line in names.packets() if ".4222: UDP, length 5" in line]


async def test_a_wrong_password_and_a_strange_user(guarded: Host, neighbour: Host) -> None:
    appliance = await Appliance(guarded).start()
    await relaying(appliance)
    for who in (("ring", "gnir"), ("nobody", "ring")):
        assert ask(neighbour, "permit", "10.77.0.9", who=who) == 401
    told = await relaying(appliance, lambda turn: turn["refused"] >= 2)
    assert told["refused_by"] == {"wrong password": 2}
    assert told["allocations"] == 0


async def test_the_quota(guarded: Host, neighbour: Host) -> None:
    appliance = await Appliance(guarded, "turn.sessions=5").start()
    await relaying(appliance)
    before = pids(appliance)
    codes = ask(neighbour, "hoard", "8")
    assert codes.count(486) >= 3, "one may have been the box's own"
    told = await relaying(appliance, lambda turn: turn["refused"] >= 3)
    assert set(told["refused_by"]) == {"over the quota"}
    assert pids(appliance) == before, "who takes all relays must not end the others'"


async def test_that_all_relays_are_given_is_said(guarded: Host, neighbour: Host) -> None:
    appliance = await Appliance(guarded, "turn.sessions=5").start()
    await relaying(appliance)
    before = pids(appliance)
    hoard = ("-m", "tests.support.turn_client", HERE, "ring", "ring", "hoard", "8", "hold")
    neighbour.start(sys.executable, *hoard)
    async with asyncio.timeout(20):
        while (status := await appliance.status()) is None or (
            status["services"]["turn"]["reason"] != "no relay is left on eth0"
        ):
            await asyncio.sleep(0.1)
    assert pids(appliance) == before


async def test_there_is_no_other_door(guarded: Host) -> None:
    appliance = await Appliance(guarded).start()
    await relaying(appliance)
    listening = {
        line.split()[4].rpartition(":")[2]
        for line in guarded.run("ss", "-Hlnptu").splitlines()
        if "turnserver" in line and not 61001 <= int(line.split()[4].rpartition(":")[2]) <= 61499
    }
    assert listening == {"3478"}


async def test_with_a_certificate_it_speaks_tls_and_dtls(
    guarded: Host, neighbour: Host, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    settings = (f"turn.certificate='{certificate}'", f"turn.key='{key}'")
    appliance = Appliance(guarded, *settings)
    appliance.launch()
    async with asyncio.timeout(20):
        while (status := await appliance.status()) is None or (
            "certificate.pem of `turn` cannot be read" not in status["services"]["turn"]["reason"]
        ):
            await asyncio.sleep(0.1)

    made = ("-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=lanjami.local")
    guarded.run("openssl", "req", *made, "-keyout", str(key), "-out", str(certificate))
    await relaying(appliance)
    for kind in ("-tls1_2", "-dtls1_2"):
        shown = f"timeout 5 openssl s_client {kind} -connect {HERE}:5349 </dev/null"
        assert "CN = lanjami.local" in neighbour.run("sh", "-c", shown, check=False), kind


# --- looked after -------------------------------------------------------------------------------


async def test_coturn_adds_nothing_to_the_users_database(guarded: Host, tmp_path: Path) -> None:
    """What it adds locks out whoever comes meanwhile."""
    users = Users(tmp_path, realm="ring")
    users.prepare("secret")
    appliance = await Appliance(guarded).start()
    await relaying(appliance)
    assert tables(appliance.state / "turn" / FILE) == tables(users.path)


def tables(database: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}


async def test_users_come_and_go_while_relays_run(guarded: Host, neighbour: Host) -> None:
    appliance = await Appliance(guarded).start()
    await relaying(appliance)
    before = pids(appliance)
    turn = (*LANJAMI, "turn", "--state", str(appliance.state))
    kim = ("kim", "a secret")
    assert ask(neighbour, "permit", "10.77.0.9", who=kim) == 401
    guarded.run("sh", "-c", f"echo '{kim[1]}' | {' '.join(turn)} add-user kim")
    assert ask(neighbour, "permit", "10.77.0.9", who=kim) == [0]
    assert guarded.run(*turn, "list").split() == ["kim", "ring"]
    guarded.run(*turn, "remove-user", "kim")
    guarded.run(*turn, "remove-user", "ring")
    for who in (kim, ("ring", "ring")):
        assert ask(neighbour, "permit", "10.77.0.9", who=who) == 401
    assert pids(appliance) == before
    users = appliance.state / "turn" / "users.sqlite"
    assert users.stat().st_mode & 0o777 == 0o600
    assert kim[1].encode() not in users.read_bytes()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
async def test_it_is_started_again(guarded: Host, neighbour: Host, number: signal.Signals) -> None:
    appliance = await Appliance(guarded).start()
    await relaying(appliance)
    (pid,) = pids(appliance)
    guarded.run("kill", f"-{number.value}", str(pid))
    async with asyncio.timeout(20 + LATE_S):
        while pids(appliance) in ([pid], []):
            await asyncio.sleep(0.1)
    await relaying(appliance)
    assert ask(neighbour, "meet") == "hello"


async def test_it_ends_with_a_box_that_is_killed(guarded: Host) -> None:
    appliance = await Appliance(guarded).start()
    await relaying(appliance)
    (pid,) = pids(appliance)
    appliance.kill()
    async with asyncio.timeout(5):
        while Path("/proc", str(pid)).exists():
            await asyncio.sleep(0.05)


async def test_a_lan_that_comes_is_served_too(lab: Lab, guarded: Host, neighbour: Host) -> None:
    appliance = await Appliance(guarded).start()
    await relaying(appliance)
    other = lab.switch("other")
    guarded.plug(other, "10.78.0.1/24", interface="eth1")
    host = lab.host("other-neighbour").plug(other, "10.78.0.9/24", gateway="10.78.0.1")
    async with asyncio.timeout(20):
        while len(pids(appliance)) != 2:
            await asyncio.sleep(0.1)
    await relaying(appliance)
    assert ask(host, "meet", server="10.78.0.1") == "hello"
    assert ask(neighbour, "meet") == "hello"


async def test_what_is_not_installed_is_said_and_is_no_fault(box: Host, tmp_path: Path) -> None:
    """A machine without Debian's coturn: its program is hidden."""
    appliance = Appliance(box)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ip").symlink_to(shutil.which("ip") or "")
    appliance.environment["PATH"] = str(programs)
    await appliance.start()
    status = await appliance.healthy()
    assert status["services"]["turn"]["detail"] == (
        "not served: turnserver is not installed: apt install coturn"
    )
