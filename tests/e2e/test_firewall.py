"""The firewall's rules: taken by the real tools, and enough for a real client."""

import asyncio
import shlex
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.appliance import LANJAMI, Appliance
from tests.support.jami import FOUND, REGISTERED, Jami
from tests.support.lab import Host, Lab

Client = Callable[..., Awaitable[Jami]]

SHOW = (*LANJAMI, "firewall", "show")
INTO = ("--into", "inet filter input")
WITHOUT_THE_RULES_S = 6.0

DEFAULT_DROP = """
table inet filter {
    chain input {
        type filter hook input priority 0; policy drop;
        iifname "lo" accept
        ct state established,related accept
        meta l4proto { icmp, icmpv6 } accept
    }
}
"""


@pytest.fixture
def walled(box: Host) -> Host:
    """The box, with a firewall that lets nothing in that was not asked for."""
    _nft(box, DEFAULT_DROP)
    return box


async def test_a_client_is_served_after_the_rules_and_not_before(
    walled: Host, client: Client
) -> None:
    appliance = await Appliance(walled).start()
    alice = await client("alice", 2)
    await asyncio.sleep(WITHOUT_THE_RULES_S)
    assert not await alice.is_registered(), "the firewall lets it in without the rules"

    walled.run(*SHOW, "--apply", *INTO)
    bob = await client("bob", 3)  # by discovery, as alice
    for person in (alice, bob):
        await person.registered(within_s=40)
        await person.announced()
    assert await bob.register_name("bob") == REGISTERED
    assert await alice.look_up_name("bob") == (FOUND, bob.id)
    await appliance.healthy()


def test_an_own_table_does_not_open_what_another_keeps_shut_and_says_so(walled: Host) -> None:
    status, told = _ended(walled, *SHOW, "--apply")
    assert status == 1
    assert "the chain inet filter input refuses what it does not accept itself" in told
    assert "--into 'inet filter input'" in told
    assert _ended(walled, *SHOW, "--apply", *INTO)[0] == 0


def test_nothing_is_said_where_nothing_is_refused(box: Host) -> None:
    assert _ended(box, *SHOW, "--apply")[0] == 0


def test_what_was_put_in_is_replaced_and_taken_out(walled: Host) -> None:
    before = walled.run("nft", "list", "ruleset")
    walled.run(*SHOW, "--apply", *INTO)
    once = walled.run("nft", "list", "ruleset")
    assert 'comment "lanjami dht"' in once
    assert "table inet lanjami" in once
    walled.run(*SHOW, "--apply", *INTO)
    assert walled.run("nft", "list", "ruleset") == once
    walled.run(*SHOW, "--remove")
    assert walled.run("nft", "list", "ruleset") == before
    walled.run(*SHOW, "--remove")


def test_a_chain_that_is_not_there_is_said(box: Host) -> None:
    status, told = _ended(box, *SHOW, "--apply", *INTO)
    assert status == 69
    assert "nft refuses" in told
    assert _ended(box, *SHOW, "--apply", "--into", "inet filter input; flush ruleset")[0] == 78


# --- what is printed is what the tools take -----------------------------------------------------


def test_nftables_takes_it(walled: Host, tmp_path: Path) -> None:
    file = tmp_path / "rules.nft"
    file.write_text(walled.run(*SHOW))
    walled.run("nft", "-c", "-f", str(file))
    walled.run("nft", "-f", str(file))
    file.write_text(file.read_text() + "nonsense")
    assert _ended(walled, "nft", "-c", "-f", str(file))[0] != 0


@pytest.mark.parametrize("form", ["iptables", "ip6tables"])
def test_iptables_takes_it(box: Host, tmp_path: Path, form: str) -> None:
    file = tmp_path / "rules"
    file.write_text(box.run(*SHOW, "--format", form))
    box.run(f"{form}-restore", "--noflush", "--test", str(file))
    box.run(f"{form}-restore", "--noflush", str(file))
    assert "lanjami dht" in box.run(form, "-L", "INPUT", "-n")


def test_ufw_takes_it(box: Host) -> None:
    commands = _commands(box, "ufw")
    assert commands
    for command in commands:
        box.run("ufw", "--dry-run", *command[1:])
    assert _ended(box, "ufw", "--dry-run", "allow", "in", "proto", "nonsense")[0] != 0


def test_firewalld_takes_it(box: Host, tmp_path: Path) -> None:
    offline = ("firewall-offline-cmd", f"--system-config={tmp_path}")
    commands = _commands(box, "firewalld")
    for command in commands:
        if "--permanent" in command:
            words = [word for word in command[2:] if not word.startswith("--zone")]
            box.run(*offline, *words)
    assert "4222/udp" in box.run(*offline, "--service=lanjami", "--get-ports")
    assert "lanjami" in box.run(*offline, "--list-services")


def test_the_interfaces_are_those_with_a_lan(lab: Lab, box: Host) -> None:
    box.plug(lab.switch("other"), "10.78.0.1/24", interface="wlan0")
    box.plug(lab.switch("inside"), "10.79.0.1/24", interface="docker0")
    ends_at = time.monotonic() + 10
    while 'iifname { "eth0", "wlan0" }' not in (shown := box.run(*SHOW)):
        assert time.monotonic() < ends_at, shown
        time.sleep(0.1)  # until the new cable has a carrier
    assert "docker0" not in shown
    assert 'iifname { "lan9" }' in box.run(*SHOW, "--interface", "lan9")
    assert "UDP 4222 to 10.77.0.1:4222" in box.run(*SHOW)


def _commands(box: Host, form: str) -> list[list[str]]:
    printed = box.run(*SHOW, "--format", form)
    return [shlex.split(line) for line in printed.splitlines() if line and line[0] != "#"]


def _nft(host: Host, text: str) -> None:
    file = host.lab.folder / "given.nft"
    file.write_text(text)
    host.run("nft", "-f", str(file))


def _ended(host: Host, *command: str) -> tuple[int, str]:
    """The exit status of a command on a host, and what it said on stderr."""
    done = subprocess.run(
        ["ip", "netns", "exec", host.namespace, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr
