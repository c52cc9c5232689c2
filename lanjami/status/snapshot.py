"""The status of the whole box: a documented JSON object, a table and the lines at the start.

The JSON's members are a contract: more may come, none is renamed.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from lanjami.lan import host_port, http_url
from lanjami.tone import Paint, Tone, plain

_WIDEST_LIST = 4  # addresses shown at the start

# What a person is told of the services that matter to a client.
_TITLES = {
    "dhtnode": "bootstrap",
    "dhtnode-python": "bootstrap in Python",
    "proxy": "proxy for phones",
    "discovery": "discovery",
    "names": "name server",
}

_TONES: Mapping[str, Tone] = {"up": "good", "starting": "warning", "down": "bad"}


class Service(msgspec.Struct, frozen=True):
    """`state` is "up", "starting" or "down"; `reason` says what is worse off; `proved_s` is how
    many seconds ago it was last seen to work, None for never."""

    state: str
    detail: str
    reason: str
    failures: int
    proved_s: int | None = None


class DhtNode(msgspec.Struct, frozen=True):
    """A node by its `engine`; `node_id` is "" and the counts are 0 while it is down. `dropped`
    counts datagrams since it came up, and `dropped_by` splits that by reason: OpenDHT tells none.
    """

    engine: str
    node_id: str
    port: int
    good: int
    dubious: int
    values: int
    messages: int
    dropped: int = 0
    dropped_by: dict[str, int] = {}


class Dht(msgspec.Struct, frozen=True):
    """The first of the nodes, as in `DhtNode`, and `nodes`, all of them."""

    node_id: str
    port: int
    good: int
    dubious: int
    values: int
    messages: int
    dropped: int = 0
    dropped_by: dict[str, int] = {}
    nodes: list[DhtNode] = []


class Neighbour(msgspec.Struct, frozen=True):
    """Somebody heard by discovery; `kind` is "dht" or "jami", times in seconds ago."""

    kind: str
    id: str
    address: str
    name: str
    since_s: int
    heard_s: int


class Discovery(msgspec.Struct, frozen=True):
    """Counts since the start; `dropped_by` splits `dropped` by reason."""

    interfaces: list[str]
    queries: int
    answers: int
    announcements: int
    dropped: int
    dropped_by: dict[str, int]
    neighbours: list[Neighbour]


class Registrations(msgspec.Struct, frozen=True):
    """Counts since the start; `refused_by` splits `refused` by reason."""

    accepted: int
    refused: int
    refused_by: dict[str, int]


class Proxy(msgspec.Struct, frozen=True):
    """`listens` are open now, from `clients` addresses; `values` and `subscriptions` are kept for
    clients that are away;
    `unreachable` of the latter wait for Google's or Apple's push. `pushes` counts what became of
    pushes since the start."""

    listens: int
    values: int
    subscriptions: int
    unreachable: int
    pushes: dict[str, int]
    clients: int = 0


class Http(msgspec.Struct, frozen=True):
    """Counts since the start: `malformed` are requests that do not follow HTTP."""

    malformed: int = 0


class Metrics(msgspec.Struct, frozen=True):
    """Requests for /metrics since the start: `scrapes` were answered, `refused` came from where it
    is not for."""

    scrapes: int = 0
    refused: int = 0


class Turn(msgspec.Struct, frozen=True):
    """`sessions` are the relays that clients have now; `allocations` those given since the start,
    `refused` what clients were refused, which `refused_by` splits by reason."""

    sessions: int
    allocations: int
    refused: int
    refused_by: dict[str, int]


class Snapshot(msgspec.Struct, frozen=True):
    """What `lanjami status --json` prints."""

    version: str
    healthy: bool
    services: Mapping[str, Service]
    dht: Dht
    discovery: Discovery
    addresses: list[str]
    host: str
    name_server: str
    names: int
    registrations: Registrations
    proxy: Proxy | None = None
    http: Http = Http()
    turn: Turn | None = None
    metrics: Metrics = Metrics()


def table(snapshot: Snapshot, *, paint: Paint = plain) -> str:
    """The status for a person in front of a terminal."""
    return "\n".join(_table(snapshot, paint))


def _table(snapshot: Snapshot, paint: Paint) -> Iterator[str]:
    yield f"lanjami {snapshot.version}: " + (
        paint("all is well", "good")
        if snapshot.healthy
        else paint("something is worse off", "warning")
    )
    yield ""
    width = max(map(len, snapshot.services), default=0)
    for name, service in snapshot.services.items():
        restarts = f"  ({service.failures} restarts)" if service.failures else ""
        state = paint(service.state, _TONES.get(service.state, "bad"))
        rest = f"{'':{8 - len(service.state)}}  {service.detail}{restarts}".rstrip()
        yield f"  {name:{width}}  {state}{rest}"
        if service.reason:
            yield f"  {'':{width}}            {paint(service.reason, 'warning')}"
    dht, discovery = snapshot.dht, snapshot.discovery
    yield ""
    yield f"  Addresses    {', '.join(snapshot.addresses) or 'none'}"
    yield f"  Name server  {snapshot.name_server or 'none'}, {snapshot.names} names"
    yield f"  DHT          {_counts(dht)}"
    for node in dht.nodes[1:]:
        yield f"               {node.engine}: {_counts(node)}"
    registrations = snapshot.registrations
    yield (
        f"  Names        {registrations.accepted} registrations taken, {registrations.refused} "
        f"refused{_split(registrations.refused_by)}"
    )
    yield (
        f"  Discovery    {discovery.queries} queries, {discovery.answers} answers, "
        f"{discovery.dropped} dropped{_split(discovery.dropped_by)}"
    )
    if (turn := snapshot.turn) is not None:
        yield (
            f"  Relays       {turn.sessions} now, {turn.allocations} given, "
            f"{turn.refused} refused{_split(turn.refused_by)}"
        )
    nodes = sum(neighbour.kind == "dht" for neighbour in discovery.neighbours)
    people = [n.name or n.id for n in discovery.neighbours if n.kind == "jami"]
    yield f"  Heard        {nodes} nodes, {len(people)} people" + "".join(
        f"\n               {person}" for person in people[:10]
    )


def _counts(node: Dht | DhtNode) -> str:
    dropped = f", {node.dropped} dropped{_split(node.dropped_by)}" if node.dropped else ""
    return (
        f"{node.good} good and {node.dubious} dubious nodes, {node.values} values, "
        f"{node.messages} requests sent{dropped}"
    )


def _split(counts: Mapping[str, int]) -> str:
    told = ", ".join(f"{number} {why}" for why, number in counts.items())
    return f" ({told})" if told else ""


def welcome(
    snapshot: Snapshot,
    *,
    port: int,
    http_port: int | None,
    answers_names: bool = False,
    command: str = "lanjami",
) -> str:
    """What a person needs to set clients up, in at most 15 lines.

    `answers_names` says that clients find the box by DNS; `command` is how they call this program.
    """
    return "\n".join(
        [
            *_welcome(snapshot, port, http_port, answers_names=answers_names),
            (
                f"{command} status shows how it is doing, {command} admin-link lets you look "
                "after it in a browser; Ctrl+C stops it."
            ),
        ]
    )


def _welcome(
    snapshot: Snapshot, port: int, http_port: int | None, *, answers_names: bool
) -> Iterator[str]:
    addresses = snapshot.addresses
    yield f"lanjami {snapshot.version} is running at {_some(addresses) or 'no address yet'}"
    yield from _parts(snapshot)
    yield ""
    if not addresses:
        yield "Connect this computer to a network by cable or Wi-Fi; lanjami follows by itself."
    else:
        if answers_names:
            yield "Who asks this box for names (DNS) sets only the name server. Others:"
        yield "In Jami, open Settings > account > Advanced settings and set:"
        yield f"  OpenDHT configuration > Bootstrap   {host_port(addresses[0], port)}"
        yield "  or there, Enable local peer discovery"
        if http_port is not None:
            url = http_url(addresses[0], http_port)
            other = f"  (or {http_url(snapshot.host, http_port)})" if snapshot.host else ""
            yield f"  Name server                         {url}{other}"
        yield "Android: Advanced > OpenDHT; iPhone: Connectivity and configurations."
        if snapshot.proxy is not None and http_port is not None:
            yield f"On phones, too: DHT proxy address  http://{host_port(addresses[0], http_port)}"
            yield "  and no proxy list; or switch Use DHT proxy off."
        else:
            yield "On phones, switch Use DHT proxy off, too."
        yield "Then take a username on the account's page: not before the name server is set."
        if http_port is not None:
            yield f"All this for each device, with a QR code: {http_url(addresses[0], http_port)}/"
    yield ""


def _parts(snapshot: Snapshot) -> Iterator[str]:
    titles = dict(_TITLES)
    if snapshot.host and "mdns" in snapshot.services:
        titles["mdns"] = snapshot.services["mdns"].detail
    up = [
        titles[name]
        for name, service in snapshot.services.items()
        if service.state == "up" and name in titles
    ]
    yield f"Running: {', '.join(up) or 'nothing yet'}"
    worse = {n: s.reason for n, s in snapshot.services.items() if s.reason or s.state == "down"}
    if worse:
        yield "Worse off: " + "; ".join(f"{name}: {reason}" for name, reason in worse.items())


def _some(addresses: Sequence[str]) -> str:
    more = len(addresses) - _WIDEST_LIST
    return ", ".join(addresses[:_WIDEST_LIST]) + (f" and {more} more" if more > 0 else "")
