"""What a get or a listen asks for: which values (where), and which of their fields (select).

    {"s": [field], "w": [{"f": field, "v": value}]}

Fields are numbers: 1 id, 2 type, 3 owner (the SHA-1 of the key), 4 seq, 5 user type (OpenDHT
include/opendht/value.h, Value::Field, Select, Where). An answer to a query with `select` is
`{"f": [field], "v": [value]}`, the fields in order and the values' fields one after the other.
"""

from collections.abc import Iterable
from enum import IntEnum
from operator import attrgetter
from typing import Annotated

import msgspec
from msgspec import Meta

from lanjami.dhtnode.endpoint import ID_LENGTH
from lanjami.dhtnode.value import Value


class Field(IntEnum):
    """A part of a value that can be asked for."""

    ID = 1
    TYPE = 2
    OWNER = 3
    SEQ = 4
    USER_TYPE = 5


FieldValue = int | bytes | str

_Number = Annotated[int, Meta(ge=0)]


class Filter(msgspec.Struct, frozen=True):
    """Values whose field `f` is `v`."""

    f: Field
    v: _Number | Annotated[bytes, Meta(max_length=1024)]

    def __post_init__(self) -> None:
        wants_bytes = self.f in (Field.OWNER, Field.USER_TYPE)
        if isinstance(self.v, bytes) != wants_bytes:
            raise ValueError("a filter with a value of another kind")


class Query(msgspec.Struct, frozen=True):
    """Selected fields `s` (none means the whole value) of the values that all filters `w` take."""

    s: Annotated[tuple[Field, ...], Meta(max_length=16)]
    w: Annotated[tuple[Filter, ...], Meta(max_length=16)]

    @property
    def is_everything(self) -> bool:
        return not self.s and not self.w

    @property
    def id(self) -> int | None:
        """The id that a value has to have, where it has to."""
        return next((one.v for one in self.w if one.f is Field.ID and isinstance(one.v, int)), None)

    def takes(self, value: Value) -> bool:
        return all(_field(value, filter.f) == filter.v for filter in self.w)

    def select(self, values: Iterable[Value]) -> list[Value]:
        """Those of many values that it takes: a tenth of what asking for each would cost."""
        found = list(values)
        for filter in dict.fromkeys(self.w):  # at most one of a field leaves anything
            field, wanted = _ATTRIBUTES[filter.f], _attribute(filter)
            found = [value for value in found if field(value) == wanted]
        return found

    def fields(self) -> tuple[Field, ...]:
        """The selected fields, in the order of the answer."""
        return tuple(sorted(set(self.s)))


EVERYTHING = Query((), ())


class Index(msgspec.Struct, frozen=True):
    """The selected fields of some values: `f` the fields, `v` one value's after the other's."""

    f: tuple[Field, ...]
    v: list[FieldValue]


def index(values: Iterable[Value], fields: tuple[Field, ...], *, size: int) -> Index:
    """The `fields` of `values`, as an answer; of as many values as there is room for in `size`
    bytes."""
    shown: list[FieldValue] = []
    for value in values:
        of_one = [_shown(value, field) for field in fields]
        length = sum(map(_length, of_one))
        if length <= size:
            size -= length
            shown += of_one
    return Index(fields, shown)


_ATTRIBUTES = {
    Field.ID: attrgetter("id"),
    Field.TYPE: attrgetter("type"),
    Field.OWNER: attrgetter("owner_id"),
    Field.SEQ: attrgetter("seq"),
    Field.USER_TYPE: attrgetter("user_type"),
}


def _attribute(filter: Filter) -> FieldValue | None:
    """What the attribute of a value has to be; None where none is so."""
    if filter.f is not Field.USER_TYPE or not isinstance(filter.v, bytes):
        return filter.v
    try:
        return filter.v.decode()
    except UnicodeDecodeError:
        return None


def _field(value: Value, field: Field) -> FieldValue:
    match field:
        case Field.ID:
            return value.id
        case Field.TYPE:
            return value.type
        case Field.OWNER:
            return value.owner_id
        case Field.SEQ:
            return value.seq
        case Field.USER_TYPE:
            return value.user_type.encode()


def _shown(value: Value, field: Field) -> FieldValue:
    if field is Field.OWNER:
        return value.owner_id or bytes(ID_LENGTH)
    return value.user_type if field is Field.USER_TYPE else _field(value, field)


def _length(shown: FieldValue) -> int:
    """The bytes that a field takes in an answer, at most."""
    match shown:
        case int():
            return 9
        case bytes():
            return 5 + len(shown)
        case str():
            return 5 + len(shown.encode())
