"""The service behind the DHT proxy: does for its clients what they ask, and what they asked when
they were last here.

A client that is connected holds a stream; `proxy_api` writes it. For the others there are orders
(see `proxy`): one task each, which the node wakes when something happens.
"""

import asyncio
import contextlib
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Protocol

from lanjami import layout
from lanjami.dhtnode import policy, proxy_deaf, proxy_state, value_json
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.events import Came, Done, Went
from lanjami.dhtnode.info import Info
from lanjami.dhtnode.proxy import (
    Begin,
    Decision,
    End,
    Notice,
    Order,
    Orders,
    Permanent,
    Subscription,
    notice,
)
from lanjami.dhtnode.proxy_deaf import Deaf
from lanjami.dhtnode.streams import Streams, Waiting
from lanjami.dhtnode.value import Value
from lanjami.dhtnode.value_json import PushAddress, Put
from lanjami.errors import HostError, RequestError
from lanjami.runtime import log
from lanjami.runtime.checkpoint import Checkpoint, State
from lanjami.runtime.service import Ready, together

_log = log.get(__name__)

SWEEP_S = 1.0
SAVE_AFTER_S = 5.0  # a client does not know of a power cut, and puts again after 22 hours
SAVE_RATE = 32 * 1024  # bytes a second at most, so that no client wears a card out
LISTENERS_RATE = 1024  # ... likewise; 18 bytes an address
CLOCK_S = 60.0  # by which a clock is set, not kept right
PATIENCE_S = 10.0  # with a node that has not been up yet
RETRY_S = 2.0  # ... and up to twice as long, while the node is down
INFO_S = 1.0  # for which an answer about the node is good


class Node(Protocol):
    """The DHT node behind the proxy. Each context gives the events of its operation while it
    lasts, and `Done` when the node goes down; entering one raises HostError while it is down,
    as `put` does. `source` is the packed address of the client whose value it is."""

    def is_up(self) -> bool: ...
    def info(self) -> Info | None: ...
    def getting(self, key: bytes) -> AbstractContextManager[Waiting]: ...
    def listening(self, key: bytes) -> AbstractContextManager[Waiting]: ...
    def keeping(
        self, key: bytes, value: Value, *, source: bytes
    ) -> AbstractContextManager[Waiting]: ...
    async def put(self, key: bytes, value: Value, *, source: bytes) -> bool: ...


