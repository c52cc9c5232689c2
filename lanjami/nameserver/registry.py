"""The service that keeps the names open."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from lanjami.errors import HostError, RequestError
from lanjami.nameserver import admin, record
from lanjami.nameserver.database import Database
from lanjami.nameserver.names import JamiId, Name, is_reserved
from lanjami.nameserver.record import Record
from lanjami.nameserver.signature import Registration
from lanjami.runtime.service import Ready

_T = TypeVar("_T")

CHECK_EVERY_S = 10.0
ANSWER_WITHIN_S = 5.0


class Registry:
    """The service that keeps the names open; while it is down, every method raises HostError."""

    name = "names"

    def __init__(
        self,
        *,
        path: Path,
        reserved: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._reserved = reserved
        self._clock = clock
        self._thread: ThreadPoolExecutor | None = None
        self._database: Database | None = None
        self._reason = ""
        self._known = 0

    async def run(self, ready: Ready) -> None:
        thread = ThreadPoolExecutor(1, thread_name_prefix="names")
        try:
            database = await _on(thread, lambda: Database(self._path))
            try:
                self._thread, self._database, self._reason = thread, database, ""
                while True:
                    await self._see_whether_it_works()
                    ready(f"{self._known} names", reason=self._reason)
                    await asyncio.sleep(CHECK_EVERY_S)
            finally:
                self._thread = self._database = None
                thread.submit(database.close)
        finally:
            thread.shutdown(wait=False)  # a disk that hangs must not hold up the others

    def known(self) -> int:
        """How many names there were when they were last counted."""
        return self._known

    async def by_name(self, name: Name) -> Record | None:
        """Who has a name; RequestError (400) where nobody has it nor will be given it."""
        found, reserved = await self._ask(
            lambda database: (database.by_name(name), database.is_reserved(name))
        )
        if found is None and (reserved or is_reserved(name, self._reserved)):
            raise RequestError(400, "the name is reserved", name=name)
        return found

    async def by_id(self, id: JamiId) -> Record | None:
        return await self._ask(lambda database: database.by_id(id))

    async def register(self, wanted: Registration) -> None:
        """Give the name of a verified registration; when this returns, it is on the disk.

        Raises RequestError (403) where the name or the ID is taken, or the name reserved.
        """
        kept = record.of(wanted, when=int(self._clock()))
        if is_reserved(wanted.name, self._reserved):
            raise RequestError(403, "the name is reserved", name=wanted.name)
        try:
            await self._ask(lambda database: database.register(kept))
        except HostError as error:
            self._reason = f"names cannot be registered: {error}"
            raise
        self._reason = ""
        self._known = await self._ask(Database.count)

    async def perform(self, request: admin.Request) -> Any:
        """Do what the operator asks; see `admin.perform`."""
        thread, database = self._opened()

        def ask(question: Callable[[Database], _T]) -> _T:
            return thread.submit(question, database).result()

        done = await asyncio.to_thread(admin.perform, request, ask, when=int(self._clock()))
        self._known = await self._ask(Database.count)
        return done

    async def _see_whether_it_works(self) -> None:
        try:
            self._known = await self._ask(Database.count)
            if self._reason:
                await self._ask(Database.write_something)
            self._reason = ""
        except HostError as error:
            self._reason = str(error)

    async def _ask(self, question: Callable[[Database], _T]) -> _T:
        thread, database = self._opened()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await _on(thread, lambda: question(database))
        except TimeoutError:
            raise HostError(
                f"the database of names did not answer within {ANSWER_WITHIN_S:g} s"
            ) from None

    def _opened(self) -> tuple[ThreadPoolExecutor, Database]:
        if self._thread is None or self._database is None:
            raise HostError("the names are not open for now")
        return self._thread, self._database


async def _on(thread: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
    return await asyncio.get_running_loop().run_in_executor(thread, work)
