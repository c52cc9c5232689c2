"""When a program that answers no longer is given up."""

import asyncio

from lanjami.errors import HostError

LATE_S = 30.0


class Patience:
    """What to do when the program `who` misses a check.

    One that never answered does not work. One that did may be on a machine that is busy for
    a while, or in a flood: to start it again would end what its clients have and add to the load,
    so it is only worse off, until it misses all checks for `LATE_S`.
    """

    def __init__(self, who: str) -> None:
        self._who = who
        self._answered = False
        self._late_since: float | None = None

    def checked(self, *, passed: bool, missed: str = "") -> str:
        """What is worse off after a check, "" where it passed; `missed` is what it was not seen
        to do. Raises HostError where it hangs."""
        if passed:
            self._answered = True
            self._late_since = None
            return ""
        now = asyncio.get_running_loop().time()
        if self._late_since is None:
            self._late_since = now
        if not self._answered or now - self._late_since > LATE_S:
            raise HostError(f"{self._who} hangs: {missed}")
        return f"{self._who} is overloaded: {missed}"
