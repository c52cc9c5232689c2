"""Somebody with a laptop at a switch where a box of the image may be the network."""

import sys

from tests.support import dhcp_client
from tests.support.lab import Host

ADDRESS = "10.77.0.1"  # of the box as the network on its first cable


def has_an_address(host: Host) -> bool:
    """Whether the box gives it one; it is also its DNS server then."""
    if (given := dhcp_client.lease(host)) is None:
        return False
    assert (given["server"], given["dns"]) == (ADDRESS, ADDRESS)
    return True


def is_served(host: Host) -> bool:
    try:
        host.run(sys.executable, "-m", "tests.image.asking", ADDRESS, "80", "4222")
    except AssertionError:  # what is not there yet
        return False
    return True
