"""Questions to a thread, many at a time."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from lanjami.errors import HostError

Q = TypeVar("Q")
A = TypeVar("A")

_OVER = "it is being stopped"


class Batches(Generic[Q, A]):
    """Gathers what is asked while `work` is busy in `thread`, and then asks it all at once.

    `work` answers each question, with an exception for one that fails; what it raises itself is
    the answer to all of them. At most `most` are asked at once and `most_waiting` wait.
    """

    def __init__(
        self,
        thread: Executor,
        work: Callable[[Sequence[Q]], Sequence[A | Exception]],
        *,
        most: int,
        most_waiting: int,
    ) -> None:
        self._thread = thread
        self._work = work
        self._most = most
        self._most_waiting = most_waiting
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._is_asked = asyncio.Event()
        self._is_over = False

    async def ask(self, question: Q) -> A:
        """The answer; HostError where too many wait already, or `run` has ended."""
        if self._is_over:
            raise HostError(_OVER)
        if len(self._waiting) >= self._most_waiting:
            raise HostError(f"{self._most_waiting} others wait already")
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        self._is_asked.set()
        return await answer

    async def run(self) -> None:
        """Ask, until cancelled; then whoever still waits is told with HostError."""
        batch: list[tuple[Q, asyncio.Future[A]]] = []
        try:
            while True:
                await self._is_asked.wait()
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                if not self._waiting:
                    self._is_asked.clear()
                for (_, future), answer in zip(batch, await self._asked(batch), strict=True):
                    _settle(future, answer)
        finally:
            self._is_over = True
            for _, future in batch + self._waiting:
                _settle(future, HostError(_OVER))

    async def _asked(self, batch: Sequence[tuple[Q, asyncio.Future[A]]]) -> Sequence[A | Exception]:
        loop = asyncio.get_running_loop()
        questions = [question for question, _ in batch]
        try:
            return await loop.run_in_executor(self._thread, self._work, questions)
        except Exception as error:  # noqa: BLE001 - told to those who asked
            return [error] * len(batch)


def _settle(future: asyncio.Future[A], answer: A | Exception) -> None:
    if future.done():  # who asked did not wait any longer
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
