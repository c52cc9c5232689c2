"""Who was heard on the LAN: DHT nodes and the accounts that let themselves be seen."""

from collections import Counter, OrderedDict
from dataclasses import dataclass

from lanjami.discovery.wire import Publication
from lanjami.lan import Ip

EXPIRY_S = 180.0  # three of our own queries unanswered
AT_MOST = 512
AT_MOST_BY_ADDRESS = 8  # accounts and nodes behind one address


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A DHT node or an account, heard at `ip`; times in seconds of a monotonic clock."""

    kind: str  # "dht" or "jami"
    id: bytes
    ip: Ip
    name: str
    since: float
    heard_at: float


class Neighbours:
    """Bounded and expiring: the longest unheard one makes room for a new one."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, bytes], Neighbour] = OrderedDict()
        self._by_ip: Counter[Ip] = Counter()

    def hear(self, publication: Publication, ip: Ip, *, now: float) -> bool:
        """Remember what was published from `ip`; False where that address says too much."""
        self._expire(now)
        heard = []
        if publication.beacon is not None:
            heard.append(("dht", publication.beacon.node_id, ""))
        if publication.person is not None:
            heard.append(("jami", publication.person.account_id, publication.person.display_name))
        taken = [self._hear(kind, id, ip, name, now) for kind, id, name in heard]
        return all(taken)

    def at(self, now: float) -> list[Neighbour]:
        """Those heard lately, the longest present first."""
        self._expire(now)
        return sorted(self._known.values(), key=lambda neighbour: neighbour.since)

    def _hear(self, kind: str, id: bytes, ip: Ip, name: str, now: float) -> bool:
        known = self._known.get((kind, id))
        if (known is None or known.ip != ip) and self._by_ip[ip] >= AT_MOST_BY_ADDRESS:
            return False
        if known is not None:
            self._forget(known)
        elif len(self._known) >= AT_MOST:
            self._forget(next(iter(self._known.values())))
        since = now if known is None else known.since
        self._known[kind, id] = Neighbour(kind, id, ip, name, since, now)
        self._by_ip[ip] += 1
        return True

    def _expire(self, now: float) -> None:
        while self._known:
            oldest = next(iter(self._known.values()))
            if now - oldest.heard_at < EXPIRY_S:
                return
            self._forget(oldest)

    def _forget(self, neighbour: Neighbour) -> None:
        del self._known[neighbour.kind, neighbour.id]
        self._by_ip[neighbour.ip] -= 1
        if not self._by_ip[neighbour.ip]:
            del self._by_ip[neighbour.ip]
