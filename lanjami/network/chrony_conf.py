"""The configuration of chrony: a clock for a LAN that may have no other. Pure."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

STRATUM = 10  # behind every real clock; of boxes that serve one LAN, one leads (orphan)


def render(
    *, servers: Iterable[str], clients: Iterable[IPv4Network | IPv6Network], folder: str
) -> str:
    """The whole configuration file; its own files are in `folder`."""
    lines = [
        *(f"server {server} iburst" for server in servers),
        f"local stratum {STRATUM} orphan",
        *(f"allow {network}" for network in clients),
        f"driftfile {folder}/chrony.drift",
        f"pidfile {folder}/chrony.pid",
        # nobody commands it, but for its own configuration
        "cmdport 0",
        "bindcmdaddress /",
        # a clock that is far off is set in one step while it starts; later it is led back
        "makestep 1 3",
    ]
    return "".join(f"{line}\n" for line in lines)
