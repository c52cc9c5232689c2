"""Two thousand clients in a building with one box, in virtual time."""

import pytest

from tests.support.dht_building import Building, without_collector

CLIENTS = 2000
ROUNDS = 1000
SETTLE_S = 5.0  # after the last one has joined, within which each learns who is near it


@pytest.mark.timeout(900)  # a minute, where nothing else runs
def test_two_thousand_clients_join_at_once_and_then_meet() -> None:
    with without_collector():
        building = Building(CLIENTS)
        assert building.connected() == CLIENTS
        assert building.joined_at < 2, "within a second of the last one's start"
        building.simulation.run(SETTLE_S)
        met = building.meet(ROUNDS)
    assert met.rounds == ROUNDS
    assert met.put == ROUNDS
    assert met.got >= 0.999 * ROUNDS
    assert met.heard >= 0.999 * ROUNDS
