"""Limits that cost the others nothing, and tokens."""

from collections import Counter

from lanjami.dhtnode import admission
from lanjami.dhtnode.admission import Admission, Quota
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.tokens import LENGTH, Tokens
from tests.support.dht_values import at

FLOOD_PER_S = 20_000


def _query(limits: Admission, ip: bytes, now: float) -> str | None:
    return limits.refuse_datagram(ip, now=now) or limits.refuse_query(ip, now=now)


def test_a_quota_is_what_it_says() -> None:
    quota = Quota(10.0, 0.0)
    assert [quota.take(0.0) for _ in range(11)] == [True] * 10 + [False]
    assert quota.take(0.1)
    assert not quota.take(0.1)
    assert not quota.take(0.0), "time does not go back"
    assert sum(quota.take(100.0) for _ in range(20)) == 10


def test_one_source_gets_an_eighth_of_all_and_the_others_lose_nothing() -> None:
    limits = Admission(now=0.0)
    flood: Counter[str | None] = Counter()
    others: Counter[str | None] = Counter()
    for number in range(10 * FLOOD_PER_S):
        now = number / FLOOD_PER_S
        flood[_query(limits, at(1).ip, now)] += 1
        if number % 100 == 0:
            others[_query(limits, at(2 + number // 100 % 50).ip, now)] += 1
    served = flood[None] / 10
    assert admission.SOURCE_PER_S <= served <= 1.2 * admission.SOURCE_PER_S
    assert set(others) == {None}


def test_where_many_use_up_the_total_those_who_ask_little_are_served() -> None:
    limits = Admission(now=0.0)
    flood: Counter[str | None] = Counter()
    modest: Counter[str | None] = Counter()
    for number in range(3 * FLOOD_PER_S):
        now = number / FLOOD_PER_S
        flood[_query(limits, at(1 + number % 20).ip, now)] += 1
        if number % 100 == 0:
            modest[_query(limits, at(100 + number // 100 % 50).ip, now)] += 1
    assert flood["total limit"]
    assert set(modest) == {None}


def test_what_a_query_turns_out_to_cost_is_taken_from_its_source() -> None:
    limits = Admission(now=0.0)
    assert _query(limits, at(1).ip, 0.0) is None
    limits.charge(at(1).ip, 100_000.0)
    assert _query(limits, at(1).ip, 0.9) == "source limit"
    assert _query(limits, at(1).ip, 1.1) is None, "debts are of a second at most"
    served = [_query(limits, at(2).ip, 0.0) for _ in range(1000)]
    assert set(served) == {None}, "the others are served"


def test_what_all_sources_cost_is_bounded() -> None:
    limits = Admission(now=0.0)
    served = 0
    for number in range(1, 30_000):
        ip = at(number % 100 + 1).ip
        if _query(limits, ip, number / 10_000) is None:
            limits.charge(ip, 9.0)
            served += 1
    seconds = 3 + 2  # a second's quota at once, and debts of a second
    assert served < seconds * (admission.TOTAL_PER_S / 10 + admission.RESERVE_PER_S)


def test_a_source_that_is_forgotten_has_no_debts() -> None:
    debtor = Quota(10.0, 0.0)
    debtor.charge(1000.0)
    assert sum(debtor.take(admission.FORGET_S) for _ in range(20)) == 10


def test_the_memory_for_sources_is_bounded() -> None:
    limits = Admission(now=0.0)
    for number in range(2 * admission.MOST_SOURCES):
        ip = number.to_bytes(16)
        assert limits.refuse_datagram(ip, now=0.0) is None
    assert len(limits._sources) <= admission.MOST_SOURCES  # noqa: SLF001
    limits.refuse_datagram(at(1).ip, now=10.0)
    assert len(limits._sources) == 1, "the silent are forgotten"  # noqa: SLF001


def test_the_parts_of_a_large_value_are_no_queries() -> None:
    limits = Admission(now=0.0)
    assert all(limits.refuse_datagram(at(1).ip, now=0.0) is None for _ in range(5000))
    assert limits.refuse_query(at(1).ip, now=0.0) is None
    refusals = {limits.refuse_datagram(at(1).ip, now=0.0) for _ in range(5000)}
    assert refusals == {None, "source limit"}


def test_a_token_is_good_for_its_address_until_the_second_rotation() -> None:
    tokens = Tokens(b"first secret....")
    token = tokens.make(at(1))
    assert len(token) == LENGTH
    assert tokens.is_good(token, at(1))
    assert tokens.is_good(token, Endpoint(at(1).ip, at(1).port, 3)), "the interface is not in it"
    for other in (at(2), at(1, 4223)):
        assert not tokens.is_good(token, other)
    assert not tokens.is_good(b"", at(1))
    assert not tokens.is_good(token[:-1], at(1))
    tokens.rotate(b"second secret...")
    assert tokens.is_good(token, at(1))
    assert tokens.is_good(tokens.make(at(1)), at(1))
    tokens.rotate(b"third secret....")
    assert not tokens.is_good(token, at(1))
