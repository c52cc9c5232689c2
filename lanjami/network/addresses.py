"""Gives an interface the addresses that the box is to have on it."""

import asyncio
import contextlib
import re
import secrets
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

from lanjami.errors import HostError
from lanjami.network.plan import SITE_LENGTH
from lanjami.runtime import disk, log, process

_log = log.get(__name__)


async def add(interface: str, addresses: list[IPv4Interface | IPv6Interface]) -> None:
    """Have the interface up and with these addresses, beside those that it has; HostError."""
    ip = await asyncio.to_thread(process.installed, "ip", package="iproute2")
    await process.output_of([ip, "link", "set", "dev", interface, "up"])
    if any(address.version == 6 for address in addresses):
        await _take_none_from(interface)
    for address in addresses:
        at_once = ["nodad"] if address.version == 6 else []
        await process.output_of(
            [ip, "address", "replace", str(address), "dev", interface, *at_once]
        )


async def _take_none_from(interface: str) -> None:
    """The box hears its own router advertisements, and would take another address by them."""
    setting = f"/proc/sys/net/ipv6/conf/{interface}/autoconf"
    with contextlib.suppress(HostError):  # a second address harms nobody
        await process.output_of(["/bin/sh", "-c", 'echo 0 >"$1"', "sh", setting])


def site(path: Path) -> bytes:
    """The random part of an IPv6 network of our own, in the file at `path`, which is made where
    it is not: chosen once, so that clients keep their addresses."""
    try:
        text = path.read_text("ascii").strip()
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(f"{path} cannot be read: {error}") from error
    if re.fullmatch(f"[0-9a-f]{{{2 * SITE_LENGTH}}}", text):
        return bytes.fromhex(text)
    if text:
        _log.warning("the IPv6 network's number was damaged, a new one is made", file=path)
    made = secrets.token_bytes(SITE_LENGTH)
    disk.write_atomically(path, made.hex().encode() + b"\n")
    return made
