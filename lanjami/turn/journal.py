"""What coturn's log tells of relays that clients have, and of what they were refused.

The lines are those of src/server/ns_turn_server.c, which writes them with `verbose`. A request
without a password is answered by an error, too: that is how a client learns what to sign.
"""

import re
from collections import Counter
from dataclasses import dataclass, field

_SESSION = r"session (\d+): "
_NEW = re.compile(_SESSION + r"new, realm=<[^>]*>, username=<([^>]*)>")
_GONE = re.compile(_SESSION + r"delete: realm=")
_ERROR = re.compile(_SESSION + r".*incoming packet message processed, error (\d+): ")
_PASSWORD = re.compile(
    r"check_stun_auth: (Cannot find credentials of user|user .* credentials are)"
)
_UNREACHED = re.compile(r": failure to connect from \S+ to ")
_PEER = re.compile(r"an attempt to connect from a peer with forbidden address")
_COMPLAINT = re.compile(r"\b(ERROR|WARNING)\b|^Cannot |CONFIG ERROR|FATAL")

_REASONS = {
    400: "malformed",
    403: "forbidden peer",
    437: "wrong credentials",
    441: "wrong credentials",
    442: "unknown transport",
    486: "over the quota",
    508: "no relay is free",
}
FORBIDDEN_PEER = "forbidden peer"
UNREACHED = "peer did not answer"
WRONG_PASSWORD = "wrong password"  # noqa: S105 - of refusals


@dataclass(slots=True)
class Journal:
    """Counts since the start; `sessions` are the relays that clients have now. What `checker`
    does, which is the box itself, counts for nothing."""

    checker: str = ""
    allocations: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    sessions: set[str] = field(default_factory=set)

    def hear(self, line: str) -> str | None:
        """Take in a line of coturn's; returns why somebody was refused, where that is in it."""
        if found := _NEW.search(line):
            if found[2] != self.checker:
                self.allocations += 1
                self.sessions.add(found[1])
            return None
        if found := _GONE.search(line):
            self.sessions.discard(found[1])
            return None
        reason = None if self.checker and f"user <{self.checker}>" in line else _refusal(line)
        if reason is not None:
            self.refused[reason] += 1
        return reason


def is_complaint(line: str) -> bool:
    """Whether coturn says in a line that something is wrong, with itself or with a client."""
    return _COMPLAINT.search(line) is not None


def _refusal(line: str) -> str | None:
    if _PASSWORD.search(line):
        return WRONG_PASSWORD
    if _PEER.search(line):
        return FORBIDDEN_PEER
    if _UNREACHED.search(line):
        return UNREACHED
    found = _ERROR.search(line)
    return _REASONS.get(int(found[2][:9])) if found else None
