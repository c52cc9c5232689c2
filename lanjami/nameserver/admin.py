"""What the operator does with the names, on a running box or on its database alone."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec

from lanjami.errors import RequestError
from lanjami.nameserver import record
from lanjami.nameserver.database import Database
from lanjami.nameserver.names import Name, parse_id, parse_name
from lanjami.nameserver.record import Record

_T = TypeVar("_T")


class Ask(Protocol):
    """Puts a question to the database, in whatever thread it lives, and waits for the answer."""

    def __call__(self, question: Callable[[Database], _T], /) -> _T: ...


class List(msgspec.Struct, frozen=True, tag="list"):
    """Every name."""


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


class Import(msgspec.Struct, frozen=True, tag="import"):
    """Records in JSON Lines: all are taken, or none."""

    lines: str


class Audit(msgspec.Struct, frozen=True, tag="audit"):
    """Whether the proof of every record holds."""


Looking = List | Show | Reserved | Audit  # change nothing
Request = Looking | Remove | Rename | Reserve | Unreserve | Import


class Shown(msgspec.Struct, frozen=True):
    """A record and what is wrong with it; "" where its proof holds."""

    record: Record
    fault: str


def perform(request: Request, ask: Ask, *, when: int) -> Any:
    """Do what is asked, at `when` (seconds since 1970). Slow where many proofs are checked.

    Raises RequestError where it cannot be, HostError where the database refuses.
    """
    match request:
        case List():
            return ask(Database.records)
        case Show(name_or_id):
            found = ask(lambda database: _find(database, name_or_id))
            return Shown(found, _fault(found))
        case Remove(name):
            _require(ask(lambda database: database.remove(parse_name(name))), name)
        case Rename(name, new):
            old, wanted = parse_name(name), parse_name(new)
            _require(ask(lambda database: database.rename(old, wanted)), name)
        case Reserve(name):
            reserved = parse_name(name)
            ask(lambda database: database.reserve(reserved, when=when))
        case Unreserve(name):
            _require(ask(lambda database: database.unreserve(parse_name(name))), name)
        case Reserved():
            return ask(Database.reserved)
        case Import(lines):
            records = record.from_lines(lines.encode())
            return ask(lambda database: database.add(records))
        case Audit():
            return [Shown(r, fault) for r in ask(Database.records) if (fault := _fault(r))]
    return None


def _find(database: Database, name_or_id: str) -> Record:
    found = None
    try:
        found = database.by_id(parse_id(name_or_id))
    except RequestError:  # no ID, so a name
        found = database.by_name(parse_name(name_or_id))
    if found is None:
        raise RequestError(404, f"nobody has {name_or_id}")
    return found


def _require(found: bool, name: str) -> None:  # noqa: FBT001 - what the database answered
    if not found:
        raise RequestError(404, f"nobody has {Name(name)}")


def _fault(kept: Record) -> str:
    try:
        record.verify(kept)
    except RequestError as error:
        return str(error)
    return ""
