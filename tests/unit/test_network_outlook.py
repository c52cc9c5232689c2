"""Whose Jami's own names are: they never go to and fro."""

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from lanjami.network import outlook
from lanjami.network.outlook import GONE_AFTER, Outlook

ROUTER = "10.77.0.254"


def _later(now: Outlook, *answers: bool) -> Outlook:
    for answer in answers:
        now = outlook.answered(now, ROUTER) if answer else outlook.unanswered(now)
    return now


def test_always_means_always() -> None:
    for upstream in (None, ROUTER):
        assert outlook.at_start("always", upstream).jami_is_ours


def test_offline_begins_with_what_there_is() -> None:
    assert outlook.at_start("offline", None).jami_is_ours
    assert not outlook.at_start("offline", ROUTER).jami_is_ours


def test_an_upstream_that_is_gone_hands_jamis_names_over() -> None:
    gone = _later(outlook.at_start("offline", ROUTER), *[False] * GONE_AFTER)
    assert gone.upstream is None
    assert gone.jami_is_ours


def test_an_upstream_that_misses_a_question_is_not_gone() -> None:
    now = _later(outlook.at_start("offline", ROUTER), *[False] * (GONE_AFTER - 1))
    assert now.upstream == ROUTER
    assert not now.jami_is_ours
    assert _later(now, True, *[False] * (GONE_AFTER - 1)).upstream == ROUTER


def test_an_upstream_that_returns_gets_other_names_and_not_jamis() -> None:
    back = _later(outlook.at_start("offline", None), True)
    assert back.upstream == ROUTER
    assert back.jami_is_ours


@given(
    policy=st.sampled_from(["always", "offline"]),
    there_at_start=st.booleans(),
    answers=st.lists(st.booleans()),
)
def test_jamis_names_change_hands_at_most_once(
    *, policy: Literal["always", "offline"], there_at_start: bool, answers: list[bool]
) -> None:
    now = outlook.at_start(policy, ROUTER if there_at_start else None)
    owners = [now.jami_is_ours]
    for answer in answers:
        now = _later(now, answer)
        owners.append(now.jami_is_ours)
    assert owners == sorted(owners)
