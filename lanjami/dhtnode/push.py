"""The service that wakes sleeping phones with UnifiedPush: a POST to the address that the phone's
distributor gave out, which has to be on the LAN.

Google's and Apple's gateways are in the Internet: what is for them is counted, and dropped. Facts:
OpenDHT src/dht_proxy_server.cpp, sendPushNotification; RFC 8030 for what the statuses mean, and
RFC 6585 for 429: ntfy says it from the 61st push on, though all of a building's come from one box.
"""

import asyncio
import heapq
import secrets
import socket
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

import aiohttp
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from yarl import URL

from lanjami.backoff import Backoff
from lanjami.dhtnode import webpush
from lanjami.dhtnode.proxy import UNIFIED_PUSH, Notice
from lanjami.errors import RequestError
from lanjami.lan import Ip
from lanjami.runtime import log
from lanjami.runtime.service import Ready

_log = log.get(__name__)

TTL_S = 86400  # the reference's: how long a distributor keeps a push for a device that is off
MOST_WAITING = 4096
MOST_WAITING_AT_ONE = 1024  # for one host: one that is dead leaves room for what is for others
MOST_AT_ONCE = 16
MOST_AT_ONE = 4  # to one host: it takes four that are slow to hold up the others
TRIES = 6
ANSWER_WITHIN_S = 10.0
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0
TURN_WITHIN_S = 600.0  # at a host that takes them slowly; a value in the DHT lives no longer
LONGEST_REST_S = 8.0
TELL_S = 10.0  # between two lines for the status
_NOT_DROPPED = ("sent", "retried", "held back")


@dataclass(slots=True, eq=False)
class _Delivery:
    notice: Notice
    url: URL
    since: float  # in the loop's time
    backoff: Backoff
    tries: int = 0  # that failed

    @property
    def host(self) -> str:
        return f"{self.url.raw_host}:{self.url.port}"


@dataclass(slots=True)
class _Rest:
    """Of a host that said 429: nothing is sent there until then, in the loop's time."""

    backoff: Backoff
    until: float = float("-inf")


class _UndeliverableError(Exception):
    """Another attempt would not help; says why in a few words, which are counted."""


class _TooManyError(Exception):
    """The host wants to be asked later, whatever it is asked."""


