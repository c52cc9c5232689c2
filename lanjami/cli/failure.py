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
            click.echo(f"lanjami: {error}", err=True)
            sys.exit(EX_CONFIG if isinstance(error, ConfigError) else EX_UNAVAILABLE)
        except (OSError, UnicodeError) as error:  # of a file that the person named
            click.echo(f"lanjami: {error}", err=True)
            sys.exit(EX_UNAVAILABLE)

    return run
