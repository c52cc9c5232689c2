"""A name that was given, as it is kept, exported and imported."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from lanjami.errors import RequestError
from lanjami.nameserver import signature
from lanjami.nameserver.names import JamiId, Name, parse_id, parse_name
from lanjami.nameserver.signature import Registration

_YEAR_9999 = 253_402_300_799


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name and its ID, with what proves that the ID's owner wanted it.

    `signed` is the name that the signature covers. It differs from `name` where the operator
    renamed it: then clients are given no proof, and trust the answer as it is. `registered` is in
    seconds since 1970, by the box's clock.
    """

    name: Name
    id: JamiId
    owner: str
    publickey: str
    signature: str
    registered: Annotated[int, Meta(ge=0, le=_YEAR_9999)]
    signed: Name

    @property
    def is_renamed(self) -> bool:
        return self.name != self.signed


def of(registration: Registration, *, when: int) -> Record:
    """The record of a registration that was verified, made at `when`."""
    return Record(
        name=registration.name,
        id=registration.id,
        owner=registration.owner,
        publickey=registration.publickey,
        signature=registration.signature,
        registered=when,
        signed=registration.name,
    )


def verify(record: Record) -> None:
    """Raise RequestError unless the record is well-formed and its proof holds."""
    if parse_name(record.name) != record.name or parse_name(record.signed) != record.signed:
        raise RequestError(400, "a name is kept in lower case")
    if parse_id(record.id) != record.id:
        raise RequestError(400, "an ID is kept in lower case without a prefix")
    signature.verify(
        Registration(record.signed, record.id, record.owner, record.publickey, record.signature)
    )


def to_lines(records: Iterable[Record]) -> Iterator[bytes]:
    """JSON Lines, one record each."""
    for record in records:
        yield msgspec.json.encode(record) + b"\n"


def from_lines(lines: Iterable[bytes]) -> Iterator[Record]:
    """The verified records in JSON Lines, as they are read; RequestError names the first line that
    is wrong."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = msgspec.json.decode(line, type=Record)
            verify(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, RequestError) as error:
            raise RequestError(400, f"line {number}: {error}") from error
        yield record
