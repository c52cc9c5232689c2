"""What a get or a listen asks for: which values (where), and which of their fields (select).

    {"s": [field], "w": [{"f": field, "v": value}]}

Fields are numbers: 1 id, 2 type, 3 owner (the SHA-1 of the key), 4 seq, 5 user type (OpenDHT
include/opendht/value.h, Value::Field, Select, Where). An answer to a query with `select` is
`{"f": [field], "v": [value]}`, the fields in order and the values' fields one after the other.
"""

from enum import IntEnum
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

    def takes(self, value: Value) -> bool:
        return all(_field(value, filter.f) == filter.v for filter in self.w)

    def fields(self) -> tuple[Field, ...]:
        """The selected fields, in the order of the answer."""
        return tuple(sorted(set(self.s)))


EVERYTHING = Query((), ())


class Index(msgspec.Struct, frozen=True):
    """The selected fields of some values: `f` the fields, `v` one value's after the other's."""

    f: tuple[Field, ...]
    v: list[FieldValue]


def index(values: list[Value], fields: tuple[Field, ...]) -> Index:
    """The `fields` of `values`, as an answer."""
    return Index(fields, [_shown(value, field) for value in values for field in fields])


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
