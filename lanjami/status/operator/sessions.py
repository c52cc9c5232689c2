"""Who is signed in as the operator, and the links that sign somebody in. Pure.

Kept in memory only, and as digests: nothing here lets anybody in. Times in seconds of a monotonic
clock.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

MOST = 8  # sessions; one more takes the place of the one that was silent for longest
IDLE_S = 30 * 60.0
LONGEST_S = 12 * 3600.0
LINK_S = 15 * 60.0
MOST_LINKS = 8


@dataclass(frozen=True, slots=True)
class Said:
    """What the next page says first: a sentence of the catalogue, by its key."""

    key: str
    values: Mapping[str, object] = field(default_factory=dict)
    is_fault: bool = False


@dataclass(slots=True)
class Session:
    """Somebody who signed in; `csrf` is in every form that they are given. Who came `by_link` has
    been at the machine, and needs no old password to set a new one."""

    csrf: str
    by_link: bool
    opened_at: float
    seen_at: float
    said: Said | None = None


class Sessions:
    """Sessions by their tokens, which only the browser keeps."""

    def __init__(self) -> None:
        self._by_digest: OrderedDict[bytes, Session] = OrderedDict()  # the longest silent first

    def __len__(self) -> int:
        return len(self._by_digest)

    def open(self, token: str, *, csrf: str, by_link: bool, now: float) -> Session:
        """Begin a session under a new token."""
        self._expire(now)
        if len(self._by_digest) >= MOST:
            self._by_digest.popitem(last=False)
        session = Session(csrf, by_link, opened_at=now, seen_at=now)
        self._by_digest[_digest(token)] = session
        return session

    def find(self, token: str, *, now: float) -> Session | None:
        """The session of a token, which is seen by that; None where there is none any longer."""
        self._expire(now)
        digest = _digest(token)
        session = self._by_digest.get(digest)
        if session is not None:
            session.seen_at = now
            self._by_digest.move_to_end(digest)
        return session

    def end(self, token: str) -> None:
        self._by_digest.pop(_digest(token), None)

    def end_all(self, *, but: str = "") -> None:
        """End every session, but that of one token."""
        kept = _digest(but)
        for digest in [digest for digest in self._by_digest if digest != kept]:
            del self._by_digest[digest]

    def _expire(self, now: float) -> None:
        over = [
            digest
            for digest, session in self._by_digest.items()
            if now - session.seen_at > IDLE_S or now - session.opened_at > LONGEST_S
        ]
        for digest in over:
            del self._by_digest[digest]


class Links:
    """Tokens that let somebody in once."""

    def __init__(self) -> None:
        self._made_at: OrderedDict[bytes, float] = OrderedDict()

    def add(self, token: str, *, now: float) -> None:
        if len(self._made_at) >= MOST_LINKS:
            self._made_at.popitem(last=False)
        self._made_at[_digest(token)] = now

    def is_good(self, token: str, *, now: float) -> bool:
        made_at = self._made_at.get(_digest(token))
        return made_at is not None and now - made_at <= LINK_S

    def take(self, token: str, *, now: float) -> bool:
        """Whether the token lets somebody in, which it does no second time."""
        is_good = self.is_good(token, now=now)
        self._made_at.pop(_digest(token), None)
        return is_good

    def forget(self) -> None:
        self._made_at.clear()


def _digest(token: str) -> bytes:
    # so that the time that a look-up takes tells nothing of the tokens that there are
    return sha256(token.encode("utf-8", "replace")).digest()
