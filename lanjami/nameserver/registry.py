"""The service that keeps the names open."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from lanjami.errors import HostError, RequestError
from lanjami.limits import Limits
from lanjami.nameserver import admin, record, signature
from lanjami.nameserver.database import (
    DamagedError,
    Database,
    GoneError,
    Reader,
    check,
    copy,
)
from lanjami.nameserver.names import JamiId, Name, matcher
from lanjami.nameserver.opening import (
    Opened,
    Spare,
    can_be_opened,
    open_names,
    set_aside,
    write_anew,
)
from lanjami.nameserver.record import Record
from lanjami.nameserver.signature import Registration
from lanjami.runtime import disk, log
from lanjami.runtime.batches import Batches
from lanjami.runtime.service import Ready, together

_log = log.get(__name__)
_T = TypeVar("_T")

CHECK_EVERY_S = 10.0
LOOK_AGAIN_S = 1.0
READ_ALL_EVERY_S = 24 * 3600.0
ANSWER_WITHIN_S = 5.0
CLOSED_WITHIN_S = 1.0  # when it is stopped; a box has 2.5 s for all
MOST_NAMES = 200_000  # 400 MB on the disk and 60 MB of memory
MOST_IN_A_COMMIT = 256
MOST_WAITING = 1_000

# A hall full of people behind one router takes its names at once; who goes on taking them faster
# than this wants other people's. What is refused costs little, but for that there is a bound, too.
SOURCE_PER_S, SOURCE_BURST, SOURCES = 5.0, 300.0, 4096
TRIES_PER_S, TRIES_BURST = 100.0, 1000.0


@dataclass(frozen=True, slots=True)
class _Serving:
    """What serves while the names are open."""

    thread: Executor
    names: Opened
    registering: Batches[Registration, None]


class Registry:
    """The service that keeps the names open; while it is down, every method raises HostError.

    `reserved` are patterns of names that no client is given; for `spare` see `open_names`.
    """

    name = "names"

    def __init__(
        self,
        *,
        path: Path,
        reserved: Sequence[str] = (),
        spare: Spare = lambda _: None,
        most_names: int = MOST_NAMES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._is_reserved = matcher(reserved)
        self._spare = spare
        self._most_names = most_names
        self._clock = clock
        self._serving: _Serving | None = None
        self._closing: Future[None] | None = None
        self._damage: list[Path] = []
        self._rewritten = ""  # how that came about, until the next start
        self._checked = asyncio.Event()  # all was read since the names were opened
        self._trouble = asyncio.Event()
        self._met_damage = False
        self._reason = ""
        self._given = Limits(SOURCE_PER_S, SOURCE_BURST, 1e9, 1e9, SOURCES)
        self._tries = Limits(TRIES_PER_S, TRIES_BURST, 1e9, 1e9, SOURCES)

    async def run(self, ready: Ready) -> None:
        suspect = False
        while True:
            if self._closing is not None:  # SQLite removes its log by name: not that of the next
                await asyncio.wait([asyncio.wrap_future(self._closing)])
            thread = ThreadPoolExecutor(1, thread_name_prefix="names")
            try:
                names = await _on(
                    thread,
                    lambda: open_names(self._path, spare=self._spare, suspect=suspect),  # noqa: B023 - awaited here
                )
                try:
                    await self._serve(_serving(thread, names, self._register_all), ready)
                except DamagedError as error:
                    _log.error("the names are damaged, opening them again", reason=error)
                    suspect = True
                except _WrittenAnew as done:
                    self._rewritten = str(done)
                    _log.error("the names were written anew", reason=done)
                except _WritableAgain:
                    _log.info("the disk takes names again")
                finally:
                    self._serving = None
                    self._closing = thread.submit(names.close)
                    await asyncio.wait(
                        [asyncio.wrap_future(self._closing)], timeout=CLOSED_WITHIN_S
                    )
            finally:
                thread.shutdown(wait=False)  # a disk that hangs must not hold up the others

    def known(self) -> int:
        """How many names there are; 0 while they are not open."""
        return 0 if self._serving is None else len(self._serving.names.database.index)

    def newest(self, at_most: int) -> list[Name]:
        """The names that were registered last; none while they are not open."""
        serving = self._serving
        return [] if serving is None else serving.names.database.index.newest(at_most)

    def by_name(self, name: Name) -> Record | None:
        """Who has a name; RequestError (400) where nobody has it nor will be given it."""
        index = self._open().names.database.index
        row = index.row_of(name)
        if row is not None:
            return self._read(row, name)
        if name in index.reserved or self._is_reserved(name):
            raise RequestError(400, "the name is reserved", name=name)
        return None

    def by_id(self, id: JamiId) -> Record | None:
        name = self.name_of(id)
        return None if name is None else self.by_name(name)

    def name_of(self, id: JamiId) -> Name | None:
        name = self._open().names.database.index.name_of(id)
        if name is None and not self._checked.is_set():
            raise HostError("the names are still being read")
        if name is None and self._damage:
            raise HostError("names were damaged here, so it is not known whether this ID has one")
        return name

    async def register(self, wanted: Registration, *, source: str) -> None:
        """Verify a registration from an address and give the name; when this returns, it is on
        the disk.

        Raises RequestError: 401 where the proof does not hold, 403 where the name or the ID is
        taken or the name reserved.
        """
        serving = self._writable()
        is_new = serving.names.database.index.id_of(wanted.name) != wanted.id
        if is_new:
            self._require_room(wanted.name, serving, source)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await serving.registering.ask(wanted)
        except TimeoutError:
            raise _too_slow() from None
        except HostError as error:
            self._look_soon(error)
            raise
        if is_new:
            self._given.refuse(source, now=asyncio.get_running_loop().time())

    async def perform(self, request: admin.Request) -> Any:
        """Do what the operator asks; see `admin.perform`."""
        serving = self._open() if isinstance(request, admin.Looking) else self._writable()
        when = int(self._clock())
        return await asyncio.to_thread(admin.perform, request, _asking(serving), when=when)

    def survey(self, request: admin.Survey) -> Iterator[bytes]:
        """What the operator asks of many names; see `admin.survey`.

        Every page is slow, and for any thread but the loop's.
        """
        with closing(Reader(self._open().names.path)) as reader:
            yield from admin.survey(request, reader)

    async def take(self, file: BinaryIO) -> int:
        """Take what the operator exported; see `admin.take`."""
        return await asyncio.to_thread(admin.take, file, _asking(self._writable()))

    def copy_to(self, path: Path) -> None:
        """Write a whole copy of the names to `path`; slow, and for any thread but the loop's."""
        names = self._open().names.path
        disk.require_room(path.parent, 2 * names.stat().st_size)
        copy(names, path)

    async def _serve(self, serving: _Serving, ready: Ready) -> None:
        self._checked.clear()
        self._damage = await asyncio.to_thread(set_aside, serving.names.path)
        self._trouble.clear()
        self._met_damage = False
        self._reason = ""
        self._serving = serving
        if serving.names.why_read_only:
            self._checked.set()  # when it was copied
            await together(serving.registering.run(), self._wait_for_the_disk(serving, ready))
        else:
            await together(
                serving.registering.run(),
                self._watch(serving, ready),
                self._read_all(serving.names.path),
            )

    async def _watch(self, serving: _Serving, ready: Ready) -> None:
        """Look every now and then, and soon after there was trouble, whether the database works."""
        await self._checked.wait()
        while True:
            self._damage = await asyncio.to_thread(set_aside, self._path)
            try:
                await _asked(serving, Database.require_readable)
                if self._reason:
                    await _asked(serving, Database.require_writable)
                self._reason = ""
            except DamagedError:
                raise
            except GoneError as error:
                self._reason = f"names cannot be registered: {error}"
                await self._write_anew(serving)
            except HostError as error:
                self._reason = f"names cannot be registered: {error}"
            reason = self._reason or self._told_of_loss()
            ready(f"{self.known()} names", reason=reason, proved=not self._reason)
            await asyncio.sleep(LOOK_AGAIN_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_EVERY_S - LOOK_AGAIN_S):
                    await self._trouble.wait()
            self._trouble.clear()
            if self._met_damage:
                raise DamagedError("a part of the database cannot be read")

    async def _write_anew(self, serving: _Serving) -> None:
        try:
            aside = await _on(serving.thread, partial(write_anew, serving.names.database))
        except HostError as error:
            self._reason += f"; writing it anew failed: {error}"
            return
        raise _WrittenAnew(
            f"{self._path} was removed or replaced while the box ran, and written anew with all "
            "names" + (f"; what was there instead is in {aside}" if aside else "")
        )

    async def _wait_for_the_disk(self, serving: _Serving, ready: Ready) -> None:
        why = f"names can be looked up but not registered: {serving.names.why_read_only}"
        while True:
            ready(f"{self.known()} names", reason=why)
            await asyncio.sleep(CHECK_EVERY_S)
            look = partial(can_be_opened, self._path, instead_of=serving.names)
            if await _on(serving.thread, look):
                raise _WritableAgain

    async def _read_all(self, path: Path) -> None:
        while True:
            try:
                await asyncio.to_thread(check, path)
            except DamagedError:
                raise
            except HostError as error:
                self._reason = str(error)
            self._checked.set()
            await asyncio.sleep(READ_ALL_EVERY_S)

    def _register_all(
        self, database: Database, wanted: Sequence[Registration]
    ) -> list[Exception | None]:
        """Verify all and give what can be given, in one transaction; called in the thread."""
        answers: dict[int, Exception | None] = {}
        for number, one in enumerate(wanted):
            try:
                signature.verify(one)
            except RequestError as error:
                answers[number] = error
        proven = [number for number in range(len(wanted)) if number not in answers]
        when = int(self._clock())
        try:
            given = database.register([record.of(wanted[number], when=when) for number in proven])
        except HostError as error:
            self._reason = f"names cannot be registered: {error}"
            raise
        answers.update(zip(proven, given, strict=True))
        return [answers[number] for number in range(len(wanted))]

    def _require_room(self, name: Name, serving: _Serving, source: str) -> None:
        """Refuse a new name that is reserved, or that is one too many, for all or for `source`."""
        if self._is_reserved(name):
            raise RequestError(403, "the name is reserved", name=name)
        if len(serving.names.database.index) >= self._most_names:
            raise HostError(f"this box has the {self._most_names} names that it can keep")
        now = asyncio.get_running_loop().time()
        if ip_address(source).is_loopback:
            return
        if self._given.is_spent(source, now=now) or self._tries.refuse(source, now=now):
            raise HostError(f"too many registrations from {source}; try again in a minute")

    def _read(self, row: int, name: Name) -> Record:
        try:
            found = self._open().names.reader.record(row)
        except HostError as error:
            self._look_soon(error)
            raise
        if found is None or found.name != name:  # the index follows in the next moment
            raise HostError("the names are being changed")
        return found

    def _look_soon(self, error: HostError) -> None:
        """Have the watch look at once what the trouble is."""
        self._met_damage |= isinstance(error, DamagedError)
        self._trouble.set()

    def _told_of_loss(self) -> str:
        if not self._damage:
            return self._rewritten
        return (
            "the database was damaged and replaced from a backup, so names may be lost; what is "
            f"left of it is in {self._damage[-1]}. Remove that folder when nobody misses a name"
        )

    def _open(self) -> _Serving:
        if self._serving is None:
            raise HostError("the names are not open for now")
        return self._serving

    def _writable(self) -> _Serving:
        serving = self._open()
        if serving.names.why_read_only:
            raise HostError(serving.names.why_read_only)
        return serving


class _WrittenAnew(Exception):  # noqa: N818 - no error any longer
    """The database was gone from its path and is there again."""


class _WritableAgain(Exception):  # noqa: N818 - no error
    """The disk takes something again."""


def _serving(
    thread: Executor,
    names: Opened,
    register_all: Callable[[Database, Sequence[Registration]], list[Exception | None]],
) -> _Serving:
    registering: Batches[Registration, None] = Batches(
        thread,
        partial(register_all, names.database),
        most=MOST_IN_A_COMMIT,
        most_waiting=MOST_WAITING,
    )
    return _Serving(thread, names, registering)


def _asking(serving: _Serving) -> admin.Ask:
    def ask(question: Callable[[Database], _T]) -> _T:
        return serving.thread.submit(question, serving.names.database).result()

    return ask


async def _asked(serving: _Serving, question: Callable[[Database], _T]) -> _T:
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await _on(serving.thread, lambda: question(serving.names.database))
    except TimeoutError:
        raise _too_slow() from None


def _too_slow() -> HostError:
    return HostError(f"the database of names did not answer within {ANSWER_WITHIN_S:g} s")


async def _on(thread: Executor, work: Callable[[], _T]) -> _T:
    return await asyncio.get_running_loop().run_in_executor(thread, work)
