"""Logging: an event in lower case, then key=value."""

import logging
import sys
from typing import Any

# Priorities that journald reads at the start of a line (sd-daemon(3)).
_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


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
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("asyncio", "zeroconf", "aiohttp"):
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


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
