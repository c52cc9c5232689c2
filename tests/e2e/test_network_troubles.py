"""The box as the network, when something goes wrong or somebody else is there, too."""

import asyncio
import os
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from lanjami.runtime.patience import LATE_S
from tests.support import dhcp_client
from tests.support.appliance import LANJAMI, Appliance, child
from tests.support.lab import Host, Lab, Process, Switch, run, tmpfs
from tests.support.network import (
    ALL,
    WITHOUT_THE_CLOCK,
    hands_out_addresses,
    network,
    says,
)

Newcomer = Callable[[str], Host]

ROUTER = "10.77.0.254"
# twice the longest wait between two questions for other servers, and the listening
OTHERS_ARE_NOTICED_S = 60.0
OTHERS_ARE_MISSED_S = 110.0

_LOOK_UP = """
import socket, sys, time
started_at = time.monotonic()
try:
    found = socket.getaddrinfo(sys.argv[1], 0, socket.AF_INET, socket.SOCK_DGRAM)[0][4][0]
except socket.gaierror as error:
    found = error.strerror
print(f"{time.monotonic() - started_at:.3f} {found}")
"""
_GET = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=5)
connection.request("GET", sys.argv[2])
answer = connection.getresponse()
print(answer.status, answer.read().decode().strip())
"""


def look_up(host: Host, name: str) -> tuple[float, str]:
    """Seconds, and the address or the resolver's sentence."""
    took_s, _, found = host.run(sys.executable, "-c", _LOOK_UP, name).strip().partition(" ")
    return float(took_s), found


def router(host: Host, *more: str) -> Process:
    """A household's router: it hands out addresses."""
    return host.start(
        *("dnsmasq", "--keep-in-foreground", "--conf-file=", "--user=root", "--pid-file="),
        *("--bind-interfaces", "--interface=eth0", "--except-interface=lo", "--no-resolv"),
        *("--dhcp-range=10.77.0.200,10.77.0.220", f"--dhcp-leasefile={host.lab.folder}/router"),
        *more,
    )


async def logs(appliance: Appliance, words: str, *, within_s: float) -> None:
    """Wait until the log has these words: a status lasts only until all is well again."""
    async with asyncio.timeout(within_s):
        while words not in appliance.process.output():
            await asyncio.sleep(0.05)


