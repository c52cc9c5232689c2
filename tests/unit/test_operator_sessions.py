"""Who is signed in, and for how long."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lanjami.status.operator import sessions
from lanjami.status.operator.sessions import (
    IDLE_S,
    LINK_S,
    LONGEST_S,
    MOST,
    Links,
    Session,
    Sessions,
)


def _open(kept: Sessions, token: str, *, now: float = 0.0) -> Session:
    return kept.open(token, csrf=f"csrf of {token}", by_link=False, now=now)


def test_a_session_is_found_by_its_token_alone() -> None:
    kept = Sessions()
    session = _open(kept, "a")
    assert kept.find("a", now=1.0) is session
    for other in ("", "b", "A", "a ", "\udcff"):
        assert kept.find(other, now=1.0) is None


def test_who_is_silent_is_signed_out() -> None:
    kept = Sessions()
    _open(kept, "a")
    assert kept.find("a", now=IDLE_S)
    assert kept.find("a", now=2 * IDLE_S)
    assert kept.find("a", now=3 * IDLE_S + 1) is None
    assert len(kept) == 0


def test_nobody_stays_for_ever() -> None:
    kept, now = Sessions(), 0.0
    _open(kept, "a")
    while now + IDLE_S <= LONGEST_S:
        now += IDLE_S
        assert kept.find("a", now=now)
    assert kept.find("a", now=LONGEST_S + 1) is None


def test_the_longest_silent_makes_room() -> None:
    kept = Sessions()
    for number in range(MOST):
        _open(kept, str(number), now=number)
    kept.find("0", now=MOST)
    _open(kept, "new", now=MOST)
    assert len(kept) == MOST
    assert kept.find("0", now=MOST)
    assert kept.find("1", now=MOST) is None


def test_all_but_one_are_ended() -> None:
    kept = Sessions()
    for token in "abc":
        _open(kept, token)
    kept.end("c")
    kept.end_all(but="a")
    assert [bool(kept.find(token, now=0.0)) for token in "abc"] == [True, False, False]
    kept.end_all()
    assert len(kept) == 0


def test_a_link_works_once_and_not_for_long() -> None:
    links = Links()
    links.add("a", now=0.0)
    assert links.is_good("a", now=LINK_S)
    assert links.take("a", now=LINK_S)
    assert not links.take("a", now=LINK_S)
    links.add("b", now=0.0)
    assert not links.take("b", now=LINK_S + 1)
    assert not links.take("b", now=0.0), "also one that came too late is used up"
    assert not links.take("", now=0.0)


def test_links_are_bounded_and_forgotten() -> None:
    links = Links()
    for number in range(sessions.MOST_LINKS + 1):
        links.add(str(number), now=0.0)
    assert not links.is_good("0", now=0.0)
    assert links.is_good("1", now=0.0)
    links.forget()
    assert not links.is_good("1", now=0.0)


class _Comings(RuleBasedStateMachine):
    """However people come and go, only who came and was seen lately is signed in."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = Sessions()
        self.now = 0.0
        self.seen: dict[str, tuple[float, float]] = {}

    @rule(token=st.integers(0, 12).map(str))
    def come(self, token: str) -> None:
        _open(self.kept, token, now=self.now)
        self.seen[token] = self.now, self.now

    @rule(token=st.integers(0, 12).map(str))
    def look(self, token: str) -> None:
        opened, seen = self.seen.get(token, (-1e9, -1e9))
        if self.kept.find(token, now=self.now):
            assert self.now - seen <= IDLE_S
            assert self.now - opened <= LONGEST_S
            self.seen[token] = opened, self.now

    @rule(token=st.integers(0, 12).map(str))
    def go(self, token: str) -> None:
        self.kept.end(token)
        self.seen.pop(token, None)

    @rule(seconds=st.floats(0, LONGEST_S))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def are_few(self) -> None:
        assert len(self.kept) <= MOST


TestComings = _Comings.TestCase
