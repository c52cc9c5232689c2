"""The configurations, judged by the programs that they are for."""

import itertools
import shutil
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path

import pytest

from lanjami.config import Served, Wifi
from lanjami.network import chrony_conf, dnsmasq_conf, hostapd_conf
from lanjami.network.plan import Plan, Pool

PLAN = Plan(
    interface="eth0",
    serves=frozenset(),
    v4=IPv4Interface("10.77.0.1/24"),
    v6=IPv6Interface("fd77::1/64"),
    pool=Pool(IPv4Address("10.77.0.20"), IPv4Address("10.77.0.254")),
    upstream=None,
    jami_is_ours=True,
    connectivity_checks=True,
)
SERVED: tuple[Served, ...] = ("dns", "dhcp", "ra", "ntp")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} judges it")


def _judged(*command: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)


@needs("dnsmasq")
@pytest.mark.parametrize("upstream", [None, "10.77.0.254", "fd77::fe"])
def test_dnsmasq_understands_whatever_is_served(tmp_path: Path, upstream: str | None) -> None:
    file = tmp_path / "conf"
    for length in range(1, len(SERVED) + 1):
        for served in itertools.combinations(SERVED, length):
            for v4, v6 in itertools.product((PLAN.v4, None), (PLAN.v6, None)):
                if (v4, v6) == (None, None) or (v4 is None and "dhcp" in served):
                    continue
                if v6 is None and "ra" in served:
                    continue
                plan = replace(PLAN, serves=frozenset(served), v4=v4, v6=v6, upstream=upstream)
                for leases in (str(tmp_path / "leases"), None):
                    told = dnsmasq_conf.render(plan, leases=leases, user="root", group="root")
                    file.write_text(told)
                    judged = _judged("dnsmasq", "--test", "-C", file)
                    assert judged.returncode == 0, f"{plan}: {judged.stderr}"


@needs("dnsmasq")
def test_dnsmasq_would_refuse_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "conf"
    file.write_text("dhcp-range=10.77.0.300\n")
    assert _judged("dnsmasq", "--test", "-C", file).returncode != 0


@needs("chronyd")
def test_chrony_understands_its_configuration(tmp_path: Path) -> None:
    file = tmp_path / "conf"
    file.write_text(
        chrony_conf.render(
            servers=["10.77.0.254", "fd77::fe"],
            clients=[IPv4Network("10.77.0.0/24"), IPv6Network("fd77::/64")],
            folder=str(tmp_path),
        )
    )
    judged = _judged("chronyd", "-p", "-f", file)
    assert judged.returncode == 0, judged.stderr
    file.write_text(chrony_conf.follower(["10.77.0.254"], folder=str(tmp_path)))
    judged = _judged("chronyd", "-p", "-f", file)
    assert judged.returncode == 0, judged.stderr
    assert "server 10.77.0.254 iburst" in judged.stdout
    file.write_text("local stratus 10\n")
    assert _judged("chronyd", "-p", "-f", file).returncode != 0


@needs("hostapd")
@pytest.mark.parametrize("passphrase", ["", "correct horse #1 = good"])
@pytest.mark.parametrize("ssid", ["lanjami", "bücher\\n", "#"])
def test_hostapd_understands_its_configuration(tmp_path: Path, ssid: str, passphrase: str) -> None:
    """It has no way to only look: it reads all, and then finds no such interface."""
    file = tmp_path / "conf"
    settings = Wifi(interface="nowhere0", ssid=ssid, passphrase=passphrase, country="DE")
    file.write_text(hostapd_conf.render(settings, channel=6, control=str(tmp_path / "control")))
    told = _judged("hostapd", "-t", file).stdout
    assert "errors found in configuration" not in told
    assert "nowhere0" in told
    file.write_text(file.read_text().replace("channel=6", "channel=six\nno_such_setting=1"))
    assert "errors found in configuration" in _judged("hostapd", file).stdout