async def gone(pid: int, *, within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while Path("/proc", str(pid)).exists():
            await asyncio.sleep(0.05)


async def test_where_another_hands_out_addresses_the_box_does_not_until_it_is_gone(
    lab: Lab, switch: Switch, bare_box: Host, newcomer: Newcomer
) -> None:
    other = router(lab.host("router").plug(switch, f"{ROUTER}/24"))
    appliance = Appliance(bare_box, *network("dns", "dhcp"))
    appliance.launch()
    await says(appliance, "reason", f"another DHCP server, {ROUTER}, answers on eth0")
    given = dhcp_client.lease(newcomer("first"))
    assert given is not None
    assert given["server"] == ROUTER
    other.end()
    await hands_out_addresses(appliance, within_s=OTHERS_ARE_MISSED_S)
    await appliance.healthy()
    given = dhcp_client.lease(newcomer("second"))
    assert given is not None
    assert given["server"] == "10.77.0.1"


async def test_where_another_begins_to_hand_out_addresses_the_box_falls_silent(
    lab: Lab, switch: Switch, bare_box: Host, newcomer: Newcomer
) -> None:
    appliance = await Appliance(bare_box, *network("dns", "dhcp")).start()
    await hands_out_addresses(appliance)
    router(lab.host("router").plug(switch, f"{ROUTER}/24"))
    await says(appliance, "reason", f"another DHCP server, {ROUTER}", within_s=OTHERS_ARE_NOTICED_S)
    for name in ("one", "two", "three"):
        given = dhcp_client.lease(newcomer(name))
        assert given is not None
        assert given["server"] == ROUTER
    asker = newcomer("asker")
    asker.ip("addr", "add", "10.77.0.9/24", "dev", "eth0")
    dhcp_client.resolver_of(asker).write_text("nameserver 10.77.0.1\n")
    assert look_up(asker, "bootstrap.jami.net")[1] == "10.77.0.1", "names are still its own"


async def test_an_address_is_kept_over_a_restart_of_the_box(
    bare_box: Host, newcomer: Newcomer
) -> None:
    appliance = await Appliance(bare_box, *network("dns", "dhcp")).start()
    await hands_out_addresses(appliance)
    one = newcomer("one")
    before = dhcp_client.lease(one)
    assert before is not None
    assert (before["router"], before["dns"]) == ("10.77.0.1", "10.77.0.1")
    appliance.kill()
    await appliance.start()
    await hands_out_addresses(appliance)
    assert dhcp_client.lease(one) == before
    leases = (appliance.state / "network" / "eth0.leases").read_text()
    assert leases.count(before["ip"]) == 1


async def test_until_a_router_comes_an_address_is_nobodys_for_long(
    bare_box: Host, newcomer: Newcomer
) -> None:
    """Whoever has it when the box gives way has neither until it ends."""
    folder = bare_box.lab.folder / "lanjami"
    folder.mkdir()
    (folder / "lanjami.toml").write_text(
        '[fallback.eth0]\nserve = ["dns", "dhcp"]\naddress = "10.77.0.1/24"\n'
    )
    appliance = Appliance(bare_box)
    appliance.environment["XDG_CONFIG_HOME"] = str(bare_box.lab.folder)
    await appliance.start()
    await hands_out_addresses(appliance)
    one = newcomer("one")
    before = dhcp_client.lease(one)
    assert before is not None
    assert before["seconds"] == "240"
    appliance.kill()
    await appliance.start()
    await hands_out_addresses(appliance)
    assert dhcp_client.lease(one) == before


async def test_it_stays_the_network_where_its_disk_takes_nothing(
    bare_box: Host, newcomer: Newcomer
) -> None:
    bare_box.run(*LANJAMI, "firewall", "show", "--apply")
    settings = network("dns", "dhcp", "ntp")
    appliance = Appliance(bare_box, *settings, through=WITHOUT_THE_CLOCK)
    with tmpfs(appliance.state, size="64m"):
        await appliance.start()
        await hands_out_addresses(appliance)
        one = newcomer("one")
        before = dhcp_client.lease(one)
        assert before is not None
        appliance.kill()
        run("mount", "-o", "remount,ro", str(appliance.state))
        appliance.launch()
        await hands_out_addresses(appliance)
        assert dhcp_client.lease(one) == before
        for service in ("time", "turn"):
            await says(appliance, "state", "up", service=service)
        status = await appliance.status()
        assert status is not None
        assert status["turn"] is not None
        worse = [name for name, told in status["services"].items() if told["reason"]]
        assert set(worse) <= {"names", "backups"}


@pytest.mark.parametrize(("program", "service"), [("dnsmasq", "network-eth0"), ("chronyd", "time")])
@pytest.mark.parametrize("trouble", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_program_that_dies_or_hangs_is_started_again(
    bare_box: Host, program: str, service: str, trouble: signal.Signals
) -> None:
    appliance = await Appliance(bare_box, *network("dns", "ntp"), through=WITHOUT_THE_CLOCK).start()
    await says(appliance, "state", "up", service=service)
    pid = child(appliance.process.pid, program)
    assert pid is not None
    os.kill(pid, trouble)
    words = "was killed by SIGKILL" if trouble == signal.SIGKILL else "hangs"
    await logs(appliance, f"{program} {words}", within_s=30 + LATE_S)
    await appliance.healthy()
    assert child(appliance.process.pid, program) not in (pid, None)
    await gone(pid)


async def test_a_dnsmasq_that_offers_no_addresses_any_more_is_started_again(
    bare_box: Host,
) -> None:
    appliance = await Appliance(bare_box, *network("dhcp")).start()
    await hands_out_addresses(appliance)
    pid = child(appliance.process.pid, "dnsmasq")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await logs(appliance, "dnsmasq hangs: nobody who", within_s=OTHERS_ARE_MISSED_S)
    await hands_out_addresses(appliance)
    await appliance.healthy()


async def test_the_programs_end_with_the_box_however_it_ends(bare_box: Host) -> None:
    appliance = await Appliance(bare_box, *network("dns", "ntp"), through=WITHOUT_THE_CLOCK).start()
    pids = [child(appliance.process.pid, program) for program in ("dnsmasq", "chronyd")]
    appliance.kill()
    for pid in pids:
        assert pid is not None
        await gone(pid)


@pytest.mark.parametrize(
    ("program", "package", "service"),
    [("dnsmasq", "dnsmasq-base", "network-eth0"), ("chronyd", "chrony", "time")],
)
async def test_a_program_that_is_not_installed_is_named_with_its_package(
    bare_box: Host, program: str, package: str, service: str
) -> None:
    hidden = f'mount --bind /dev/null "$(command -v {program})" && exec "$@"'
    appliance = Appliance(
        bare_box,
        *network("dns", "ntp"),
        through=["unshare", "--mount", "sh", "-c", hidden, "sh", *WITHOUT_THE_CLOCK],
    )
    appliance.launch()
    await says(
        appliance,
        "reason",
        f"{program} is not installed: apt install {package}",
        service=service,
    )


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    """Where an ordinary user may write; pytest's own folders are closed to everybody else."""
    with tempfile.TemporaryDirectory(prefix="lanjami-nobody-") as folder:
        os.chown(folder, 65534, 65534)
        yield Path(folder)


# In mounts of its own, a closed folder (1) shows the one in it (2) that Python is in, and no more.
_OPENED = """
opened=$(mktemp -d) && mount -t tmpfs -o mode=755 none "$opened" && mkdir -p "$opened/$2" &&
mount --bind "$1/$2" "$opened/$2" && mount --rbind "$opened" "$1" && shift 2 && exec "$@"
"""


def _as_nobody(*rights: str) -> Sequence[str]:
    """Through what an ordinary user with these rights starts a program."""
    sets = ",".join(["-all", *(f"+{right}" for right in rights)])
    nobody = (
        *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
        *("--bounding-set", sets, "--inh-caps", sets, "--ambient-caps", sets),
    )
    python = Path(sys.base_prefix)
    for folder in python.parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            inside = str(python.relative_to(folder))
            return ("unshare", "--mount", "sh", "-c", _OPENED, "sh", str(folder), inside, *nobody)
    return nobody


async def test_without_rights_the_box_serves_what_it_can_and_says_the_rest(
    bare_box: Host, nobodys_folder: Path
) -> None:
    appliance = Appliance(bare_box, *ALL, through=_as_nobody())
    appliance.state = nobodys_folder
    appliance.launch()
    await says(appliance, "reason", "needs rights that lanjami was not given (CAP_NET_ADMIN")
    await says(appliance, "reason", "(CAP_NET_BIND_SERVICE)", service="time")
    for service in ("dhtnode-python", "names", "http"):
        await says(appliance, "state", "up", service=service)


async def test_an_ordinary_user_with_the_rights_is_the_network_and_uses_none_itself(
    bare_box: Host, newcomer: Newcomer, nobodys_folder: Path
) -> None:
    rights = ("net_admin", "net_raw", "net_bind_service")
    settings = (*ALL, "turn.guarded=false")
    appliance = Appliance(bare_box, *settings, through=_as_nobody(*rights))
    appliance.state = nobodys_folder
    await appliance.start()
    await hands_out_addresses(appliance)
    assert dhcp_client.lease(newcomer("one")) is not None
    own = Path("/proc", str(appliance.process.pid), "status").read_text()
    assert f"CapEff:\t{1 << 10:016x}" in own
    await says(appliance, "detail", "a relay given", service="turn")
    for program in ("lanjami.dhtnode.opendht", "turnserver"):
        pid = child(appliance.process.pid, program)
        assert f"CapPrm:\t{0:016x}" in Path("/proc", str(pid), "status").read_text()


async def test_other_names_are_asked_of_the_router_while_it_answers(
    lab: Lab, switch: Switch, bare_box: Host, newcomer: Newcomer
) -> None:
    host = lab.host("router").plug(switch, f"{ROUTER}/24")
    names = ("--address=/example.org/192.0.2.7", "--address=/jami.net/192.0.2.8")
    upstream = router(host, *names)
    appliance = Appliance(bare_box, *network("dns"), f'dns.upstream=["{ROUTER}"]')
    await appliance.start()
    asker = newcomer("asker")
    asker.ip("addr", "add", "10.77.0.9/24", "dev", "eth0")
    dhcp_client.resolver_of(asker).write_text("nameserver 10.77.0.1\n")
    assert look_up(asker, "www.example.org")[1] == "192.0.2.7"
    assert look_up(asker, "www.jami.net")[1] == "192.0.2.8"
    assert look_up(asker, "bootstrap.jami.net")[1] == "10.77.0.1"
    upstream.end()
    await says(appliance, "detail", "no upstream answers", service="upstream", within_s=40)
    async with asyncio.timeout(10):  # until dnsmasq was started anew
        while look_up(asker, "captive.apple.com")[1] != "10.77.0.1":
            await asyncio.sleep(0.2)
    took_s, found = look_up(asker, "www.example.org")
    assert found == "Name or service not known"
    assert took_s < 0.5
    router(host, *names)
    await says(appliance, "detail", f"{ROUTER} answers", service="upstream", within_s=20)
    async with asyncio.timeout(10):
        while look_up(asker, "www.example.org")[1] != "192.0.2.7":
            await asyncio.sleep(0.2)


async def test_a_phone_that_looks_for_the_internet_stays(
    bare_box: Host, newcomer: Newcomer
) -> None:
    appliance = await Appliance(bare_box, *network("dns", "dhcp")).start()
    await hands_out_addresses(appliance)
    phone = newcomer("phone")
    assert dhcp_client.lease(phone) is not None
    for host, path, answer in (
        ("connectivitycheck.gstatic.com", "/generate_204", "204"),
        ("www.msftconnecttest.com", "/connecttest.txt", "200 Microsoft Connect Test"),
        ("detectportal.firefox.com", "/success.txt", "200 success"),
    ):
        assert phone.run(sys.executable, "-c", _GET, host, path).strip() == answer
    told = phone.run(sys.executable, "-c", _GET, "captive.apple.com", "/hotspot-detect.html")
    assert "<BODY>Success</BODY>" in told
    told = phone.run(sys.executable, "-c", _GET, "lanjami.lan", "/connectivity")
    assert "This network has no Internet" in told


async def test_where_the_box_has_no_server_a_client_is_refused_at_once(
    bare_box: Host, newcomer: Newcomer
) -> None:
    appliance = await Appliance(bare_box, *network("dns", "dhcp")).start()
    await hands_out_addresses(appliance)
    phone = newcomer("phone")
    assert dhcp_client.lease(phone) is not None
    connect = "import socket, sys; socket.create_connection((sys.argv[1], 443), timeout=5)"
    for name in ("ns.jami.net", "config.jami.net"):
        started_at = time.monotonic()
        with pytest.raises(AssertionError, match="Connection refused"):
            phone.run(sys.executable, "-c", connect, name)
        assert time.monotonic() - started_at < 1.0


async def test_a_clock_that_is_behind_is_told_of_where_it_may_not_be_set(box: Host) -> None:
    appliance = Appliance(box, 'network.eth0.serve=["ntp"]', through=WITHOUT_THE_CLOCK)
    appliance.state.mkdir()
    note = appliance.state / "a-file-of-tomorrow"
    note.touch()
    tomorrow = time.time() + 86400
    os.utime(note, (tomorrow, tomorrow))
    appliance.launch()
    when = time.strftime("%Y-%m-%d", time.gmtime(tomorrow))
    await says(appliance, "reason", f"it is at least {when}", service="time")
    await says(appliance, "reason", "(CAP_SYS_TIME)", service="time")


async def test_a_machine_that_routes_is_told_of(box: Host) -> None:
    appliance = await Appliance(box, *network("dns")).start()
    assert "routes" not in await _detail(appliance)
    box.forwards()
    await says(appliance, "detail", "this machine routes between its networks")


async def _detail(appliance: Appliance) -> str:
    status = await appliance.status()
    assert status is not None
    return str(status["services"]["network-eth0"]["detail"])
