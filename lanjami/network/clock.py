"""What time it may be on a machine that has no clock of its own."""

from collections.abc import Iterable

_CREDIBLE_S = 30 * 365 * 86400.0  # after the program was made; a later time was a mistake once


def newest(*, made_at: float, seen: Iterable[float]) -> float:
    """The latest time that has surely passed, in seconds since 1970.

    `made_at` is when this program was built, `seen` times that were noted while a clock was
    believed: the time last saved, and those of files.
    """
    return max([made_at, *(at for at in seen if at <= credible_until(made_at))])


def credible_until(made_at: float) -> float:
    """After when no time is believed."""
    return made_at + _CREDIBLE_S


def correction(now: float, passed: float) -> float | None:
    """The time to set a clock to that says `now`, though `passed` has; None where it may stay."""
    return passed if now < passed else None
