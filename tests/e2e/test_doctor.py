"""`lanjami doctor`: each fault is made, and exactly its check fails and says what to do."""

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lanjami import layout
from lanjami.config import Config
from lanjami.doctor import from_client
from lanjami.firewall.openings import openings
from tests.support.appliance import LANJAMI, Appliance
from tests.support.lab import Host, Lab, Switch, run
from tests.support.network import hands_out_addresses, network, says

GATEWAY = "10.77.0.254"
_faults_made = itertools.count(1)
_OLD_PYTHON = Path.home() / ".pyenv/versions/3.9.18/bin/python3"


class Ward:
    """A box that runs on a LAN with a client and another device, all healthy."""

    def __init__(self, folder: Path) -> None:
        self.lab = Lab(folder)
        self.switch = self.lab.switch()
        self.box = self._plugged("box", "10.77.0.1/24", "fd77::1/64")
        self.client = self._plugged("client", "10.77.0.2/24")
        self.peer = self._plugged("peer", "10.77.0.3/24")
        self.appliance = Appliance(self.box)

    def _plugged(self, name: str, *addresses: str) -> Host:
        return self.lab.host(name).plug(self.switch, *addresses, gateway=GATEWAY)

    def doctor(self, *more: str) -> dict[str, dict[str, str]]:
        """What it finds on the box, by name."""
        words = ("doctor", "--json", "--state", str(self.appliance.state), *more)
        return _findings(self.box.run(*LANJAMI, *words, check=False))

    def from_client(self, *more: str) -> dict[str, dict[str, str]]:
        """What it finds on the client."""
        words = ("doctor", "--from-client", "10.77.0.1", "--peer", "10.77.0.3", "--json", *more)
        return _findings(self.client.run(*LANJAMI, *words, check=False))


def _findings(printed: str) -> dict[str, dict[str, str]]:
    found: dict[str, Any] = json.loads(printed)
    return {finding["name"]: finding for finding in found["findings"]}


def _faults(findings: dict[str, dict[str, str]]) -> set[str]:
    return {name for name, finding in findings.items() if finding["verdict"] == "fault"}


def _drop(host: Host, hook: str, rule: str, *, family: str = "inet") -> Callable[[], object]:
    """Have a host drop what a rule matches; returns what undoes that."""
    name = f"fault{next(_faults_made)}"
    table, chain = f"{family} {name}", f"{family} {name} {hook}"
    host.run("nft", f"add table {table}")
    host.run("nft", f"add chain {chain} {{ type filter hook {hook} priority 10; }}")
    host.run("nft", f"add rule {chain} {rule}")
    return lambda: host.run("nft", f"delete table {table}")


def _asking(path: str) -> str:
    """What matches a segment that begins with a request for a path, by nftables; a segment of
    Linux has 32 bytes before, with its time stamps."""
    begin = f"GET {path}".encode()
    return f"tcp dport 80 @th,256,{8 * len(begin)} 0x{begin.hex()}"


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.fail("the lab needs root on Linux")
    ward = Ward(tmp_path_factory.mktemp("ward"))
    try:
        ward.box.run(*LANJAMI, "firewall", "show", "--apply")  # without which it does not relay
        asyncio.run(ward.appliance.start(healthy_within_s=30))
        yield ward
    finally:
        ward.lab.close()


def test_on_a_healthy_lan_all_is_well(ward: Ward) -> None:
    findings = ward.doctor()
    assert _faults(findings) == set()
    seen = {name for name, finding in findings.items() if finding["verdict"] == "well"}
    assert seen >= {
        *("running", "services", "clock", "disk", "addresses", "default-route", "ports"),
        *("firewall", "multicast", "broadcast", "discovery", "other-dhcp", "other-bootstrap"),
        *(
            "other-names",
            "dht-opendht",
            "dht-python",
            "names",
            "proxy",
            "mdns",
            "public-dht",
            "turn",
        ),
    }
    table = ward.box.run(*LANJAMI, "doctor", "--state", str(ward.appliance.state))
    assert table.endswith("All is well.\n")


# Each takes the ward, makes a fault and returns what undoes it.
Fault = Callable[[Ward], Callable[[], object]]


