"""What the operator does with the names, on a running box or on its database alone."""

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol, TypeVar

import msgspec

from lanjami.errors import RequestError
from lanjami.nameserver import record
from lanjami.nameserver.database import Database, Order, Reader
from lanjami.nameserver.names import matcher, parse_id, parse_name
from lanjami.nameserver.record import Record

_T = TypeVar("_T")

PAGE = 128  # records, of 2 kB each
LONGEST_LINE = 64 << 10  # bytes; a record with an RSA-8192 key has 4 KiB


class Ask(Protocol):
    """Puts a question to the database, in whatever thread it lives, and waits for the answer."""

    def __call__(self, question: Callable[[Database], _T], /) -> _T: ...


class List(msgspec.Struct, frozen=True, tag="list"):
    """The names that match a shell-style pattern, in an order."""

    pattern: str = "*"
    order: Order = "name"


class Show(msgspec.Struct, frozen=True, tag="show"):
    """One name, found by it or by its ID, and whether its proof holds."""

    name_or_id: str


class Remove(msgspec.Struct, frozen=True, tag="remove"):
    name: str


class Rename(msgspec.Struct, frozen=True, tag="rename"):
    name: str
    new: str


class Reserve(msgspec.Struct, frozen=True, tag="reserve"):
    name: str


class Unreserve(msgspec.Struct, frozen=True, tag="unreserve"):
    name: str


class Reserved(msgspec.Struct, frozen=True, tag="reserved"):
    """The names that the operator reserved."""


class Audit(msgspec.Struct, frozen=True, tag="audit"):
    """The names whose proof does not hold."""


Survey = List | Audit  # answered a page at a time
Looking = Show | Reserved  # change nothing
Request = Looking | Remove | Rename | Reserve | Unreserve


class Shown(msgspec.Struct, frozen=True):
    """A record and what is wrong with it; "" where its proof holds."""

    record: Record
    fault: str


class Reading(msgspec.Struct, frozen=True):
    """So many bytes of those of an import are read; it is read twice, to be checked and taken."""

    read: int
    size: int


def perform(request: Request, ask: Ask, *, when: int) -> Any:
    """Do what is asked, at `when` (seconds since 1970).

    Raises RequestError where it cannot be, HostError where the database refuses.
    """
    match request:
        case Show(name_or_id):
            found = ask(lambda database: _find(database, name_or_id))
            return Shown(found, _fault(found))
        case Remove(name):
            if not ask(lambda database: database.remove(parse_name(name))):
                raise _unknown(name)
        case Rename(name, new):
            old, wanted = parse_name(name), parse_name(new)
            if not ask(lambda database: database.rename(old, wanted)):
                raise _unknown(name)
        case Reserve(name):
            reserved = parse_name(name)
            ask(lambda database: database.reserve(reserved, when=when))
        case Unreserve(name):
            if not ask(lambda database: database.unreserve(parse_name(name))):
                raise RequestError(404, f"{name} is not among the names that you reserved")
        case Reserved():
            return ask(Database.reserved)
    return None


def survey(request: Survey, reader: Reader) -> Iterator[bytes]:
    """The answer a page at a time, in JSON Lines: a Record each for List, a Shown each for Audit.

    A page without any is an empty line, for whoever waits. Which names there are, and their order,
    is decided at once; each page is as it is when it is read. Slow where proofs are checked.
    """
    listed = request if isinstance(request, List) else List()
    rows = reader.rows(listed.order, chosen=matcher([listed.pattern.lower()]))
    for first in range(0, len(rows), PAGE):
        page = (reader.record(row) for row in rows[first : first + PAGE])
        there = [kept for kept in page if kept is not None]  # some may be gone by now
        if isinstance(request, Audit):
            faulty = (Shown(kept, fault) for kept in there if (fault := _fault(kept)))
            lines = b"".join(msgspec.json.encode(shown) + b"\n" for shown in faulty)
        else:
            lines = b"".join(record.to_lines(there))
        yield lines or b"\n"


def take(file: BinaryIO, ask: Ask) -> int:
    """Take the records that are in `file` as JSON Lines, all of them or none; how many were new.

    All proofs are checked before the database is asked for the first time, so that it is held up
    for the writing only. Raises RequestError that names the first wrong line, or all that is in
    the way; HostError where the database refuses. Slow.
    """
    for _ in record.from_lines(_lines(file)):
        pass
    proven = (msgspec.json.decode(line, type=Record) for line in _lines(file) if line.strip())
    return ask(lambda database: database.add(proven))


def _lines(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    return iter(lambda: file.readline(LONGEST_LINE), b"")


def _find(database: Database, name_or_id: str) -> Record:
    found = None
    try:
        found = database.by_id(parse_id(name_or_id))
    except RequestError:  # no ID, so a name
        found = database.by_name(parse_name(name_or_id))
    if found is None:
        raise _unknown(name_or_id)
    return found


def _unknown(name_or_id: str) -> RequestError:
    return RequestError(404, f"nobody has {name_or_id}")


def _fault(kept: Record) -> str:
    try:
        record.verify(kept)
    except RequestError as error:
        return str(error)
    return ""