class Pusher:
    """Sends notices, to endpoints of which `is_lan` says that they are in the local networks.
    What fails for now is tried again, first after `retry_s`, then after twice that, and so on; what
    a host takes too slowly waits for its turn, `turn_within_s` at most."""

    name = "push"

    def __init__(
        self,
        *,
        is_lan: Callable[[Ip], bool],
        retry_s: float = FIRST_RETRY_S,
        turn_within_s: float = TURN_WITHIN_S,
    ) -> None:
        self._is_lan = is_lan
        self._retry_s = retry_s
        self._turn_within_s = turn_within_s
        self._ready: dict[str, deque[_Delivery]] = {}  # by host
        self._later: list[tuple[float, int, _Delivery]] = []  # a heap
        self._rests: dict[str, _Rest] = {}  # by host, until it takes one, or none waits for it
        self._counter = 0
        self._in_flight: Counter[str] = Counter()
        self._waiting_at: Counter[str] = Counter()  # all that is neither sent nor dropped
        self._waiting = 0
        self._nudged = asyncio.Event()
        self._counts: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """Notices that are not yet sent or dropped."""
        return self._waiting

    def counts(self) -> dict[str, int]:
        """What became of notices: `sent`, and why others were dropped; and how often one was
        `retried`, or `held back` by a host that takes no more for now."""
        return dict(self._counts)

    def send(self, notice: Notice) -> None:
        """Send a notice soon; it is dropped and counted where too many wait."""
        if notice.to.platform != UNIFIED_PUSH:
            self._counts["needs Google or Apple"] += 1
        elif (url := _url(notice.to.token)) is None:
            self._counts["no HTTP address"] += 1
        else:
            now = asyncio.get_running_loop().time()
            backoff = Backoff(first_s=self._retry_s, longest_s=LAST_RETRY_S)
            self._enqueue(_Delivery(notice, url, now, backoff))

    def _enqueue(self, delivery: _Delivery) -> None:
        host = delivery.host
        if self._waiting >= MOST_WAITING or self._waiting_at[host] >= MOST_WAITING_AT_ONE:
            self._counts["too many wait"] += 1
            return
        self._waiting += 1
        self._waiting_at[host] += 1
        self._ready.setdefault(host, deque()).append(delivery)
        self._nudged.set()

    async def run(self, ready: Ready) -> None:
        loop = asyncio.get_running_loop()
        connector = aiohttp.TCPConnector(
            socket_factory=self._socket, use_dns_cache=False, limit=MOST_AT_ONCE
        )
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            asyncio.TaskGroup() as tasks,
        ):
            told_at = float("-inf")
            while True:
                now = loop.time()
                if now >= told_at + TELL_S:
                    told_at = now
                    ready(self._told())
                for delivery in self._take(now):
                    tasks.create_task(self._deliver(session, delivery))
                await self._pause(now, until=told_at + TELL_S)

    async def _pause(self, now: float, *, until: float) -> None:
        """Until something may be sent that could not at `now`."""
        if self._later:
            until = min(until, self._later[0][0])
        for host, rest in self._rests.items():
            if host in self._ready and now < rest.until:  # else what is being sent ends a pause
                until = min(until, rest.until)
        try:
            async with asyncio.timeout_at(until):
                await self._nudged.wait()
        except TimeoutError:
            pass
        self._nudged.clear()

    def _take(self, now: float) -> list[_Delivery]:
        """What is due, and may be sent beside what is being sent; hosts have turns."""
        while self._later and self._later[0][0] <= now:
            delivery = heapq.heappop(self._later)[2]
            self._ready.setdefault(delivery.host, deque()).append(delivery)
        taken: list[_Delivery] = []
        for host in list(self._ready):
            if host in self._rests and now < self._rests[host].until:
                continue
            waiting = self._ready.pop(host)
            while waiting and self._in_flight[host] < MOST_AT_ONE:
                if self._in_flight.total() >= MOST_AT_ONCE:
                    self._ready[host] = waiting
                    return taken
                self._in_flight[host] += 1
                taken.append(waiting.popleft())
            if waiting:
                self._ready[host] = waiting
        return taken

    async def _deliver(self, session: aiohttp.ClientSession, delivery: _Delivery) -> None:
        is_over = True
        try:
            await self._post(session, delivery)
            self._counts["sent"] += 1
            self._rests.pop(delivery.host, None)
        except _TooManyError:
            is_over = not self._held_back(delivery)
        except _UndeliverableError as error:
            self._counts[str(error)] += 1
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            _log.debug("push failed", host=delivery.host, reason=repr(error))
            delivery.tries += 1
            if delivery.tries >= TRIES:
                self._counts["not answered"] += 1
            else:
                self._counts["retried"] += 1
                is_over = False
                now = asyncio.get_running_loop().time()
                self._counter += 1
                again_at = now + delivery.backoff.failed(after_s=0.0)
                heapq.heappush(self._later, (again_at, self._counter, delivery))
        finally:
            _subtract_one(self._in_flight, delivery.host)
            if is_over:
                self._waiting -= 1
                _subtract_one(self._waiting_at, delivery.host)
                if delivery.host not in self._waiting_at:
                    self._rests.pop(delivery.host, None)
            self._nudged.set()

    def _held_back(self, delivery: _Delivery) -> bool:
        """Whether it waits again, before all others for its host, which rests."""
        now = asyncio.get_running_loop().time()
        if now >= delivery.since + self._turn_within_s:
            self._counts["held back for too long"] += 1
            return False
        self._counts["held back"] += 1
        backoff = Backoff(first_s=self._retry_s, longest_s=LONGEST_REST_S)
        rest = self._rests.setdefault(delivery.host, _Rest(backoff))
        if now >= rest.until:  # else another, that was sent beside this, had it rest
            rest.until = now + rest.backoff.failed(after_s=0.0)
        self._ready.setdefault(delivery.host, deque()).appendleft(delivery)
        return True

    async def _post(self, session: aiohttp.ClientSession, delivery: _Delivery) -> None:
        notice = delivery.notice
        headers = {
            "TTL": str(TTL_S),
            "Urgency": "high" if notice.is_urgent else "normal",
            "Content-Type": "application/json",
        }
        body = msgspec.json.encode(notice.body)
        try:
            keys = webpush.parse_topic(notice.to.topic)
        except RequestError as error:
            raise _UndeliverableError("keys that are none") from error
        if keys is not None:
            if len(body) > webpush.LONGEST:
                raise _UndeliverableError("too long")
            headers["Content-Encoding"] = "aes128gcm"
            body = webpush.encrypt(
                body,
                keys,
                private=ec.generate_private_key(ec.SECP256R1()),
                salt=secrets.token_bytes(webpush.SALT_LENGTH),
            )
        try:
            async with session.post(
                delivery.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.InvalidURL, ValueError) as error:
            raise _UndeliverableError("no HTTP address") from error
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, _NotLanError):
                raise _UndeliverableError("not on the LAN") from error
            raise
        _require_taken(status)

    def _socket(self, to: aiohttp.AddrInfoType) -> socket.socket:
        """For a connection, whatever its address was written as or found by."""
        family, kind, protocol, _, address = to
        try:
            is_lan = self._is_lan(ip_address(str(address[0])))
        except ValueError:
            is_lan = False
        if not is_lan:
            raise _NotLanError("not on the LAN")
        return socket.socket(family, kind, protocol)

    def _told(self) -> str:
        failed = self._counts.total() - sum(self._counts[name] for name in _NOT_DROPPED)
        return f"{self._counts['sent']} sent, {failed} dropped, {self.waiting} waiting"


class _NotLanError(OSError):
    """No address of a host is on the LAN."""


def _require_taken(status: int) -> None:
    if status in (404, 410):  # RFC 8030, 7.3: the subscription is no more
        raise _UndeliverableError("gone")
    if status == 429:
        raise _TooManyError
    if status >= 500:
        raise aiohttp.ClientError(f"status {status}")
    if not 200 <= status < 300:
        raise _UndeliverableError(f"refused with {status}")


def _url(text: str) -> URL | None:
    """A URL that one may POST to. It is parsed only here: what another parser takes for a name
    may be an address."""
    try:
        url = URL(text)
        return url if url.scheme in ("http", "https") and url.raw_host and not url.user else None
    except (ValueError, IndexError):  # the parser stumbles over "http://[]@"
        return None


def _subtract_one(counts: Counter[str], host: str) -> None:
    counts[host] -= 1
    if not counts[host]:
        del counts[host]