def _without_a_default_route(ward: Ward) -> Callable[[], object]:
    ward.box.ip("route", "del", "default")
    return lambda: ward.box.ip("route", "add", "default", "via", GATEWAY)


def _with_a_firewall(ward: Ward) -> Callable[[], object]:
    return _drop(ward.box, "input", "iifname eth0 udp dport 4222 drop")


def _with_multicast_muted(ward: Ward) -> Callable[[], object]:
    return _drop(ward.box, "output", "ip daddr 239.192.0.1 drop")


def _with_ipv6_multicast_muted(ward: Ward) -> Callable[[], object]:
    return _drop(ward.box, "output", "ip6 daddr ff08::101 drop")


def _with_broadcast_muted(ward: Ward) -> Callable[[], object]:
    return _drop(ward.box, "output", "ip daddr 10.77.0.255 drop")


def _with_opendht_deaf(ward: Ward) -> Callable[[], object]:
    return _drop(ward.box, "input", "iifname lo ip daddr 10.77.0.1 udp dport 4222 drop")


def _with_a_deaf_relay(ward: Ward) -> Callable[[], object]:
    """To `ring`: the box itself asks as another user, and would be worse off for that."""
    user = b"\x00\x06\x00\x04ring".hex()  # the attribute, behind that of the transport
    asks = f"ip daddr 10.77.0.1 udp dport 3478 @th,288,64 0x{user}"
    return _drop(ward.box, "input", f"iifname lo {asks} drop")


def _with_a_deaf_node(ward: Ward) -> Callable[[], object]:
    return _drop(ward.box, "input", "iifname lo ip daddr 10.77.0.1 udp dport 4223 drop")


def _with_a_deaf_http(ward: Ward) -> Callable[[], object]:
    return _drop(ward.box, "input", "iifname lo ip daddr 10.77.0.1 tcp dport 80 drop")


def _with_a_http_that_is_deaf_to_ipv6(ward: Ward) -> Callable[[], object]:
    return _drop(ward.box, "input", "iifname lo ip6 daddr fd77::1 tcp dport 80 drop")


def _with_names_unanswered(ward: Ward) -> Callable[[], object]:
    return _drop(ward.box, "input", f"iifname lo {_asking('/addr/')} drop")


def _with_a_proxy_that_is_silent(ward: Ward) -> Callable[[], object]:
    return _drop(ward.box, "input", f"iifname lo {_asking('/node/info')} drop")


def _with_mdns_unanswered(ward: Ward) -> Callable[[], object]:
    return _drop(ward.box, "output", "udp sport 5353 udp dport != 5353 drop")


def _with_discovery_unanswered(ward: Ward) -> Callable[[], object]:
    return _drop(ward.box, "output", "oifname lo udp length 40 ip saddr 10.77.0.1 drop")


def _with_two_dhcp_servers(ward: Ward) -> Callable[[], object]:
    hosts = [
        ward.lab.host(f"router{n}").plug(ward.switch, f"10.77.0.{250 + n}/24") for n in range(2)
    ]
    for host in hosts:
        _hand_out_addresses(host, "10.77.0.200,10.77.0.220")
    return lambda: [host.ip("link", "del", "eth0") for host in hosts]


def _hand_out_addresses(host: Host, addresses: str) -> None:
    host.start(
        *("dnsmasq", "--keep-in-foreground", "--conf-file=", "--user=root", "--pid-file="),
        *("--bind-interfaces", "--interface=eth0", "--except-interface=lo", "--no-resolv"),
        f"--dhcp-range={addresses}",
        f"--dhcp-leasefile={host.lab.folder}/{host.name}",
    )


def _with_a_clock_that_is_behind(ward: Ward) -> Callable[[], object]:
    note = ward.appliance.state / "a-file-of-tomorrow"
    note.touch()
    os.utime(note, (time.time() + 86400,) * 2)
    return note.unlink


