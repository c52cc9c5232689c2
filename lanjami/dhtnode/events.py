"""What becomes of a node's own operations, as data; each has the operation's number."""

from dataclasses import dataclass

from lanjami.dhtnode.value import Value


@dataclass(frozen=True, slots=True)
class Came:
    """Values that an operation found or heard, each once."""

    operation: int
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Went:
    """Values that a listen had heard and that are gone."""

    operation: int
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """A get has all there is, or a put is at the nodes where it belongs. `ok`: some node
    answered; else nobody is there."""

    operation: int
    ok: bool


Event = Came | Went | Done
