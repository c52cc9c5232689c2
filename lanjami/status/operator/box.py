"""What the operator's pages know of the box, and have it do: functions, for parts never meet."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from lanjami.box.standing import Standing
from lanjami.config import Sources
from lanjami.lan import Ip
from lanjami.nameserver.record import Record
from lanjami.status.operator.settings import Lans
from lanjami.status.snapshot import Snapshot


class End(StrEnum):
    """How lanjami ends."""

    AGAIN = "again"  # and starts again at once
    STOP = "stop"  # for good, until somebody starts it
    POWER_OFF = "power-off"  # with the machine


class Line(Protocol):
    """A line of the log: seconds since 1970, a level such as "WARNING", and what it says."""

    @property
    def at(self) -> float: ...
    @property
    def level(self) -> str: ...
    @property
    def text(self) -> str: ...


class Names(Protocol):
    """Where the names are looked after. All raise HostError where they cannot be, and
    RequestError, by its status: 400 for what is no name, 403 for one that is taken, 404 for one
    that nobody has."""

    async def matching(self, pattern: str, *, at_most: int) -> Sequence[Record]: ...
    async def show(self, name_or_id: str) -> tuple[Record, str]: ...
    async def rename(self, name: str, new: str) -> None: ...
    async def remove(self, name: str) -> None: ...
    async def reserve(self, name: str) -> None: ...
    async def unreserve(self, name: str) -> None: ...
    async def reserved(self) -> Sequence[str]: ...


class Updates(Protocol):
    """Takes an update in pieces; every method blocks for the disk, and raises UpdateError. `owner`
    is the session that it comes from. See `lanjami/box/upload.py`."""

    @property
    def silent_s(self) -> float: ...
    def standing(self) -> Standing: ...
    def begin(self, owner: str, size: int, *, now: float) -> str: ...
    def add(self, owner: str, token: str, at: int, piece: bytes, *, now: float) -> int: ...
    def finish(self, owner: str, token: str) -> None: ...
    def drop_silent(self, *, now: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Box:
    """`restart` starts a part anew, by its name. `keep_settings` writes what was set on the
    page, in a thread. `interfaces` are all that the machine has, each with the networks that it
    is in now, and `radios` those that are Wi-Fi. `has_rights` says whether programs that we
    start may serve a network. `ends` are those ends that this box can have. `updates` is None
    where the box cannot update itself."""

    snapshot: Callable[[], Snapshot]
    host_names: Callable[[], Collection[str]]
    addresses: Callable[[], Collection[Ip]]
    names: Names
    log: Callable[[], Sequence[Line]]
    restart: Callable[[str], None]
    sources: Sources
    keep_settings: Callable[[str], None]
    kept_settings: Callable[[], str]
    interfaces: Callable[[], Lans]
    radios: Callable[[], Collection[str]]
    has_rights: Callable[[], bool]
    ends: Collection[End]
    end: Callable[[End], None]
    updates: Updates | None = None
