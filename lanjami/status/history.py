"""How the box was used lately: a sample a minute, for a day, in memory."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STEP_S = 60.0  # between two samples
WINDOWS = {1: 60, 6: 360, 24: 1440}  # hours that are shown, and their samples
COLUMNS = 60  # of a plot, whatever its window


@dataclass(frozen=True, slots=True)
class Tally:
    """Jami apps in contact now; and, by who counts, messages and answers since its start."""

    clients: int
    messages: Mapping[str, int]
    answers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Course:
    """The last `hours`, of which `minutes` are known, in `COLUMNS`, the newest last; None before
    the box ran. Clients are the most in a column's time, messages and answers a minute's
    average."""

    hours: int
    minutes: int
    clients: Sequence[float | None]
    messages: Sequence[float | None]
    answers: Sequence[float | None]


class History:
    """Samples of `Tally`; the oldest is forgotten first."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int, int]] = deque(maxlen=max(WINDOWS.values()))
        self._before: Tally | None = None

    def add(self, tally: Tally) -> None:
        """Take a sample; to be called every `STEP_S`."""
        before = self._before or tally
        self._before = tally
        messages = _growth(before.messages, tally.messages)
        answers = _growth(before.answers, tally.answers)
        self._samples.append((tally.clients, messages, answers))

    def course(self) -> Course:
        """What to draw, over the shortest window that holds all samples."""
        samples = list(self._samples)
        hours, length = next(window for window in WINDOWS.items() if len(samples) <= window[1])
        step = length // COLUMNS
        columns: list[list[tuple[int, int, int]]] = []
        for column in range(COLUMNS):
            end = len(samples) - (COLUMNS - 1 - column) * step
            columns.append(samples[max(0, end - step) : max(0, end)])
        return Course(
            hours,
            len(samples),
            [max(s[0] for s in column) if column else None for column in columns],
            [sum(s[1] for s in column) / len(column) if column else None for column in columns],
            [sum(s[2] for s in column) / len(column) if column else None for column in columns],
        )


def _growth(before: Mapping[str, int], now: Mapping[str, int]) -> int:
    """How much was counted since; a counter that is smaller than before began anew."""
    return sum(
        count - before.get(who, 0) if count >= before.get(who, 0) else count
        for who, count in now.items()
    )
