"""Asks servers as a client would: for an address, a name, the time."""

import asyncio
import secrets
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

from lanjami.errors import WireError
from lanjami.network import dhcp_wire, dns_wire, guard, ntp_wire
from lanjami.runtime import net

_Ip = IPv4Address | IPv6Address

_LARGEST = 4096  # bytes


async def offers(interface: str, *, listen_s: float = guard.LISTEN_S) -> list[dhcp_wire.Offer]:
    """Every DHCP server's offer on the LAN of an interface, this machine's own among them."""
    loop = asyncio.get_running_loop()
    mac, transaction = net.hardware_address(interface), secrets.randbits(32)
    found: list[dhcp_wire.Offer] = []
    with net.broadcaster(interface, dhcp_wire.CLIENT_PORT) as sock:
        ends_at = loop.time() + listen_s
        while (left_s := ends_at - loop.time()) > 0:
            with suppress(OSError):  # the link is down: nobody hears it, nobody answers
                await loop.sock_sendto(
                    sock,
                    dhcp_wire.discover(mac=mac, transaction=transaction),
                    ("255.255.255.255", dhcp_wire.SERVER_PORT),
                )
            with suppress(TimeoutError):
                async with asyncio.timeout(min(guard.ASK_AGAIN_S, left_s)):
                    while True:
                        datagram = await loop.sock_recv(sock, _LARGEST)
                        with suppress(WireError):
                            offer = dhcp_wire.read_offer(datagram, mac=mac, transaction=transaction)
                            found += [offer] if offer is not None else []
    return found


async def name(
    server: _Ip, name: str, *, tries: int = 3, try_s: float = 1.0
) -> dns_wire.Answer | None:
    """What a DNS server says of a name; None where it does not answer."""
    for _ in range(tries):
        id = secrets.randbits(16)
        answer = await _ask(server, dns_wire.PORT, dns_wire.ask(name, id=id), within_s=try_s)
        with suppress(WireError):
            if answer is not None and (found := dns_wire.read(answer, id=id)) is not None:
                return found
    return None


async def time(server: _Ip, *, tries: int = 3, try_s: float = 1.0) -> float | None:
    """The time in seconds since 1970 that an NTP server tells; None where it tells none."""
    for _ in range(tries):
        token = secrets.token_bytes(8)
        answer = await _ask(server, ntp_wire.PORT, ntp_wire.ask(token), within_s=try_s)
        with suppress(WireError):
            if answer is not None and (told := ntp_wire.read(answer, token=token)) is not None:
                return told
    return None


async def _ask(server: _Ip, port: int, question: bytes, *, within_s: float) -> bytes | None:
    """The first datagram that comes back within a time, which is spent in any case where none
    does."""
    loop = asyncio.get_running_loop()
    with net.sender(server.version) as sock:
        try:
            async with asyncio.timeout(within_s):
                with suppress(OSError):
                    await loop.sock_connect(sock, (str(server), port))
                    await loop.sock_sendall(sock, question)
                    return await loop.sock_recv(sock, _LARGEST)
                await asyncio.sleep(within_s)  # refused: perhaps it is only starting
        except TimeoutError:
            pass
    return None
