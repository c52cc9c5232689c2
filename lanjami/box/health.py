"""When a box starts itself again, and when a tried update is kept."""

from dataclasses import dataclass, replace
from enum import Enum

from lanjami.status.page import BOOTSTRAPS, UP
from lanjami.status.snapshot import Snapshot

DOWN_MOST_S = 300.0  # then a restart of the whole machine
REBOOTS_MOST = 3  # in a row that did not help
FORGIVEN_S = 3600.0  # well for so long: the next fault is another one
KEPT_AFTER_S = 30.0  # well without a break
CRASHES_MOST = 5  # of a program that is tried
TRIED_MOST_S = 420.0  # from the start of the watch; a first start on a slow card takes a minute


NEEDED = ("http", "names")  # beside one of the bootstraps


def serves(snapshot: Snapshot) -> bool:
    """Whether people can meet, and find names; a missing network is nothing that a start mends."""
    up = {name for name, service in snapshot.services.items() if service.state == UP}
    return bool(up.intersection(BOOTSTRAPS)) and up.issuperset(NEEDED)


class Action(Enum):
    NOTHING = "nothing"
    REBOOT = "reboot"
    GIVE_UP = "give up"  # it has rebooted often enough
    KEEP = "keep"  # the slot that is tried
    ROLL_BACK = "roll back"  # reboot, which starts the other slot


@dataclass(frozen=True, slots=True)
class Course:
    """How the box has been since `began`: the times are of one clock that never goes back."""

    began: float
    well_since: float | None = None
    down_since: float | None = None

    def after(self, *, is_well: bool, now: float) -> "Course":
        """The course after a look."""
        if is_well:
            since = now if self.well_since is None else self.well_since
            return replace(self, well_since=since, down_since=None)
        since = now if self.down_since is None else self.down_since
        return replace(self, well_since=None, down_since=since)

    def is_forgiven(self, *, now: float) -> bool:
        """Whether earlier reboots count no longer."""
        return self.well_since is not None and now - self.well_since >= FORGIVEN_S


def decide(
    course: Course, *, now: float, tried: bool, reboots: int, is_hopeless: bool = False
) -> Action:
    """What to do. `tried` says that this slot runs for the first time and once only; `reboots` how
    often the box has started itself again without having been well for long since. `is_hopeless`
    says that waiting does not make the program serve."""
    if tried:
        if is_hopeless:
            return Action.ROLL_BACK
        if course.well_since is not None and now - course.well_since >= KEPT_AFTER_S:
            return Action.KEEP
        return Action.ROLL_BACK if now - course.began >= TRIED_MOST_S else Action.NOTHING
    if course.down_since is None or now - course.down_since < DOWN_MOST_S:
        return Action.NOTHING
    return Action.REBOOT if reboots < REBOOTS_MOST else Action.GIVE_UP
