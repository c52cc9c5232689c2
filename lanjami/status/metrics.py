"""The status as metrics, for Prometheus and what reads its formats.

A metric's name and labels are a contract: more may come, none is renamed. No label says who
somebody is: no name, no ID and no address.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lanjami.status.snapshot import DhtNode, Neighbour, Proxy, Service, Snapshot, Turn

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# Of what is split by reason, all that came from elsewhere; 0 in most boxes.
OTHER = "other"

# The values of the labels, in the order of the metric's `labels`, and the number.
Sample = tuple[tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class Metric:
    """A name, what it is, and its samples in a snapshot; none where the snapshot has no such
    part. A counter's name ends with `_total`."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    labels: tuple[str, ...]
    samples: Callable[[Snapshot], Iterable[Sample]]


def render(snapshot: Snapshot, *, openmetrics: bool = False) -> str:
    """All metrics in the text format 0.0.4, or as OpenMetrics 1.0.0 has it."""
    lines = [line for metric in METRICS for line in _lines(metric, snapshot, openmetrics)]
    return "\n".join([*lines, *(["# EOF"] if openmetrics else []), ""])


def prefers_openmetrics(accept: str) -> bool:
    """Whether an Accept header (RFC 9110, 12.5.1) names OpenMetrics, and not after the text."""
    text = _weight(accept, "text/plain")
    return 0 < _weight(accept, "application/openmetrics-text") >= text


def _weight(accept: str, kind: str) -> float:
    """The highest weight that `kind` is named with; 0 where it is not."""
    named = [part for part in accept.lower().split(",") if part.split(";")[0].strip() == kind]
    weights = (_WEIGHT.search(part) for part in named)
    return max((1.0 if found is None else float(found[1]) for found in weights), default=0.0)


_WEIGHT = re.compile(r";\s*q=([01](?:\.\d{0,3})?)\s*$")


def _lines(metric: Metric, snapshot: Snapshot, openmetrics: bool) -> Iterator[str]:  # noqa: FBT001
    samples = list(metric.samples(snapshot))
    if not samples:
        return
    # OpenMetrics describes a counter without the ending that its samples have
    family = metric.name.removesuffix("_total") if openmetrics else metric.name
    yield f"# HELP {family} {metric.help}"
    yield f"# TYPE {family} {metric.kind}"
    for values, number in samples:
        pairs = ",".join(
            f'{label}="{_escaped(value)}"'
            for label, value in zip(metric.labels, values, strict=True)
        )
        yield f"{metric.name}{{{pairs}}} {number:d}" if pairs else f"{metric.name} {number:d}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _gauge(
    name: str, help: str, samples: Callable[[Snapshot], Iterable[Sample]], *labels: str
) -> Metric:
    return Metric(f"lanjami_{name}", "gauge", help, labels, samples)


def _counter(
    name: str, help: str, samples: Callable[[Snapshot], Iterable[Sample]], *labels: str
) -> Metric:
    return Metric(f"lanjami_{name}_total", "counter", help, labels, samples)


def _one(number: Callable[[Snapshot], int | None]) -> Callable[[Snapshot], Iterable[Sample]]:
    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        if (found := number(snapshot)) is not None:
            yield (), found

    return samples


def _services(
    number: Callable[[Service], int | None],
) -> Callable[[Snapshot], Iterable[Sample]]:
    return lambda snapshot: [
        ((name,), found)
        for name, service in snapshot.services.items()
        if (found := number(service)) is not None
    ]


def _nodes(number: Callable[[DhtNode], int]) -> Callable[[Snapshot], Iterable[Sample]]:
    return lambda snapshot: [((node.engine,), number(node)) for node in snapshot.dht.nodes]


def _proxy(number: Callable[[Proxy], int]) -> Callable[[Snapshot], Iterable[Sample]]:
    return _one(lambda snapshot: None if snapshot.proxy is None else number(snapshot.proxy))


def _turn(number: Callable[[Turn], int]) -> Callable[[Snapshot], Iterable[Sample]]:
    return _one(lambda snapshot: None if snapshot.turn is None else number(snapshot.turn))


def _split(total: int, by: Mapping[str, int]) -> Iterator[Sample]:
    """A total by its reasons; what these do not name is `OTHER`, so that the sum is the total."""
    yield from (((reason,), number) for reason, number in by.items() if reason != OTHER)
    yield (OTHER,), total - sum(by.values()) + by.get(OTHER, 0)


def _known_nodes(snapshot: Snapshot) -> Iterator[Sample]:
    for node in snapshot.dht.nodes:
        yield (node.engine, "good"), node.good
        yield (node.engine, "dubious"), node.dubious


def _dropped_by_nodes(snapshot: Snapshot) -> Iterator[Sample]:
    for node in snapshot.dht.nodes:
        for (reason,), number in _split(node.dropped, node.dropped_by):
            yield (node.engine, reason), number


def _neighbours(
    number: Callable[[Sequence[Neighbour]], int],
) -> Callable[[Snapshot], Iterable[Sample]]:
    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        heard = snapshot.discovery.neighbours
        for kind in sorted({neighbour.kind for neighbour in heard}):
            yield (kind,), number([neighbour for neighbour in heard if neighbour.kind == kind])

    return samples


