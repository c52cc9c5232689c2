from lanjami.runtime.connections import Connections


class Someone:
    def __init__(self) -> None:
        self.is_cut = False

    def cut(self) -> None:
        assert not self.is_cut
        self.is_cut = True


def _three() -> tuple[Connections, list[Someone]]:
    """All places are taken, at 0, 1 and 2 s."""
    connections, everybody = Connections(most=3, patience_s=10.0), [Someone() for _ in range(3)]
    for now, someone in enumerate(everybody):
        assert connections.has_room()
        connections.enter(someone, now=now)
    return connections, everybody


def _cut(everybody: list[Someone]) -> list[bool]:
    return [someone.is_cut for someone in everybody]


def test_who_waits_longest_makes_room() -> None:
    connections, everybody = _three()
    connections.waits(everybody[0], now=3.0)
    assert connections.has_room()
    assert _cut(everybody) == [False, True, False]
    assert len(connections) == 2


def test_who_is_being_answered_stays() -> None:
    connections, everybody = _three()
    connections.is_answered(everybody[0])
    assert connections.has_room()
    connections.cut_late(9, now=1000.0)
    assert _cut(everybody) == [False, True, True]


def test_there_is_no_room_while_everybody_is_being_answered() -> None:
    connections, everybody = _three()
    for someone in everybody:
        connections.is_answered(someone)
    assert not connections.has_room()
    connections.waits(everybody[1], now=5.0)
    assert connections.has_room()
    assert _cut(everybody) == [False, True, False]


def test_patience_begins_anew_with_every_answer() -> None:
    connections, everybody = _three()
    connections.is_answered(everybody[0])
    connections.waits(everybody[0], now=5.0)
    connections.waits(everybody[1], now=6.0)
    connections.cut_late(9, now=12.5)
    assert _cut(everybody) == [False, False, True]
    connections.cut_late(9, now=15.5)
    assert _cut(everybody) == [True, False, True]


def test_who_is_gone_does_not_come_back() -> None:
    connections, everybody = _three()
    connections.leave(everybody[0])
    connections.cut_longest_waiting(1)
    connections.is_answered(everybody[2])
    connections.leave(everybody[2])
    for someone in everybody:
        connections.is_answered(someone)
        connections.waits(someone, now=9.0)
        connections.leave(someone)
    assert len(connections) == 0
    assert _cut(everybody) == [False, True, False]


def test_at_the_end_everybody_goes() -> None:
    connections, everybody = _three()
    connections.is_answered(everybody[1])
    connections.cut_waiting()
    assert _cut(everybody) == [True, False, True]
    connections.cut_all()
    assert _cut(everybody) == [True, True, True]
    assert len(connections) == 0


def test_late_ones_are_cut_a_few_at_a_time() -> None:
    connections, everybody = _three()
    connections.cut_late(2, now=1000.0)
    assert _cut(everybody) == [True, True, False]
