"""How a command fails."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click

from lanjami.errors import ConfigError, LanjamiError

EX_CONFIG = 78  # sysexits.h; systemd does not restart on it
EX_UNAVAILABLE = 69

_P = ParamSpec("_P")
_T = TypeVar("_T")


def sentences(command: Callable[_P, _T]) -> Callable[_P, _T]:
    """Let the errors that lanjami raises on purpose end the program with their sentence."""

    @wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return command(*args, **kwargs)
        except LanjamiError as error:
            _tell(error)
            sys.exit(EX_CONFIG if isinstance(error, ConfigError) else EX_UNAVAILABLE)
        except (OSError, UnicodeError) as error:  # of a file that the person named
            _tell(error)
            sys.exit(EX_UNAVAILABLE)

    return run


def _tell(error: Exception) -> None:
    """A sentence may quote a file from elsewhere, which must not speak to the terminal."""
    told = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(error))
    click.echo(f"lanjami: {told}", err=True)