def _with_a_stranger_in_the_dht(ward: Ward) -> Callable[[], object]:
    stranger = ward.lab.host("stranger").plug(ward.switch, "203.0.113.5/24")
    stranger.ip("route", "add", "10.77.0.0/24", "dev", "eth0")
    ward.box.ip("route", "add", "203.0.113.0/24", "dev", "eth0")
    stranger.start(sys.executable, "-c", _JOIN)
    # OpenDHT tells of a node that has answered it. It asks its nodes each 5 to 25 s, but each 60 to
    # 180 s when none has come for 150 s (Dht::confirmNodes), and nobody says when.
    until = time.monotonic() + 240
    while "public-dht" not in _faults(ward.doctor()) and time.monotonic() < until:
        pass
    return stranger.unplug


_JOIN = """
import time
from opendht import DhtRunner
node = DhtRunner()
node.run(port=4222, ipv4="203.0.113.5", ipv6="")
while True:
    node.bootstrap("10.77.0.1", "4222")
    time.sleep(1)
"""


@pytest.mark.parametrize(
    ("make", "failing", "advice"),
    [
        (_without_a_default_route, {"default-route"}, "type the box's address"),
        (_with_a_firewall, {"firewall"}, "lanjami firewall show"),
        (_with_multicast_muted, {"multicast"}, "drops 239.192.0.1"),
        (_with_ipv6_multicast_muted, {"multicast"}, "ff08::101"),
        (_with_broadcast_muted, {"broadcast"}, "drops broadcasts"),
        (_with_discovery_unanswered, {"discovery"}, "lanjami status"),
        (_with_a_deaf_node, {"dht-python"}, "lanjami status"),
        (_with_opendht_deaf, {"dht-opendht"}, "lanjami status"),
        (_with_a_deaf_relay, {"turn"}, "lanjami status"),
        (_with_a_deaf_http, {"names", "proxy"}, "lanjami status"),
        (_with_a_http_that_is_deaf_to_ipv6, {"names", "proxy"}, "lanjami status"),
        (_with_names_unanswered, {"names"}, "nobody there finds others by name"),
        (_with_a_proxy_that_is_silent, {"proxy"}, "phones there stay offline"),
        (_with_mdns_unanswered, {"mdns"}, "drops UDP 5353"),
        (_with_two_dhcp_servers, {"other-dhcp"}, "switch DHCP off in all but one"),
        (_with_a_clock_that_is_behind, {"clock"}, "wrong once: `find "),
        (_with_a_stranger_in_the_dht, {"public-dht"}, "dht.routed = false"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
@pytest.mark.timeout(420)  # the stranger may take long
def test_a_fault_fails_its_own_check(
    ward: Ward, make: Fault, failing: set[str], advice: str
) -> None:
    heal = make(ward)
    try:
        findings = ward.doctor()
    finally:
        heal()
    assert _faults(findings) == failing, findings
    assert all(advice in findings[name]["advice"] for name in failing)


def test_a_fault_is_told_with_its_family(ward: Ward) -> None:
    heal = _with_ipv6_multicast_muted(ward)
    other = _with_a_http_that_is_deaf_to_ipv6(ward)
    try:
        findings = ward.doctor()
    finally:
        other()
        heal()
    assert "not heard back on eth0 (IPv6):" in findings["multicast"]["meaning"]
    for name in ("names", "proxy"):
        assert "([fd77::1]:80: " in findings[name]["meaning"]


# --- faults that are there before the box starts ------------------------------------------------


@pytest.fixture
def alone(lab: Lab, switch: Switch) -> Host:
    return lab.host("box").plug(switch, "10.77.0.1/24", gateway=GATEWAY)


def _examined(host: Host, state: Path, *more: str) -> tuple[int, dict[str, dict[str, str]]]:
    words = ("doctor", "--json", "--state", str(state), *more)
    printed = host.run("sh", "-c", '"$@"; echo "exit $?"', "sh", *LANJAMI, *words)
    told, _, status = printed.rpartition("exit ")
    return int(status), _findings(told)


def test_without_a_box_it_says_so_and_looks_at_the_machine(alone: Host, tmp_path: Path) -> None:
    status, findings = _examined(alone, tmp_path)
    assert status == 3
    assert _faults(findings) == {"running"}
    assert "lanjami up" in findings["running"]["advice"]
    assert findings["ports"]["meaning"].endswith("free")


async def test_a_taken_port_is_told_with_who_has_it(alone: Host) -> None:
    taking = alone.start(sys.executable, "-m", "http.server", "80")
    appliance = await Appliance(alone).start()
    status, findings = _examined(alone, appliance.state)
    assert status == 1
    assert _faults(findings) == {"ports"}
    assert (
        f"TCP 80 by {sys.executable} -m http.server 80 (process {taking.pid})"
        in (findings["ports"]["meaning"])
    )
    assert "http.ports" in findings["ports"]["advice"]


async def test_only_the_port_of_http_that_is_served_is_looked_at(alone: Host) -> None:
    alone.start(sys.executable, "-m", "http.server", "8080")
    appliance = await Appliance(alone).start()
    _drop(alone, "input", "tcp dport 8080 drop")
    status, findings = _examined(alone, appliance.state)
    assert (status, _faults(findings)) == (0, set())
    told = findings["ports"]["meaning"].split("; ")  # no relay is served without a firewall
    assert told == ["4222, 4223, 80, 8888, 5353: the box's own", "3478, 61001-61499: free"]
    _drop(alone, "input", "tcp dport 80 drop", family="ip")
    assert "TCP 80 on eth0" in _examined(alone, appliance.state)[1]["firewall"]["meaning"]


def test_a_port_of_discovery_that_nobody_shares_is_told(alone: Host, tmp_path: Path) -> None:
    taking = alone.start(sys.executable, "-c", _HOLD, "8888")
    assert "UDP port 8888 is taken" in alone.run(
        *("sh", "-c", '"$@" 2>&1', "sh", *LANJAMI, "up", "--state", str(tmp_path)), check=False
    )
    _, findings = _examined(alone, tmp_path)
    assert "ports" in _faults(findings)
    assert f"UDP 8888 by {sys.executable}" in findings["ports"]["meaning"]
    assert f"(process {taking.pid})" in findings["ports"]["meaning"]


_HOLD = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", int(sys.argv[1])))
time.sleep(600)
"""


async def test_a_full_disk_and_one_that_takes_nothing_are_told(alone: Host) -> None:
    appliance = Appliance(alone)
    state = str(appliance.state)
    appliance.state.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=100m", "lanjami-test", state)
    try:
        await appliance.start()
        filler = appliance.state / "filler"
        filler.write_bytes(bytes(55 << 20))  # the box itself minds only below 32 MiB
        status, findings = _examined(alone, appliance.state)
        assert (status, _faults(findings)) == (1, {"disk"})
        assert "is full" in findings["disk"]["meaning"]
        assert "remove what is not needed" in findings["disk"]["advice"]
        filler.unlink()
        assert _faults(_examined(alone, appliance.state)[1]) == set()
        appliance.kill()
        run("mount", "-o", "remount,ro", state)
        status, findings = _examined(alone, appliance.state)
        assert (status, _faults(findings)) == (3, {"running", "disk"})
        assert "read-only" in findings["disk"]["meaning"]
    finally:
        appliance.kill()
        run("umount", "-l", state)


@pytest.mark.parametrize("form", ["nftables", "iptables"])
def test_a_firewall_that_drops_all_is_a_fault_until_our_rules_are_in_it(
    alone: Host, tmp_path: Path, form: str
) -> None:
    _wall(alone, form)
    _, findings = _examined(alone, tmp_path)
    meaning = findings["firewall"]["meaning"]
    for opening in ("UDP 4222 on eth0", "TCP 80 on eth0", "UDP 8888 on eth0", "UDP 3478 on eth0"):
        assert opening in meaning
    rules = tmp_path / "rules"
    if form == "nftables":
        alone.run(*LANJAMI, *("firewall", "show", "--apply", "--into", "inet filter input"))
    else:
        rules.write_text(alone.run(*LANJAMI, "firewall", "show", "--format", form))
        alone.run("iptables-restore", "--noflush", str(rules))
    assert _examined(alone, tmp_path)[1]["firewall"]["verdict"] == "well"


@pytest.mark.parametrize("left", ["meta l4proto . th dport", "ip protocol . udp dport"])
def test_a_firewall_that_accepts_by_a_map_is_no_fault(
    alone: Host, tmp_path: Path, left: str
) -> None:
    alone.without_ipv6()
    _wall(alone, "nftables")
    places = [(o.protocol, o.ports) for o in openings(Config()) if o.first]
    if "udp" in left:
        alone.run("nft", "add rule inet filter input meta l4proto tcp accept")
        places = [place for place in places if place[0] == "udp"]
    pairs = ", ".join(f"{protocol} . {ports} : accept" for protocol, ports in places)
    alone.run("nft", f"add rule inet filter input {left} vmap {{ {pairs} }}")
    assert _examined(alone, tmp_path)[1]["firewall"]["verdict"] == "well"
    missing = ", ".join(f"{protocol} . 1{ports} : accept" for protocol, ports in places[:1])
    alone.run("nft", "flush chain inet filter input")
    alone.run("nft", f"add rule inet filter input {left} vmap {{ {missing} }}")
    assert "UDP 4222 on eth0" in _examined(alone, tmp_path)[1]["firewall"]["meaning"]


def _wall(host: Host, form: str) -> None:
    """As firewalls do: all is dropped but what belongs to what was asked for."""
    if form == "iptables":
        host.run("iptables", "-A", "INPUT", "-i", "lo", "-j", "ACCEPT")
        state = ("-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT")
        host.run("iptables", "-A", "INPUT", *state)
        host.run("iptables", "-P", "INPUT", "DROP")
        return
    chain = "inet filter input"
    host.run("nft", "add table inet filter")
    host.run("nft", f"add chain {chain} {{ type filter hook input priority 0; policy drop; }}")
    host.run("nft", f"add rule {chain} iifname lo accept")
    host.run("nft", f"add rule {chain} ct state established,related accept")


def test_ufw_is_a_fault_until_our_rules_are_in_it(alone: Host, tmp_path: Path) -> None:
    alone.run("sh", "-ec", _UFW, "sh", str(tmp_path))
    meaning = _examined(alone, tmp_path)[1]["firewall"]["meaning"]
    for opening in ("UDP 4222 on eth0", "TCP 80 on eth0", "UDP 8888 on eth0", "UDP 3478 on eth0"):
        assert opening in meaning
    assert "UDP 5353" not in meaning  # which it lets in by itself
    shown = alone.run(*LANJAMI, "firewall", "show", "--format", "ufw")
    alone.run("sh", "-ec", _UFW + shown, "sh", str(tmp_path))
    assert _examined(alone, tmp_path)[1]["firewall"]["verdict"] == "well"


def test_firewalld_is_a_fault_until_our_rules_are_in_it(alone: Host, tmp_path: Path) -> None:
    bus = f"unix:path={tmp_path}/bus"
    config = tmp_path / "bus.conf"
    config.write_text(_BUS.format(bus))
    alone.start("dbus-daemon", "--nofork", "--nopidfile", f"--config-file={config}")
    settings = tmp_path / "firewalld"
    settings.mkdir()
    daemon = alone.start(
        *("firewalld", "--nofork", "--nopid", f"--system-config={settings}"),
        environment={"DBUS_SYSTEM_BUS_ADDRESS": bus},
    )
    in_it = ("env", f"DBUS_SYSTEM_BUS_ADDRESS={bus}", "sh", "-ec")
    until = time.monotonic() + 30
    while alone.run(*in_it, "firewall-cmd --state", check=False).strip() != "running":
        assert time.monotonic() < until, daemon.output()
    meaning = _examined(alone, tmp_path)[1]["firewall"]["meaning"]
    for opening in ("UDP 4222 on eth0", "TCP 80 on eth0", "UDP 8888 on eth0", "UDP 3478 on eth0"):
        assert opening in meaning
    alone.run(*in_it, alone.run(*LANJAMI, "firewall", "show", "--format", "firewalld"))
    assert _examined(alone, tmp_path)[1]["firewall"]["verdict"] == "well"


# On which everybody may do everything, and nobody is started to ask whether they may.
_BUS = """
<busconfig>
  <type>system</type>
  <listen>{}</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""

# With settings of its own: they are mounted for this one shell.
_UFW = """
[ -d "$1/ufw" ] || cp -a /etc/ufw "$1/ufw"
mount --bind "$1/ufw" /etc/ufw
ufw --force enable
"""


def test_an_address_that_nobody_gave_is_told(lab: Lab, switch: Switch, tmp_path: Path) -> None:
    host = lab.host("box").plug(switch, "169.254.7.7/16")
    host.ip("route", "add", "default", "dev", "eth0")
    _, findings = _examined(host, tmp_path)
    assert _faults(findings) == {"running", "addresses"}
    assert "start the router" in findings["addresses"]["advice"]
    host.ip("link", "set", "eth0", "down")
    _, findings = _examined(host, tmp_path)
    assert "nobody can reach the box" in findings["addresses"]["meaning"]


async def test_another_box_is_told_as_another_name_server(
    lab: Lab, switch: Switch, alone: Host
) -> None:
    other = lab.host("other").plug(switch, "10.77.0.5/24", gateway=GATEWAY)
    appliance = await Appliance(alone).start()
    await Appliance(other).start()
    _, findings = _examined(alone, appliance.state)
    assert _faults(findings) == {"other-names"}
    assert "10.77.0.5" in findings["other-names"]["meaning"]
    assert findings["other-bootstrap"]["verdict"] == "note"


async def test_where_the_box_is_the_network_all_is_well_too(
    bare_box: Host,
) -> None:
    for address in ("127.0.0.53", "127.0.0.54"):  # as systemd-resolved has them
        bare_box.start(
            *("dnsmasq", "--keep-in-foreground", "--conf-file=", "--user=root", "--pid-file="),
            *("--no-resolv", "--bind-interfaces", f"--listen-address={address}"),
            output=f"resolved-{address}",
        )
    appliance = await Appliance(bare_box, *network("dns", "dhcp")).start()
    await hands_out_addresses(appliance)
    settings = [word for each in network("dns", "dhcp") for word in ("--set", each)]
    status, findings = _examined(bare_box, appliance.state, *settings)
    assert (status, _faults(findings)) == (0, set())
    assert findings["jami-dns"]["verdict"] == "well"
    assert findings["default-route"]["meaning"] == "clients have one from the box"


async def test_a_name_of_jami_that_is_not_answered_is_told(bare_box: Host) -> None:
    settings = network("dns")
    appliance = await Appliance(bare_box, *settings).start()
    bare_box.ip("route", "add", "default", "via", GATEWAY)
    asked = b"\x08dhtproxy".hex()  # behind the header, which is all that UDP and DNS have before
    _drop(bare_box, "input", f"iifname lo udp dport 53 @th,160,72 0x{asked} drop")
    status, findings = _examined(bare_box, appliance.state, *_set(settings))
    assert (status, _faults(findings)) == (1, {"jami-dns"})
    assert "dhtproxy.jami.net at 10.77.0.1" in findings["jami-dns"]["meaning"]
    assert "bootstrap" not in findings["jami-dns"]["meaning"]
    assert "another program on port 53" in findings["jami-dns"]["advice"]


async def test_a_service_that_is_worse_off_is_told(alone: Host) -> None:
    appliance = Appliance(alone)
    appliance.state.mkdir()
    (appliance.state / layout.BACKUPS).write_text("no folder")
    appliance.launch()
    worse = None
    while worse != {"backups"}:
        await asyncio.sleep(0.2)
        services = (await appliance.status() or {"services": {}})["services"]
        worse = {n for n, s in services.items() if s["state"] != "up" or s["reason"]}
    status, findings = _examined(alone, appliance.state)
    assert (status, _faults(findings)) == (1, {"services"})
    assert "backups: " in findings["services"]["meaning"]
    assert "the reason says what to do" in findings["services"]["advice"]


async def test_of_two_lans_the_one_with_the_fault_is_told(
    lab: Lab, switch: Switch, alone: Host
) -> None:
    alone.plug(second := lab.switch("second"), "10.78.0.1/24", interface="eth1")
    appliance = await Appliance(alone).start()
    findings = _examined(alone, appliance.state)[1]
    assert _faults(findings) == set()
    assert "eth1 has none of its own" in findings["default-route"]["meaning"]
    routers = [lab.host(f"router{n}").plug(second, f"10.78.0.{250 + n}/24") for n in range(2)]
    for router in routers:
        _hand_out_addresses(router, "10.78.0.200,10.78.0.220")
    heal = [
        _drop(alone, "output", "oifname eth1 ip daddr 239.192.0.1 drop"),
        _drop(alone, "output", "oifname eth1 ip daddr 224.0.0.251 drop"),
        _drop(alone, "input", "iifname eth1 udp dport 4223 drop"),
    ]
    findings = _examined(alone, appliance.state)[1]
    assert _faults(findings) == {"multicast", "mdns", "firewall", "other-dhcp"}
    for name in _faults(findings):
        assert "eth1" in findings[name]["meaning"]
        assert "eth0" not in findings[name]["meaning"]
    for undo in heal:
        undo()


# --- from a client ------------------------------------------------------------------------------


def test_from_a_client_all_is_well_also_with_an_old_python(ward: Ward) -> None:
    findings = ward.from_client()
    assert {finding["verdict"] for finding in findings.values()} == {"well"}
    assert findings.keys() >= {"isolation", "names", "proxy", "dht-4222", "dht-4223", "turn"}
    file = ward.lab.folder / "doctor.py"
    fetch = "import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])"
    ward.client.run(sys.executable, "-c", fetch, "http://10.77.0.1/doctor.py", str(file))
    assert file.read_bytes() == Path(from_client.__file__).read_bytes()
    python = str(_OLD_PYTHON) if _OLD_PYTHON.exists() else sys.executable
    printed = ward.client.run(python, "-I", str(file), "10.77.0.1", "--peer", "10.77.0.3")
    assert printed.endswith("All is well.\n")


def _with_clients_kept_apart(ward: Ward) -> Callable[[], object]:
    ports = [_port_of(ward, host) for host in (ward.client, ward.peer)]
    for port in ports:
        ward.switch.run("bridge", "link", "set", "dev", port, "isolated", "on")
    ward.client.ip("neigh", "flush", "all")
    return lambda: [
        ward.switch.run("bridge", "link", "set", "dev", port, "isolated", "off") for port in ports
    ]


def _with_clients_that_knew_each_other(ward: Ward) -> Callable[[], object]:
    heal = _with_clients_kept_apart(ward)
    mac = json.loads(ward.peer.ip("-json", "link", "show", "eth0"))[0]["address"]
    entry = ("10.77.0.3", "lladdr", mac, "dev", "eth0", "nud", "stale")
    ward.client.ip("neigh", "replace", *entry)
    return heal


def test_a_peer_that_answers_nothing_but_arp_says_nothing_of_the_network(ward: Ward) -> None:
    heal = _drop(ward.peer, "input", "drop")
    try:
        findings = ward.from_client()
    finally:
        heal()
    assert _faults(findings) == set()
    assert findings["isolation"]["verdict"] == "skipped"
    assert "is there, but answers nothing" in findings["isolation"]["meaning"]


def _port_of(ward: Ward, host: Host) -> str:
    """The port of the switch that a host's cable is in."""
    listed = json.loads(host.ip("-json", "link", "show", "eth0"))
    ports = json.loads(ward.switch.ip("-json", "link"))
    (name,) = [p["ifname"] for p in ports if p["ifindex"] == listed[0]["link_index"]]
    return str(name)


def _at_the_switch(rule: str) -> Fault:
    return lambda ward: _drop(ward.switch, "forward", rule, family="bridge")


def _client_without_a_route(ward: Ward) -> Callable[[], object]:
    ward.client.ip("route", "del", "default")
    return lambda: ward.client.ip("route", "add", "default", "via", GATEWAY)


@pytest.mark.parametrize(
    ("make", "failing", "advice"),
    [
        (_with_clients_kept_apart, "isolation", "AP isolation"),
        (_with_clients_that_knew_each_other, "isolation", "AP isolation"),
        (_client_without_a_route, "route", "give it a gateway"),
        (_at_the_switch("ip daddr 239.192.0.1 drop"), "discovery-multicast", "IGMP snooping"),
        (_at_the_switch("ip daddr 255.255.255.255 drop"), "discovery-broadcast", "broadcasts"),
        (
            _at_the_switch("ip daddr 10.77.0.1 udp dport 8888 drop"),
            "discovery-unicast",
            "drops UDP 8888",
        ),
        (_at_the_switch("udp dport 4222 drop"), "dht-4222", "drops UDP 4222"),
        (_at_the_switch("udp dport 4223 drop"), "dht-4223", "drops UDP 4223"),
        (_at_the_switch("tcp dport 80 drop"), "reachable", "looks for a firewall"),
        (_at_the_switch("udp dport 3478 drop"), "turn", "drops UDP 3478"),
        (_at_the_switch(f"{_asking('/addr/')} drop"), "names", "lanjami status"),
        (_at_the_switch(f"{_asking('/node/info')} drop"), "proxy", "switch the proxy off"),
    ],
    ids=[
        *("isolation", "isolation-of-late", "route", "multicast", "broadcast", "unicast"),
        *("dht", "dht-python", "http", "turn", "names", "proxy"),
    ],
)
def test_a_fault_on_the_way_fails_its_own_check(
    ward: Ward, make: Fault, failing: str, advice: str
) -> None:
    heal = make(ward)
    try:
        findings = ward.from_client()
    finally:
        heal()
    assert _faults(findings) == {failing}, findings
    assert advice in findings[failing]["advice"]


def _asked_from(
    client: Host, box: str = "10.77.0.1", *more: str
) -> tuple[int, dict[str, dict[str, str]]]:
    words = ("doctor", "--from-client", box, "--json", *more)
    printed = client.run("sh", "-c", '"$@"; echo "exit $?"', "sh", *LANJAMI, *words)
    told, _, status = printed.rpartition("exit ")
    return int(status), _findings(told)


@pytest.fixture
def client(lab: Lab, switch: Switch) -> Host:
    return lab.host("client").plug(switch, "10.77.0.2/24", "fd77::2/64", gateway=GATEWAY)


async def test_names_that_are_down_are_told_and_no_firewall(alone: Host, client: Host) -> None:
    appliance = Appliance(alone)
    appliance.state.mkdir()
    (appliance.state / layout.NAMES).write_bytes(b"no database" * 1000)
    appliance.launch()
    await says(appliance, "reason", "was damaged", service="names")
    status, findings = _asked_from(client)
    assert (status, _faults(findings)) == (1, {"names"})
    assert findings["reachable"]["verdict"] == "well"
    assert "HTTP 503: " in findings["names"]["meaning"]
    assert "lanjami status" in findings["names"]["advice"]


async def test_a_box_of_other_ports_and_one_node_is_well(alone: Host, client: Host) -> None:
    alone.ip("addr", "add", "fd77::1/64", "dev", "eth0", "nodad")
    settings = ("http.ports=[8000]", "dht.port=5000", "turn.port=3500")
    alone.run(*LANJAMI, "firewall", "show", "--apply", *_set(settings))
    await Appliance(alone, *settings, 'dht.engines=["opendht"]').start()
    for box in ("10.77.0.1", "[fd77::1]"):
        status, findings = _asked_from(client, f"{box}:8000")
        assert (status, _faults(findings)) == (0, set()), findings
        assert findings["dht-5000"]["verdict"] == findings["turn"]["verdict"] == "well"
        assert "dht-4223" not in findings
        assert "has no proxy" in findings["proxy"]["meaning"]
    file = alone.lab.folder / "doctor.py"
    fetch = "import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])"
    client.run(sys.executable, "-c", fetch, "http://10.77.0.1:8000/doctor.py", str(file))
    printed = client.run(sys.executable, "-I", str(file), "10.77.0.1")
    assert "the box answers at http://10.77.0.1:8000" in printed
    assert printed.endswith("All is well.\n")


async def test_another_address_of_the_box_is_no_other_client(alone: Host, client: Host) -> None:
    alone.ip("addr", "add", "10.77.0.9/24", "dev", "eth0")
    await Appliance(alone).start()
    for box in ("10.77.0.1", "10.77.0.9"):
        _, findings = _asked_from(client, box)
        assert _faults(findings) == set()
        assert "no other device answered" in findings["isolation"]["meaning"]


def _set(settings: Sequence[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def test_a_box_that_is_not_there_is_told(ward: Ward) -> None:
    words = ("doctor", "--from-client", "10.77.0.99")
    printed = ward.client.run("sh", "-c", '"$@"; echo "exit $?"', "sh", *LANJAMI, *words)
    assert printed.endswith("exit 3\n")
    assert "no lanjami answers at 10.77.0.99" in printed
