"""A machine that gets its address, router and name server by DHCP, as everybody's does."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.lab import Host, Lab, Switch

_SCRIPT = r"""#!/bin/sh
case $1 in bound|renew)
    echo "lease ip=$ip mask=$mask seconds=$lease" \
        "router=$router dns=$dns ntp=$ntpsrv server=$serverid"
    ip addr replace "$ip/$mask" dev "$interface"
    [ -z "$router" ] || ip route replace default via "$router"
    : >RESOLVER
    for server in $dns; do echo "nameserver $server" >>RESOLVER; done
esac
"""


def resolver_of(host: Host) -> Path:
    """The resolv.conf that programs on this host read (ip-netns(8)); it is there after the call,
    and empty at first. Gone with `forget`."""
    path = Path("/etc/netns", host.namespace, "resolv.conf")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.touch()
    return path


def forget(host: Host) -> None:
    folder = Path("/etc/netns", host.namespace)
    for file in folder.glob("*"):
        file.unlink()
    if folder.exists():
        folder.rmdir()


@contextmanager
def newcomer(lab: Lab, switch: Switch, name: str) -> Iterator[Host]:
    """A machine that knows nothing of the LAN yet, and asks nobody for names."""
    host = lab.host(name).without_ipv6().plug(switch)
    resolver_of(host)
    try:
        yield host
    finally:
        forget(host)


def lease(host: Host, *, tries: int = 8, interface: str = "eth0") -> dict[str, str] | None:
    """Ask for a lease and configure the host by it; what was given, or None."""
    script = host.lab.folder / f"{host.name}-udhcpc"
    script.write_text(_SCRIPT.replace("RESOLVER", str(resolver_of(host))))
    script.chmod(0o755)
    told = host.run(
        *("udhcpc", "-i", interface, "-n", "-q", "-f", "-t", str(tries), "-T", "1"),
        *("-O", "ntpsrv", "-s", str(script)),
        check=False,
    )
    found = re.search("^lease (.*)$", told, re.MULTILINE)
    return None if found is None else dict(re.findall(r"(\w+)=(\S*)", found[1]))