def _counted_neighbours(snapshot: Snapshot) -> Iterator[Sample]:
    kinds = [neighbour.kind for neighbour in snapshot.discovery.neighbours]
    for kind in sorted({"dht", "jami", *kinds}):
        yield (kind,), kinds.count(kind)


METRICS: tuple[Metric, ...] = (
    _gauge(
        "build_info", "The running program; always 1.", lambda s: [((s.version,), 1)], "version"
    ),
    _gauge("healthy", "1 where every service is up and none complains.", _one(lambda s: s.healthy)),
    _gauge(
        "service_up", "1 while the service is up.", _services(lambda s: s.state == "up"), "service"
    ),
    _gauge(
        "service_worse_off",
        "1 while the service has a reason to complain.",
        _services(lambda s: bool(s.reason)),
        "service",
    ),
    _counter(
        "service_restarts",
        "How often the service was started again.",
        _services(lambda s: s.failures),
        "service",
    ),
    _gauge(
        "service_proved_age_seconds",
        "Since the service last showed that it works; none before it first has.",
        _services(lambda s: s.proved_s),
        "service",
    ),
    _gauge("addresses", "Addresses of the box on its LANs.", _one(lambda s: len(s.addresses))),
    _gauge("names", "Registered names.", _one(lambda s: s.names)),
    _counter(
        "registrations_accepted",
        "Names that were given.",
        _one(lambda s: s.registrations.accepted),
    ),
    _counter(
        "registrations_refused",
        "Requests for a name that were refused.",
        lambda s: _split(s.registrations.refused, s.registrations.refused_by),
        "reason",
    ),
    _gauge(
        "dht_node_info",
        "A DHT node and its UDP port; always 1.",
        lambda s: [((node.engine, str(node.port)), 1) for node in s.dht.nodes],
        *("engine", "port"),
    ),
    _gauge(
        "dht_known_nodes",
        "Nodes in the routing table, by whether they answered lately.",
        _known_nodes,
        *("engine", "state"),
    ),
    _gauge("dht_values", "Values kept for clients.", _nodes(lambda n: n.values), "engine"),
    _counter(
        "dht_requests_sent",
        "Requests to other nodes; answers are not counted.",
        _nodes(lambda n: n.messages),
        "engine",
    ),
    _counter(
        "dht_dropped",
        "Datagrams that were not answered since the node came up.",
        _dropped_by_nodes,
        *("engine", "reason"),
    ),
    _gauge(
        "discovery_interfaces",
        "Interfaces that are served.",
        _one(lambda s: len(s.discovery.interfaces)),
    ),
    _counter("discovery_queries", "Questions heard.", _one(lambda s: s.discovery.queries)),
    _counter("discovery_answers", "Answers sent.", _one(lambda s: s.discovery.answers)),
    _counter(
        "discovery_announcements", "Announcements sent.", _one(lambda s: s.discovery.announcements)
    ),
    _counter(
        "discovery_dropped",
        "Datagrams that were not answered.",
        lambda s: _split(s.discovery.dropped, s.discovery.dropped_by),
        "reason",
    ),
    _gauge(
        "discovery_neighbours",
        "DHT nodes, and Jami accounts that let themselves be seen, heard in the last minutes.",
        _counted_neighbours,
        "kind",
    ),
    _gauge(
        "discovery_neighbour_known_seconds",
        "How long the one who is here longest has been.",
        _neighbours(lambda heard: max(neighbour.since_s for neighbour in heard)),
        "kind",
    ),
    _gauge(
        "discovery_neighbour_heard_age_seconds",
        "Since anybody was last heard.",
        _neighbours(lambda heard: min(neighbour.heard_s for neighbour in heard)),
        "kind",
    ),
    _gauge("proxy_listens", "Listens of clients that are open.", _proxy(lambda p: p.listens)),
    _gauge("proxy_clients", "Addresses that these come from.", _proxy(lambda p: p.clients)),
    _gauge("proxy_values", "Values kept for clients that are away.", _proxy(lambda p: p.values)),
    _gauge(
        "proxy_subscriptions",
        "Subscriptions of clients that are away.",
        _proxy(lambda p: p.subscriptions),
    ),
    _gauge(
        "proxy_subscriptions_unreachable",
        "Those of them that wait for Google's or Apple's push.",
        _proxy(lambda p: p.unreachable),
    ),
    _counter(
        "proxy_pushes",
        "Pushes, by what became of them.",
        lambda s: [] if s.proxy is None else [((why,), n) for why, n in s.proxy.pushes.items()],
        "result",
    ),
    _counter(
        "http_malformed", "Requests that do not follow HTTP.", _one(lambda s: s.http.malformed)
    ),
    _counter("metrics_scrapes", "Answers to /metrics.", _one(lambda s: s.metrics.scrapes)),
    _counter(
        "metrics_refused",
        "Requests for /metrics from where it is not for.",
        _one(lambda s: s.metrics.refused),
    ),
    _gauge("turn_sessions", "Relays that clients have now.", _turn(lambda t: t.sessions)),
    _counter("turn_allocations", "Relays that were given.", _turn(lambda t: t.allocations)),
    _counter(
        "turn_refused",
        "What clients were refused by the relay.",
        lambda s: [] if s.turn is None else _split(s.turn.refused, s.turn.refused_by),
        "reason",
    ),
)
