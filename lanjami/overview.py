"""What the services tell of themselves, put together for the status, the page and the plots."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import lanjami
from lanjami import lan
from lanjami.config import Config, Engine, Turn
from lanjami.dhtnode.node import DhtNode, Statistics
from lanjami.dhtnode.proxy_service import Proxy
from lanjami.dhtnode.push import Pusher
from lanjami.dhtnode.python_node import PythonNode
from lanjami.discovery.announcer import Announcer
from lanjami.discovery.mdns import Mdns
from lanjami.errors import HostError
from lanjami.nameserver.api import Api
from lanjami.nameserver.names import JamiId
from lanjami.nameserver.registry import Registry
from lanjami.network.outlook import Outlook
from lanjami.runtime import net
from lanjami.runtime.httpd import HttpServer
from lanjami.runtime.supervisor import Health
from lanjami.status import page
from lanjami.status import snapshot as status
from lanjami.status.history import Tally
from lanjami.status.metrics_api import MetricsApi
from lanjami.turn.coturn import Relay


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Asks the services whenever it is asked. `ports` are those of the DHT nodes; `http`,
    `health` and `metrics_api` are functions, for what serves an overview has to be made after it.
    """

    config: Config
    nodes: Mapping[Engine, DhtNode | PythonNode]
    ports: Mapping[Engine, int]
    proxies: Sequence[Proxy]
    pusher: Pusher
    announcer: Announcer
    mdns: Mdns
    registry: Registry
    names_api: Api
    relay: Relay
    http: Callable[[], HttpServer]
    health: Callable[[], Mapping[str, Health]]
    metrics_api: Callable[[], MetricsApi]
    interfaces: Callable[[], tuple[lan.Interface, ...]]
    outlook: Callable[[], Outlook | None]

    def snapshot(self) -> status.Snapshot:
        """How everything is, now."""
        health = self.health()
        now = asyncio.get_running_loop().time()
        addresses = lan.shown(self.interfaces())
        return status.Snapshot(
            version=lanjami.__version__,
            healthy=all(h.is_well for h in health.values()),
            services={
                name: status.Service(
                    *(h.state, h.detail, h.reason, h.failures),
                    proved_s=None if h.proved_at is None else round(now - h.proved_at),
                )
                for name, h in health.items()
            },
            dht=self._dht(),
            discovery=self._discovery(),
            addresses=addresses,
            host=self.mdns.host() or "",
            name_server=self._name_server(addresses),
            names=self.registry.known(),
            registrations=status.Registrations(
                accepted=self.names_api.registered,
                refused=self.names_api.refused.total(),
                refused_by=dict(self.names_api.refused),
            ),
            proxy=self._proxy_status(),
            http=status.Http(self.http().malformed),
            turn=self._turn_status(),
            metrics=self.metrics_api().counts(),
        )

    def present(self) -> page.Present | None:
        """Who lets themselves be seen, where the operator lets the page show it."""
        if not self.config.status.people:
            return None
        now = asyncio.get_running_loop().time()
        return page.Present(
            heard=[
                page.Heard(heard.name, self._name_of(heard.id), round(now - heard.since))
                for heard in self.announcer.neighbours()
                if heard.kind == "jami"
            ],
            newest=self.registry.newest(page.MOST_NAMES),
            names=self.registry.known(),
        )

    def tally(self) -> Tally:
        """How the box is used, for the plots."""
        nodes = [self._dht_node(engine) for engine in self.nodes]
        own = sum(bool(node.node_id) for node in nodes)
        others = max(0, max(node.good for node in nodes) - max(0, own - 1))
        phones = sum(proxy.streams.sources for proxy in self.proxies)
        return Tally(
            clients=others + phones,
            messages={node.engine: node.messages for node in nodes},
            answers={"discovery": self.announcer.counts().answers},
        )

    def reached(self, address: str, port: int) -> page.Reached:
        """The box as a visitor of the page reaches it."""
        return page.Reached(
            address=address,
            port=port,
            dht_port=self.config.dht.port,
            has_proxy=bool(self.proxies),
            host=self.mdns.host() or "",
            needs_nothing=self._is_found_at(address),
            relay=self._relay_at(address),
            realm=self.config.turn.realm,
        )

    def _relay_at(self, address: str) -> str:
        """What to type for the relay; without a port, clients take that of RFC 8656."""
        if self.relay.counts() is None or not address:
            return ""
        port = self.config.turn.port
        is_plain = port == Turn().port and ":" not in address
        return address if is_plain else lan.host_port(address, port)

    def _is_found_at(self, address: str) -> bool:
        """Whether clients on the LAN of an address of the box find it under Jami's own names."""
        outlook = self.outlook()
        if outlook is None or not outlook.jami_is_ours:
            return False
        answering = self.config.serving("dns")
        return any(
            str(own.ip) == address
            for interface in net.interfaces(ignored=())
            if interface.name in answering
            for own in interface.addresses
        )

    def _name_server(self, addresses: list[str]) -> str:
        port = self.http().port()
        return "" if port is None or not addresses else lan.http_url(addresses[0], port)

    def _proxy_status(self) -> status.Proxy | None:
        for proxy in self.proxies:
            return status.Proxy(
                listens=len(proxy.streams),
                values=proxy.orders.permanent,
                subscriptions=proxy.orders.subscriptions,
                unreachable=proxy.orders.undeliverable,
                pushes=self.pusher.counts(),
                clients=proxy.streams.sources,
            )
        return None

    def _turn_status(self) -> status.Turn | None:
        counts = self.relay.counts()
        if counts is None:
            return None
        return status.Turn(
            sessions=counts.sessions,
            allocations=counts.allocations,
            refused=sum(counts.refused.values()),
            refused_by=counts.refused,
        )

    def _name_of(self, account_id: bytes) -> str:
        with contextlib.suppress(HostError):
            return self.registry.name_of(JamiId(account_id.hex())) or ""
        return ""

    def _dht(self) -> status.Dht:
        nodes = [self._dht_node(engine) for engine in self.nodes]
        first = nodes[0]
        return status.Dht(
            node_id=first.node_id,
            port=first.port,
            good=first.good,
            dubious=first.dubious,
            values=first.values,
            messages=first.messages,
            dropped=first.dropped,
            dropped_by=first.dropped_by,
            nodes=nodes,
        )

    def _dht_node(self, engine: Engine) -> status.DhtNode:
        node = self.nodes[engine].node()
        counts = Statistics() if node is None else node.statistics
        return status.DhtNode(
            engine=engine,
            node_id="" if node is None else node.node_id.hex(),
            port=self.ports[engine],
            good=counts.good,
            dubious=counts.dubious,
            values=counts.values,
            messages=counts.messages,
            dropped=sum(counts.dropped.values()),
            dropped_by=counts.dropped,
        )

    def _discovery(self) -> status.Discovery:
        counts = self.announcer.counts()
        now = asyncio.get_running_loop().time()
        return status.Discovery(
            interfaces=self.announcer.interfaces(),
            queries=counts.queries,
            answers=counts.answers,
            announcements=counts.announcements,
            dropped=sum(counts.dropped.values()),
            dropped_by=counts.dropped,
            neighbours=[
                status.Neighbour(
                    kind=heard.kind,
                    id=heard.id.hex(),
                    address=str(heard.ip),
                    name=heard.name,
                    since_s=round(now - heard.since),
                    heard_s=round(now - heard.heard_at),
                )
                for heard in self.announcer.neighbours()
            ],
        )
