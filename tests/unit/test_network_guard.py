"""When the box may hand out addresses."""

from ipaddress import IPv4Address

from lanjami.network.dhcp_wire import Offer
from lanjami.network.guard import Guard

OWN, OTHER, THIRD = (IPv4Address(f"10.77.0.{number}") for number in (1, 254, 253))


def _offer(server: IPv4Address) -> Offer:
    return Offer(server, IPv4Address("10.77.0.50"))


def _after(guard: Guard, *servers: IPv4Address, serving: bool = False) -> Guard:
    return guard.after([_offer(server) for server in servers], own=[OWN], serving=serving)


def test_where_nobody_offers_the_box_may() -> None:
    assert _after(Guard()).allows


def test_its_own_offer_keeps_it_from_nothing() -> None:
    assert _after(Guard(), OWN, OWN, serving=True) == Guard()


def test_anybody_elses_does_at_once() -> None:
    guard = _after(Guard(), OWN, OTHER, serving=True)
    assert not guard.allows
    assert guard.foreign == OTHER


def test_the_other_is_gone_after_two_silent_rounds() -> None:
    guard = _after(_after(Guard(), OTHER))
    assert not guard.allows
    assert _after(guard).allows


def test_a_round_with_an_offer_counts_from_the_beginning() -> None:
    guard = _after(_after(_after(Guard(), OTHER)), OTHER)
    assert not _after(guard).allows
    assert _after(_after(guard)).allows


def test_of_several_one_is_named_and_always_the_same() -> None:
    assert _after(Guard(), OTHER, THIRD).foreign == _after(Guard(), THIRD, OTHER).foreign == THIRD


def test_rounds_that_its_own_server_missed_are_counted_while_it_serves() -> None:
    missed = _after(_after(Guard(), serving=True), serving=True)
    assert missed.missed == 2
    assert _after(missed, OWN, serving=True).missed == 0
    assert _after(missed, serving=False).missed == 0
