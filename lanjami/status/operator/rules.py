"""What a request and a password have to be before anything is done. Pure."""

from collections.abc import Collection
from contextlib import suppress
from hmac import compare_digest
from ipaddress import IPv6Address, ip_address

from lanjami.lan import Ip

SHORTEST_PASSWORD = 10  # characters; nobody can try many
LONGEST_PASSWORD = 128  # characters

# Passwords that may be tried: some at once from one address, then one a minute, and from all
# addresses together one in five seconds: a year for six million.
TRIES_AT_ONCE = 5
TRY_EVERY_S = 60.0
TRIES_OF_ALL_AT_ONCE = 30
TRY_OF_ALL_EVERY_S = 5.0

# What is wrong with a password, for commands; pages have their catalogues.
REFUSALS = {
    "short": f"a password has at least {SHORTEST_PASSWORD} characters",
    "long": f"a password has at most {LONGEST_PASSWORD} characters, all of them printable",
    "simple": "a password has at least four characters that differ",
    "differs": "the two passwords differ",
}

_LOOPBACK_NAME = "localhost"


def is_own_host(
    field: str, *, visited: Ip, names: Collection[str], addresses: Collection[Ip]
) -> bool:
    """Whether the header Host of a request that came to the address `visited` is one of the box's
    own `names` or `addresses`.

    A foreign name may lead here all the same, where its DNS says so (DNS rebinding): then a foreign
    page is the sender, and to its browser of one origin with us.
    """
    host = _without_port(field)
    with suppress(ValueError):
        ip = ip_address(host)
        return ip == visited or ip in addresses
    name = host.lower().removesuffix(".")
    return name in names or (name == _LOOPBACK_NAME and visited.is_loopback)


def is_from_own_page(*, host: str, origin: str | None, site: str | None) -> bool:
    """Whether a browser says that a form was sent from a page of this server: by the header Origin
    (RFC 6454), which all send with a form, and by Sec-Fetch-Site, which some do."""
    if site is not None and site != "same-origin":
        return False
    return origin is not None and origin.lower() == f"http://{host}".lower()


def is_same(given: str, kept: str) -> bool:
    """Compares secrets in a time that tells nothing of them."""
    return compare_digest(given.encode("utf-8", "replace"), kept.encode())


def fault_of(password: str, repeated: str) -> str | None:
    """The key of what is wrong with a new password, and its repetition; None where nothing is."""
    if len(password) < SHORTEST_PASSWORD:
        return "short"
    if len(password) > LONGEST_PASSWORD or not password.isprintable():
        return "long"
    if len(set(password)) < 4:
        return "simple"
    return None if password == repeated else "differs"


def source_of(remote: str) -> str:
    """Whom tries are counted for: an IPv4 address, or an IPv6 network of /64, of which one device
    has all addresses that it likes."""
    try:
        ip = ip_address(remote.partition("%")[0])
    except ValueError:
        return remote
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return ip.packed[:8].hex()
    return str(ip)


def _without_port(field: str) -> str:
    if field.startswith("["):
        return field[1:].partition("]")[0]
    return field.partition(":")[0]
