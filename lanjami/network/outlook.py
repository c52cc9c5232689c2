"""Whether the names of the Internet are there, and whose Jami's own names are.

The names of Jami never change hands to and fro within one run of the box: under "offline" they
pass to it once, when no upstream answers, and stay.
"""

from dataclasses import dataclass
from typing import Literal

GONE_AFTER = 3  # questions in a row without an answer


@dataclass(frozen=True, slots=True)
class Outlook:
    """`upstream` is the server that answered last; None where none does. `jami_is_ours` says that
    clients find the box under Jami's own names."""

    upstream: str | None = None
    jami_is_ours: bool = True
    unanswered: int = 0


def at_start(policy: Literal["always", "offline"], upstream: str | None) -> Outlook:
    """The outlook after the first questions; `upstream` is who answered."""
    return Outlook(upstream, jami_is_ours=policy == "always" or upstream is None)


def answered(before: Outlook, upstream: str) -> Outlook:
    """An upstream answers: other names are asked of it. Jami's stay where they are."""
    return Outlook(upstream, before.jami_is_ours)


def unanswered(before: Outlook) -> Outlook:
    """No upstream answers."""
    if before.upstream is not None and before.unanswered + 1 < GONE_AFTER:
        return Outlook(before.upstream, before.jami_is_ours, before.unanswered + 1)
    return Outlook(None, jami_is_ours=True, unanswered=before.unanswered + 1)
