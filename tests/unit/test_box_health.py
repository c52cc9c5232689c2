"""When a box starts itself again, when an update is kept, and what its screen shows."""

import itertools

import pytest

from lanjami.box import health, screen
from lanjami.box.health import Action, Course, decide, serves
from lanjami.status.snapshot import Dht, Discovery, Registrations, Service, Snapshot

UP = Service("up", "works", "", 0)
WORSE = Service("up", "works", "it is slow", 0)
DOWN = Service("down", "", "it is broken", 3)
STARTING = Service("starting", "", "", 0)


def _snapshot(addresses: tuple[str, ...] = ("10.77.0.1",), **services: Service) -> Snapshot:
    every = {"dhtnode": UP, "dhtnode-python": UP, "http": UP, "names": UP} | {
        name.replace("_", "-"): service for name, service in services.items()
    }
    return Snapshot(
        version="0.1.0",
        healthy=all(service.state == "up" and not service.reason for service in every.values()),
        services=every,
        dht=Dht("", 4222, 0, 0, 0, 0),
        discovery=Discovery([], 0, 0, 0, 0, {}, []),
        addresses=list(addresses),
        host="lanjami.local",
        name_server="http://10.77.0.1",
        names=0,
        registrations=Registrations(0, 0, {}),
    )


def _course(*looks: tuple[float, bool]) -> Course:
    course = Course(began=0.0)
    for now, is_well in looks:
        course = course.after(is_well=is_well, now=now)
    return course


def _decided(course: Course, now: float, *, tried: bool = False, reboots: int = 0) -> Action:
    return decide(course, now=now, tried=tried, reboots=reboots)


def test_a_box_that_is_down_for_five_minutes_starts_again() -> None:
    course = _course((0, True), (10, False), (20, False))
    assert _decided(course, 309) is Action.NOTHING
    assert _decided(course, 310) is Action.REBOOT


def test_a_box_that_comes_back_in_between_does_not() -> None:
    assert _decided(_course((0, False), (200, True), (201, False)), 310) is Action.NOTHING


def test_it_starts_again_only_so_often() -> None:
    course = _course((0, False))
    before = health.REBOOTS_MOST - 1
    assert _decided(course, 300, reboots=before) is Action.REBOOT
    assert _decided(course, 300, reboots=before + 1) is Action.GIVE_UP


def test_only_an_hour_without_fault_counts_as_another_life() -> None:
    assert not _course((0, True)).is_forgiven(now=3599)
    assert _course((0, True)).is_forgiven(now=3600)
    assert not _course((0, True), (3000, False), (3001, True)).is_forgiven(now=3600)


def test_an_update_is_kept_after_half_a_minute_without_fault() -> None:
    course = _course((60, True))
    assert _decided(course, 89, tried=True) is Action.NOTHING
    assert _decided(course, 90, tried=True) is Action.KEEP


def test_an_update_that_does_not_serve_is_taken_back_whatever_the_budget() -> None:
    course = _course((0, False))
    assert _decided(course, 419, tried=True, reboots=3) is Action.NOTHING
    assert _decided(course, 420, tried=True, reboots=3) is Action.ROLL_BACK


def test_an_update_that_flickers_is_taken_back() -> None:
    course = _course(*((float(now), now % 40 < 20) for now in range(0, 420, 5)))
    assert _decided(course, 420, tried=True) is Action.ROLL_BACK


@pytest.mark.parametrize(
    ("snapshot", "well"),
    [
        (_snapshot(), True),
        (_snapshot(dhtnode=DOWN), True),
        (_snapshot(addresses=()), True),
        (_snapshot(dhtnode=DOWN, dhtnode_python=DOWN), False),
        (_snapshot(http=DOWN), False),
        (_snapshot(names=DOWN), False),
        (_snapshot(turn=DOWN), True),
    ],
)
def test_serving_means_that_people_can_meet_and_find_names(
    snapshot: Snapshot,
    well: bool,  # noqa: FBT001 - pytest's
) -> None:
    assert serves(snapshot) is well


def _shown(snapshot: Snapshot | None, *notices: str) -> str:
    return screen.render(
        snapshot, version="0.1.0", networks=["eth0"], notices=notices, clock="12:00"
    )


def test_the_screen_says_where_the_box_is_and_how() -> None:
    shown = _shown(_snapshot())
    for words in ("Jami works here.", "http://10.77.0.1/", "lanjami.local", "eth0", "12:00"):
        assert words in shown
    assert "it is broken" in _shown(_snapshot(http=DOWN))
    assert screen.NOT_RUNNING in _shown(None)
    assert "cable" in _shown(_snapshot(addresses=()))


@pytest.mark.parametrize("addresses", [("10.77.0.1",), ()])
def test_there_are_words_for_every_state(addresses: tuple[str, ...]) -> None:
    names = ("dhtnode", "dhtnode-python", "http")
    for states in itertools.product((UP, WORSE, DOWN, STARTING), repeat=len(names)):
        snapshot = _snapshot(addresses, **dict(zip(names, states, strict=True)))
        assert _shown(snapshot).splitlines()[2]
        screen.self_test(snapshot, version="0.1.0", slot="a")


def test_the_screen_says_where_nobody_may_be_able_to_meet() -> None:
    slow = _snapshot(dhtnode=WORSE, dhtnode_python=WORSE)
    assert "Jami may not work here" in _shown(slow)
    told = screen.self_test(slow, version="0.1.0", slot="a")
    assert told.endswith("with limits: dhtnode, dhtnode-python")


def test_the_screen_shows_notices_and_never_scrolls() -> None:
    shown = _shown(_snapshot(), *["a mistake on the card " * 9] * 20)
    assert "! a mistake" in shown
    assert len(shown.splitlines()) < screen.HEIGHT
    assert max(map(len, shown.splitlines())) <= screen.WIDTH


def test_nothing_on_the_screen_speaks_to_the_terminal() -> None:
    assert "\x1b" not in _shown(_snapshot(), "\x1b[2J gone")
