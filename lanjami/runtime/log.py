"""Logging: an event in lower case, then key=value."""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

# Priorities that journald reads at the start of a line (sd-daemon(3)).
_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}

REMEMBERED_S = 3600.0
MOST_REMEMBERED = 2000  # lines
LONGEST_REMEMBERED = 1000  # characters of a line


class Log:
    """A logger whose methods take an event and its fields."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, **fields: object) -> None:
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._log(logging.ERROR, event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """An error with the traceback of the exception being handled."""
        self._log(logging.ERROR, event, fields, exc_info=True)

    def _log(self, level: int, event: str, fields: dict[str, object], **options: Any) -> None:
        if self._logger.isEnabledFor(level):
            words = [event, *(f"{key}={_quoted(value)}" for key, value in fields.items())]
            self._logger.log(level, "%s", " ".join(words), **options)


def get(name: str) -> Log:
    """The log of the module `name`."""
    return Log(logging.getLogger(name))


def to_stderr(*, level: int, journal: bool) -> None:
    """Write all records of at least `level` to stderr; for the journal with priorities."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JournalFormatter() if journal else _PlainFormatter())
    handler.setLevel(level)
    logging.basicConfig(level=min(level, logging.INFO), handlers=[handler], force=True)
    for chatty in ("asyncio", "zeroconf", "aiohttp"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


@dataclass(frozen=True, slots=True)
class Line:
    """A record that is remembered: seconds since 1970, a level such as "WARNING", and its words."""

    at: float
    level: str
    text: str


class Memory(logging.Handler):
    """Remembers what was logged lately, from INFO on: a bounded number of bounded lines."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("%(message)s"))
        self._clock = clock
        self._lines: deque[tuple[float, Line]] = deque(maxlen=MOST_REMEMBERED)

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)[:LONGEST_REMEMBERED]
        self._lines.append((self._clock(), Line(record.created, record.levelname, text)))

    def lines(self) -> list[Line]:
        """Those of the last hour, the newest first."""
        since = self._clock() - REMEMBERED_S
        with self.lock or nullcontext():
            while self._lines and self._lines[0][0] < since:
                self._lines.popleft()
            return [line for _, line in reversed(self._lines)]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Remember what is logged meanwhile."""
        logging.getLogger().addHandler(self)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(self)


class _PlainFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")


class _JournalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        priority = f"<{_PRIORITIES.get(record.levelname, 6)}>"
        return "\n".join(priority + line for line in super().format(record).splitlines())


def _quoted(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(c.isspace() or not c.isprintable() for c in text) else text
