"""The configuration of chrony: a clock for a LAN that may have no other. Pure."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

STRATUM = 10  # behind every real clock; of boxes that serve one LAN, one leads (orphan)


def render(
    *, servers: Iterable[str], clients: Iterable[IPv4Network | IPv6Network], folder: str
) -> str:
    """The whole configuration file; its own files are in `folder`."""
    lines = [
        *_servers(servers),
        *(f"allow {network}" for network in clients),
        f"local stratum {STRATUM} orphan",
        f"driftfile {folder}/chrony.drift",
        *_alone(folder),
    ]
    return "".join(f"{line}\n" for line in lines)


def follower(servers: Iterable[str], *, folder: str) -> str:
    """The same for one that sets this machine's clock and tells nobody the time."""
    return "".join(f"{line}\n" for line in (*_servers(servers), "port 0", *_alone(folder)))


def _servers(servers: Iterable[str]) -> list[str]:
    # a clock that is far off is set in one step while it starts; later it is led back
    return [*(f"server {server} iburst" for server in servers), "makestep 1 3"]


def _alone(folder: str) -> list[str]:
    # nobody commands it, but for its own configuration
    return [f"pidfile {folder}/chrony.pid", "cmdport 0", "bindcmdaddress /"]