class Proxy:
    """Serves clients from `node`, and hands their notices to `push`; orders are kept in the
    `state` folder, `save_after_s` after they change, and so is who listens. `boot` is which start
    of the machine this is, empty where it does not tell."""

    name = "proxy"

    def __init__(
        self,
        *,
        node: Node,
        push: Callable[[Notice], None],
        state: Path,
        boot: str = "",
        save_after_s: float = SAVE_AFTER_S,
    ) -> None:
        self.node = node
        self.orders = Orders()
        self.streams = Streams()  # listens
        self.gets = Streams()
        self.pushes: Counter[tuple[str, bool]] = Counter()  # by platform, and whether urgent
        self._push = push
        self._checkpoint = Checkpoint(
            state / layout.PROXY_ORDERS,
            after_s=save_after_s,
            rate=SAVE_RATE,
            unsaved="orders of the proxy's clients are not on the disk",
            unread="the proxy begins without orders",
        )
        self._boot = boot
        self._deaf = Deaf()
        self._listeners = Checkpoint(
            state / layout.PROXY_LISTENERS,
            after_s=save_after_s,
            rate=LISTENERS_RATE,
            unsaved="who listens at the proxy is not on the disk",
            unread="the proxy does not know who listened",
        )
        self._tasks: dict[Order, asyncio.Task[None]] = {}
        self._placing: dict[Order, asyncio.Future[bool]] = {}
        self._is_running = False
        self._was_recalled = False
        self._nudged = asyncio.Event()
        self._info: tuple[float, Info | None] = (float("-inf"), None)

    def info(self) -> Info:
        """How the node is, at most a second ago; raises HostError while it is not up."""
        now = asyncio.get_running_loop().time()
        if self._info[0] < now - INFO_S or self._info[1] is None:
            self._info = now, self.node.info()
        if self._info[1] is None:
            raise HostError("our DHT node is not up")
        return self._info[1]

    @property
    def deaf(self) -> int:
        """How many addresses had listens before a power cut that have not come back."""
        return len(self._deaf.listens)

    def hides_nodes(self, source: bytes) -> bool:
        """Whether a client at this address may not know that its listens are gone, and so is told
        of no good node. Raises HostError while that is not known yet."""
        if not self._was_recalled:
            raise HostError("the DHT proxy is not up")
        return self._deaf.hides(source, now=asyncio.get_running_loop().time())

    def ends_streams(self, source: bytes) -> bool:
        """... and so the listen or get that it asks for is ended with what is no chunk."""
        if not self._was_recalled:
            raise HostError("the DHT proxy is not up")
        return self._deaf.ends(source, now=asyncio.get_running_loop().time())

    async def put(self, key: bytes, put: Put, *, source: Endpoint) -> Value:
        """Put what the client at `source` wants; returns it, with its id. Raises RequestError
        where no node would store it."""
        value = put.value
        if value.id == 0:
            known = self.orders.permanent_id(key, value, put.push) if put.is_permanent else 0
            value = value_json.with_id(value, known or secrets.randbelow((1 << 64) - 1) + 1)
        admitted = policy.admit(key, value, source)
        if admitted is None:
            raise RequestError(502, "Put failed")
        if put.is_permanent:
            at_others = await self._keep_for_a_day(key, admitted, put.push, source)
        else:
            at_others = await self.node.put(key, admitted, source=source.ip)
        if not at_others and not self.node.is_up():
            raise HostError("our DHT node went down")
        return admitted  # alone, we keep it ourselves

    def subscribe(self, key: bytes, push: PushAddress, *, source: Endpoint) -> bool:
        """Tell a client by pushes what happens at a key; returns whether that is new."""
        self._require_running()
        now = asyncio.get_running_loop().time()
        _, is_new = self.orders.subscribe(key, push, source=source.ip, now=now)
        self._nudged.set()
        return is_new

    def unsubscribe(self, key: bytes, push: PushAddress) -> None:
        self.orders.unsubscribe(key, push)
        self._nudged.set()

    def send(self, told: Notice) -> None:
        self.pushes[told.to.platform, told.is_urgent] += 1
        self._push(told)

    async def run(self, ready: Ready) -> None:
        if not self._was_recalled:
            await self._checkpoint.recall(self._recall)
            if not await self._listeners.recall(self._recall_listeners):
                self._listeners.holds(_version({}, {}))  # that nobody does needs no file
            self._was_recalled = True
            self._checkpoint.holds(self._version())
        self._is_running = True
        try:
            await together(
                self._work(ready),
                self._checkpoint.keep(self._state),
                self._listeners.keep(self._who_listens, at_end=self._nobody_listens),
            )
        finally:
            self._is_running = False
            self._tasks.clear()
            for placing in self._placing.values():
                placing.set_result(False)
            self._placing.clear()
            self.streams.end()

    async def _work(self, ready: Ready) -> None:
        loop = asyncio.get_running_loop()
        self.orders.begin_again()
        patient_until = loop.time() + PATIENCE_S
        async with asyncio.TaskGroup() as tasks:
            while True:
                now = loop.time()
                self.streams.sweep(now=now)
                self.gets.sweep(now=now)
                self._deaf.sweep(self.streams.number_of, now=now)
                self.orders.on_timer(now=now)
                for decision in self.orders.take():
                    self._do(decision, tasks)
                if is_up := self.node.is_up():
                    patient_until = now
                reason = "" if is_up or now < patient_until else "the DHT node behind it is not up"
                ready(self._told(), reason=reason, proved=is_up)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(now + SWEEP_S):
                        await self._nudged.wait()
                self._nudged.clear()

    def _do(self, decision: Decision, tasks: asyncio.TaskGroup) -> None:
        match decision:
            case Begin(Permanent() as order):
                self._tasks[order] = tasks.create_task(self._keep(order))
            case Begin(Subscription() as order):
                self._tasks[order] = tasks.create_task(self._tell(order))
            case End(order):
                if (task := self._tasks.pop(order, None)) is not None:
                    task.cancel()
                self._placed(order, at_others=False)
            case Notice():
                self.send(decision)

    async def _keep(self, order: Permanent) -> None:
        while True:
            with (
                contextlib.suppress(HostError),
                self.node.keeping(order.key, order.value, source=order.source) as events,
            ):
                placed = await events.get()
                self._placed(order, at_others=isinstance(placed, Done) and placed.ok)
                await events.get()  # the node went down
            self._placed(order, at_others=False)
            await _pause()

    async def _tell(self, order: Subscription) -> None:
        while True:
            with contextlib.suppress(HostError), self.node.listening(order.key) as events:
                while not isinstance(event := await events.get(), Done):
                    self._notify(order, event)
            await _pause()

    def _notify(self, order: Subscription, event: Came | Went) -> None:
        expired = isinstance(event, Went)
        self.send(notice(order, event.values, expired=expired, unix_time=time.time()))

    async def _keep_for_a_day(
        self, key: bytes, value: Value, push: PushAddress | None, source: Endpoint
    ) -> bool:
        """Returns whether other nodes have the value, once it is where it belongs."""
        self._require_running()
        loop = asyncio.get_running_loop()
        order, is_new = self.orders.put(key, value, push=push, source=source.ip, now=loop.time())
        if is_new:
            self._placing[order] = loop.create_future()
            self._nudged.set()
        placing = self._placing.get(order)
        return True if placing is None else await asyncio.shield(placing)

    def _placed(self, order: Order, *, at_others: bool) -> None:
        if (placing := self._placing.pop(order, None)) is not None:
            placing.set_result(at_others)

    def _recall(self, data: bytes) -> None:
        """Take over the orders from when it last ran."""
        now = asyncio.get_running_loop().time()
        self.orders.recall(proxy_state.unpack(data, now=now, unix_time=time.time()), now=now)

    def _recall_listeners(self, data: bytes) -> None:
        """Take over who listened when the power went, if it did."""
        deaf = proxy_deaf.unpack(data, boot=self._boot)
        if deaf:
            _log.info("phones that listened before are to notice that", addresses=len(deaf))
        self._deaf.expect(deaf, now=asyncio.get_running_loop().time())

    async def _who_listens(self) -> State:
        return self._listeners_state(self.streams.number_of)

    async def _nobody_listens(self) -> State:
        """At an end of ours, of which every client is told."""
        return self._listeners_state({})

    def _listeners_state(self, listens: dict[bytes, int]) -> State:
        deaf = self._deaf.listens
        pack = partial(proxy_deaf.pack, listens, deaf, boot=self._boot)
        return _version(listens, deaf), pack

    async def _state(self) -> tuple[tuple[int, int], Callable[[], bytes]]:
        return self._version(), self._packed

    def _packed(self) -> bytes:
        now = asyncio.get_running_loop().time()
        return proxy_state.pack(self.orders, now=now, unix_time=time.time())

    def _version(self) -> tuple[int, int]:
        """What changes when the orders do, or their ends in Unix time, as a clock is set."""
        since_the_start = time.time() - asyncio.get_running_loop().time()
        return self.orders.changes, round(since_the_start / CLOCK_S)

    def _require_running(self) -> None:
        if not self._is_running:
            raise HostError("the DHT proxy is not up")

    def _told(self) -> str:
        orders = self.orders
        told = f"{len(self.streams)} listen, {orders.permanent} values kept"
        if orders.subscriptions:
            told += f", {orders.subscriptions} subscriptions"
        return told


def _version(listens: dict[bytes, int], deaf: dict[bytes, int]) -> Hashable:
    """What changes when who listens does."""
    return frozenset(listens.items()), frozenset(deaf.items())


async def _pause() -> None:
    """Wait for the node to come back, not all at the same moment."""
    await asyncio.sleep(RETRY_S * (1 + random.random()))  # noqa: S311
