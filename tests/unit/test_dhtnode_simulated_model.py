"""Nodes come and go, on a network that loses, reorders and repeats; hypothesis says which and when.

Values are put, edited, kept and dropped, and listened for. After every step somebody gets what is
at each key: all that is there must be found, and all listeners must have heard of it.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from lanjami.dhtnode import policy
from lanjami.dhtnode import value as values
from lanjami.dhtnode.routing import BUCKET
from lanjami.dhtnode.value import Value
from tests.support.dht_simulation import Machine, Simulation
from tests.support.dht_values import sha1, signed

KEYS = [sha1(f"key {number}") for number in range(4)]
USER, ICE, TRUST = 0, 5, 4  # types that live for ten minutes, one minute and a week
SIZES = [10, 600, 3000]
DONE_WITHIN_S = 20.0  # a put or get on a network that loses
HEARD_WITHIN_S = 60.0  # also by a listener whose nodes have just gone
SLACK_S = 15.0  # between a put's first datagram and its last
CHURN = 5  # so many may come or go and one of the eight nodes that keep a value is still closest

pick = st.integers(0, 1 << 16)


@dataclass(slots=True)
class _Put:
    """A value on its way to the nodes where it belongs."""

    kept: "_Kept"
    value: Value
    writer: Machine
    operation: int
    began_at: float


@dataclass(slots=True)
class _Kept:
    """What was put with one id at one key."""

    key: bytes
    versions: list[Value] = field(default_factory=list)  # all that may be there
    newest: Value | None = None  # that was acknowledged
    lives_until: float = 0.0  # at least
    gone_at: float = 0.0  # at the latest
    churn: int = 0  # how many had come and gone when it was put last
    keeper: Machine | None = None  # who puts it again and again
    keeping: int = 0

    @property
    def id(self) -> int:
        return self.versions[0].id

    @property
    def life_s(self) -> float:
        return policy.life_s(self.versions[0].type)


@dataclass(slots=True)
class _Ear:
    key: bytes
    machine: Machine
    operation: int


class _Network(RuleBasedStateMachine):
    nodes: ClassVar[int]
    loss: ClassVar[float]
    disorder: ClassVar[bool]

    @initialize(seed=st.integers(0, 1 << 16))
    def all_join(self, seed: int) -> None:
        self.simulation = Simulation(seed, loss=self.loss, disorder=self.disorder)
        self.box = self.simulation.add()
        for _ in range(self.nodes - 1):
            self.simulation.add(entry=self.box)
        assert self.simulation.run(DONE_WITHIN_S, self._all_are_connected)
        self.simulation.run(5)
        self.kept: list[_Kept] = []
        self.puts: list[_Put] = []
        self.ears: list[_Ear] = []
        self.gone: list[tuple[Machine, bytes]] = []
        self.churn = 0
        self.ids = 0

    # --- what people do --------------------------------------------------------------------------

    @rule(
        key=st.sampled_from(KEYS),
        size=st.sampled_from(SIZES),
        type=st.sampled_from([USER, USER, ICE, TRUST]),
        writer=pick,
        permanent=st.sampled_from([False, False, True]),
        waits=st.booleans(),
    )
    def somebody_puts(
        self, key: bytes, size: int, type: int, writer: int, *, permanent: bool, waits: bool
    ) -> None:
        self._put_anew(key, size=size, type=type, writer=writer, permanent=permanent, waits=waits)

    @rule(which=pick, writer=pick)
    @precondition(lambda self: self.ears)
    def somebody_puts_where_one_has_long_listened(self, which: int, writer: int) -> None:
        self._let_pass(900)
        self._put_anew(self.ears[which % len(self.ears)].key, writer=writer)

    @rule(key=st.sampled_from(KEYS), writer=pick, waits=st.booleans())
    def somebody_puts_what_is_signed(self, key: bytes, writer: int, *, waits: bool) -> None:
        self.ids += 1
        kept = _Kept(key)
        self.kept.append(kept)
        self._put(kept, signed("alice", self.ids), self._machine(writer), waits=waits)

    @rule(which=pick, writer=pick, waits=st.booleans())
    @precondition(lambda self: any(kept.versions[0].is_signed for kept in self.kept))
    def its_owner_edits_it(self, which: int, writer: int, *, waits: bool) -> None:
        edited = [kept for kept in self.kept if kept.versions[0].is_signed]
        kept = edited[which % len(edited)]
        seq = kept.versions[-1].seq + 1
        value = signed("alice", kept.id, seq=seq, data=b"version %d" % seq)
        self._put(kept, value, self._machine(writer), waits=waits)

    @rule(which=pick, writer=pick)
    @precondition(lambda self: any(kept.newest is not None for kept in self.kept))
    def somebody_puts_it_again(self, which: int, writer: int) -> None:
        known = [kept for kept in self.kept if kept.newest is not None]
        kept = known[which % len(known)]
        self._put(kept, kept.versions[-1], self._machine(writer), waits=True)

    @rule(which=pick)
    @precondition(lambda self: any(kept.keeper is not None for kept in self.kept))
    def somebody_keeps_it_no_more(self, which: int) -> None:
        known = [kept for kept in self.kept if kept.keeper is not None]
        kept = known[which % len(known)]
        assert kept.keeper is not None
        kept.keeper.core.cancel(kept.keeping, now=self.simulation.now)
        self.puts = [
            put
            for put in self.puts
            if (put.writer, put.operation) != (kept.keeper, kept.keeping)  # of it, nothing is told
        ]
        self._is_kept_no_more(kept)

    @rule(key=st.sampled_from(KEYS), listener=pick)
    def somebody_listens(self, key: bytes, listener: int) -> None:
        machine, now = self._machine(listener), self.simulation.now
        operation = self.simulation.act(machine, lambda core: core.listen(key, now=now))
        self.ears.append(_Ear(key, machine, operation))

    @rule(which=pick)
    @precondition(lambda self: self.ears)
    def somebody_listens_no_more(self, which: int) -> None:
        ear = self.ears.pop(which % len(self.ears))
        heard = ear.machine.values(ear.operation)
        ear.machine.core.cancel(ear.operation, now=self.simulation.now)
        self.simulation.run(1)
        assert ear.machine.values(ear.operation) == heard, "it is told nothing more"

    # --- what happens to them --------------------------------------------------------------------

    @rule(which=pick)
    @precondition(lambda self: len(self._up()) > self.nodes // 2)
    def a_node_leaves(self, which: int) -> None:
        machine = self._machine(which)
        self.gone.append((machine, self.simulation.leave(machine)))
        self.churn += 1
        self.ears = [ear for ear in self.ears if ear.machine is not machine]
        for put in [put for put in self.puts if put.writer is machine]:
            self.puts.remove(put)
            self._may_be_there(put.kept)
        for kept in self.kept:
            if kept.keeper is machine:
                self._is_kept_no_more(kept)

    @rule(which=pick, moves=st.sampled_from([False, False, True]))
    @precondition(lambda self: self.gone)
    def a_node_comes_back(self, which: int, *, moves: bool) -> None:
        """With what it remembers, and what it kept for others."""
        former, state = self.gone.pop(which % len(self.gone))
        self._comes(
            self.simulation.add(
                entry=self._machine(which),
                endpoint=None if moves else former.endpoint,
                node_id=former.core.own_id,
                state=state,
            )
        )

    @rule(entry=pick)
    @precondition(lambda self: self.nodes > 2 and len(self._up()) < self.nodes + 5)
    def a_node_comes(self, entry: int) -> None:
        self._comes(self.simulation.add(entry=self._machine(entry)))

    @rule(seconds=st.sampled_from([0.0, 0.3, 5.0, 40.0, 300.0]))
    def time_passes(self, seconds: float) -> None:
        self._let_pass(seconds)

    # --- what must be true -----------------------------------------------------------------------

    @invariant()
    def every_put_is_found(self) -> None:
        self._take_acknowledgements()
        reader = self.simulation.dice.choice(self._up())
        now = self.simulation.now
        gets = [self.simulation.act(reader, lambda core: core.get(k, now=now)) for k in KEYS]  # noqa: B023
        assert self.simulation.run(
            DONE_WITHIN_S, lambda: all(reader.done(get) is not None for get in gets)
        )
        for key, get in zip(KEYS, gets, strict=True):
            self._is_right(key, reader.values(get), began_at=now)

    @invariant()
    def every_listener_hears_each_value(self) -> None:
        self._take_acknowledgements()
        assert self.simulation.run(
            HEARD_WITHIN_S, lambda: not any(self._unheard(ear) for ear in self.ears)
        ), [self._unheard(ear) for ear in self.ears]

    @invariant()
    def every_put_ends(self) -> None:
        self._take_acknowledgements()
        late = [put for put in self.puts if self.simulation.now > put.began_at + DONE_WITHIN_S]
        assert not late

    @invariant()
    def every_table_is_in_order(self) -> None:
        for machine in self._up():
            table = machine.core.tables[4]
            nodes = table.nodes()
            assert len({node.node_id for node in nodes}) == len(nodes) == len(table)
            assert max(len(bucket.nodes) for bucket in table.buckets) <= BUCKET
            assert machine.core.own_id not in {node.node_id for node in nodes}

    @invariant()
    def nothing_is_dropped_but_what_comes_twice_or_too_late(self) -> None:
        for machine in self._up():
            assert set(machine.core.dropped) <= {"not asked for", "never whole"}

    # --- inside ----------------------------------------------------------------------------------

    def _up(self) -> list[Machine]:
        return [machine for machine in self.simulation.machines.values() if machine.is_up]

    def _machine(self, which: int) -> Machine:
        up = self._up()
        return up[which % len(up)]

    def _all_are_connected(self) -> bool:
        return all(self.simulation.is_connected(machine) for machine in self._up())

    def _comes(self, machine: Machine) -> None:
        self.churn += 1
        assert self.simulation.run(DONE_WITHIN_S, lambda: self.simulation.is_connected(machine))
        self.simulation.run(1)

    def _let_pass(self, seconds: float) -> None:
        self.simulation.run(seconds)
        if seconds >= 300:  # enough to bring what is kept to nodes that came
            for kept in self.kept:
                if kept.keeper is not None:
                    kept.churn = self.churn

    def _put_anew(
        self,
        key: bytes,
        *,
        writer: int,
        size: int = SIZES[0],
        type: int = USER,
        permanent: bool = False,
        waits: bool = True,
    ) -> None:
        self.ids += 1
        kept = _Kept(key)
        self.kept.append(kept)
        value = values.make(self.ids, bytes([self.ids % 256]) * size, type=type)
        self._put(kept, value, self._machine(writer), permanent=permanent, waits=waits)

    def _put(
        self,
        kept: _Kept,
        value: Value,
        writer: Machine,
        *,
        permanent: bool = False,
        waits: bool = False,
    ) -> None:
        now = self.simulation.now
        if value not in kept.versions:
            kept.versions.append(value)
        kept.gone_at = float("inf")
        operation = self.simulation.act(
            writer, lambda core: core.put(kept.key, value, permanent=permanent, now=now)
        )
        if permanent:
            kept.keeper, kept.keeping = writer, operation
        put = _Put(kept, value, writer, operation, now)
        self.puts.append(put)
        if waits:
            assert self.simulation.run(DONE_WITHIN_S, lambda: writer.done(operation) is not None)
            self._take_acknowledgements()

    def _take_acknowledgements(self) -> None:
        for put in list(self.puts):
            done = put.writer.done(put.operation)
            if done is None:
                continue
            self.puts.remove(put)
            kept = put.kept
            if done and (kept.newest is None or put.value.seq >= kept.newest.seq):
                kept.newest, kept.churn = put.value, self.churn
                kept.lives_until = max(kept.lives_until, put.began_at + kept.life_s)
            self._may_be_there(kept)

    def _may_be_there(self, kept: _Kept) -> None:
        """Nobody puts it any more: it is there for a life at most."""
        if kept.keeper is None and not any(put.kept is kept for put in self.puts):
            kept.gone_at = self.simulation.now + kept.life_s + SLACK_S

    def _is_kept_no_more(self, kept: _Kept) -> None:
        kept.keeper = None
        self._may_be_there(kept)

    def _is_there(self, kept: _Kept) -> bool:
        """Whether it must be found for some time yet."""
        lives = kept.keeper is not None or self.simulation.now + SLACK_S < kept.lives_until
        return kept.newest is not None and lives and self.churn - kept.churn <= CHURN

    def _is_right(self, key: bytes, found: dict[int, Value], *, began_at: float) -> None:
        """Whether all that is at a key was found, and nothing that is not."""
        for kept in [one for one in self.kept if one.key == key]:
            value = found.pop(kept.id, None)
            if value is None:
                assert not self._is_there(kept), f"{kept} is not found"
                continue
            assert value in kept.versions
            assert began_at < kept.gone_at, f"{kept} is still there"
            if self._is_there(kept):
                assert kept.newest is not None
                assert value.seq >= kept.newest.seq, f"{kept} has been edited since"
        assert not found

    def _unheard(self, ear: _Ear) -> list[_Kept]:
        heard = ear.machine.values(ear.operation)
        return [
            kept
            for kept in self.kept
            if kept.key == ear.key
            and self._is_there(kept)
            and kept.newest is not None
            and (kept.id not in heard or heard[kept.id].seq < kept.newest.seq)
        ]


class TwoNodes(_Network):
    nodes, loss, disorder = 2, 0.0, False

    @rule(which=pick, writer=pick)
    @precondition(lambda self: any(kept.newest is not None for kept in self.kept))
    def a_stranger_cannot_replace_it(self, which: int, writer: int) -> None:
        known = [kept for kept in self.kept if kept.newest is not None]
        kept = known[which % len(known)]
        if self._is_there(kept):
            forged = signed("eve", kept.id, seq=1000)
            machine, now = self._machine(writer), self.simulation.now
            self.simulation.act(machine, lambda core: core.put(kept.key, forged, now=now))
            self.simulation.run(2)


class FiftyNodes(_Network):
    nodes, loss, disorder = 50, 0.1, True


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=40,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # to make what fails shorter, which takes long, add Phase.shrink
        suppress_health_check=list(HealthCheck),
    )


TestTwoNodes = TwoNodes.TestCase
TestTwoNodes.settings = _settings(40)
TestFiftyNodes = pytest.mark.timeout(900)(FiftyNodes.TestCase)  # half a minute of one core
TestFiftyNodes.settings = _settings(10)
