"""Phones that listened when the box lost its power, and may not have noticed.

Such a phone is deaf: its listens are gone, no end of them reached it, and where its next request
is answered it goes on as before. It looks after its proxy, and listens anew, when a stream ends
with what is no chunk; or when it is told of no node that is good, and a minute later of one
(OpenDHT src/dht_proxy_client.cpp, opFailed and onProxyInfos). So one of these is done to the first
request of its address, and to a later one while fewer listens come from there than did: behind an
address may be more than one client, each with listens of its own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

import msgspec
from msgspec import Meta

from lanjami.errors import WireError

VERSION = 1
MOST = 4096  # addresses
LARGEST = 256 * 1024  # bytes of a file; twice as many addresses take 180 kB

# From the start on. A phone that sleeps is one that looks at its proxy late, but what it asked of
# the DHT is over in a day, and a stale entry costs whoever has the address by then a minute.
AWAITED_S = 24 * 3600.0
# From an address's first request on. Each client behind it looks every 15 minutes
# (DhtProxyClient::onProxyInfos), so all of them have by then.
LOOKS_S = 20 * 60.0
TOGETHER_S = 10.0  # in which clients of an address, or one for both families, look at once
RESTS_S = 300.0  # for who was told of no node and asks a minute later, and then listens

_Address = Annotated[bytes, Meta(min_length=4, max_length=16)]
_Number = Annotated[int, Meta(ge=1, le=1 << 20)]


@dataclass(slots=True)
class _Phone:
    """An address, with the number of listens that it had."""

    listens: int
    until: float
    has_asked: bool = False
    hides_until: float = -math.inf
    rests_until: float = -math.inf


class Deaf:
    """The addresses that had listens. Times are the loop's."""

    def __init__(self) -> None:
        self._phones: dict[bytes, _Phone] = {}

    def expect(self, listens: Mapping[bytes, int], *, now: float) -> None:
        """These had so many when the power went."""
        self._phones = {
            source: _Phone(number, now + AWAITED_S) for source, number in listens.items()
        }

    @property
    def listens(self) -> dict[bytes, int]:
        """How many each of them had that has not come back."""
        return {source: phone.listens for source, phone in self._phones.items()}

    def sweep(self, listens: Mapping[bytes, int], *, now: float) -> None:
        """Forget who listens as before, and who was waited for long enough."""
        for source, phone in list(self._phones.items()):
            if listens.get(source, 0) >= phone.listens or now >= phone.until:
                del self._phones[source]

    def ends(self, source: bytes, *, now: float) -> bool:
        """Whether the listen or get that an address asks for has to end with what is no chunk."""
        phone = self._phones.get(source)
        if phone is None or now < phone.rests_until:
            return False
        self._begin(phone, now=now)
        return True

    def hides(self, source: bytes, *, now: float) -> bool:
        """Whether an address that asks how the node is has to be told of no good one."""
        phone = self._phones.get(source)
        if phone is None:
            return False
        if now >= phone.rests_until:
            self._begin(phone, now=now)
            phone.hides_until = now + TOGETHER_S
        return now < phone.hides_until

    def _begin(self, phone: _Phone, *, now: float) -> None:
        phone.rests_until = now + RESTS_S
        if not phone.has_asked:
            phone.has_asked = True
            phone.until = min(phone.until, now + LOOKS_S)


class _File(msgspec.Struct, frozen=True):
    """`boot` is of the machine; `listens` are open, `deaf` those of before that have not come
    back."""

    version: int
    boot: Annotated[str, Meta(max_length=64)]
    listens: Annotated[dict[_Address, _Number], Meta(max_length=MOST)]
    deaf: Annotated[dict[_Address, _Number], Meta(max_length=MOST)]


_decoder = msgspec.msgpack.Decoder(_File)


def pack(listens: Mapping[bytes, int], deaf: Mapping[bytes, int], *, boot: str) -> bytes:
    """Who listens, as a file for the next start."""
    first = (dict(islice(numbers.items(), MOST)) for numbers in (listens, deaf))
    return msgspec.msgpack.encode(_File(VERSION, boot, *first))


def unpack(data: bytes, *, boot: str) -> dict[bytes, int]:
    """Who may be deaf at a start, with the number of listens; raises WireError where it is none
    of our files.

    While the machine goes on, its kernel tells the clients of a program that was killed. `boot`
    is which start of the machine this is, empty where it does not tell: then it may have been cut
    off, as to be told to look costs a phone a minute, and to be deaf costs it its messages.
    """
    if len(data) > LARGEST:
        raise WireError(f"{len(data)} bytes are too many for who listens at a proxy")
    try:
        file = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not who listens at a proxy: {error}") from error
    if file.version != VERSION:
        raise WireError(f"listeners of version {file.version}, not {VERSION}")
    if boot and file.boot == boot:
        return file.deaf
    sources = dict.fromkeys([*file.deaf, *file.listens])
    may_be = {s: max(file.deaf.get(s, 0), file.listens.get(s, 0)) for s in sources}
    return dict(islice(may_be.items(), MOST))
