"""The composition root: the one place that knows every service.

Services never see each other; each is handed functions that tell what it needs to know.
"""

import asyncio
import contextlib
import gc
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import lanjami
from lanjami import ending, lan, layout
from lanjami.backup import api as backup_api
from lanjami.backup import archive
from lanjami.backup.keeper import Keeper
from lanjami.box import places as box_places
from lanjami.box import upload
from lanjami.box.notices import Notices
from lanjami.config import Config, Engine, Sources
from lanjami.dhtnode import proxy_api
from lanjami.dhtnode.endpoint import Endpoint
from lanjami.dhtnode.node import DhtNode, is_installed
from lanjami.dhtnode.proxy_service import Proxy
from lanjami.dhtnode.push import Pusher
from lanjami.dhtnode.python_node import PythonNode
from lanjami.discovery import wire
from lanjami.discovery.announcer import Announcer
from lanjami.discovery.mdns import Mdns
from lanjami.discovery.records import Facts
from lanjami.doctor import page_api as doctor_api
from lanjami.doctor.watch import MachineWatch
from lanjami.errors import HostError
from lanjami.nameserver import admin_api
from lanjami.nameserver.api import Api
from lanjami.nameserver.registry import Registry
from lanjami.network import connectivity_api
from lanjami.network.access_point import AccessPoint
from lanjami.network.lan_server import LanServer
from lanjami.network.outlook import Outlook
from lanjami.network.outlook_watch import OutlookWatch
from lanjami.network.time_server import TimeServer
from lanjami.operating import Operating
from lanjami.overview import Overview
from lanjami.runtime import checkpoint, disk, httpd, log, net, privileges
from lanjami.runtime.notify import notify, systemd_listens, watchdog_interval_s
from lanjami.runtime.service import Service
from lanjami.runtime.supervisor import Supervisor
from lanjami.status import api as status_api
from lanjami.status import quality
from lanjami.status import snapshot as status
from lanjami.status.live import Live
from lanjami.status.metrics_api import MetricsApi
from lanjami.status.operator.box import End
from lanjami.status.page_api import PageApi
from lanjami.status.quality_api import QualityApi
from lanjami.turn.coturn import Relay

_log = log.get(__name__)

SETTLED_WITHIN_S = 20.0  # when the first words are spoken even if a service still starts
STOP_S = 2.5
NOTIFY_EVERY_S = 5.0


class App:
    """The appliance, with its configuration and its state folder.

    `control` are the places for the socket that `lanjami` asks; the first that can be had is
    taken. `sources` are what the configuration was made of; `command` is how the person who waits
    calls this program.
    """

    def __init__(
        self,
        config: Config,
        state: Path,
        *,
        control: Sequence[Path],
        sources: Sources,
        command: str,
    ) -> None:
        self._config = config
        self._sources = sources
        self._command = command
        self._state = state
        self._announcer = Announcer(
            interval_s=config.discovery.interval_s, lan=self._announced, beacons=self._beacons
        )
        engines = [e for e in config.dht.engines if e != "opendht" or is_installed()]
        self._ports = config.dht.ports(engines or config.dht.engines)
        self._nodes = {engine: self._node(engine) for engine in self._ports}
        self._pusher = Pusher(is_lan=self._may_push_to)
        self._proxies = [  # of OpenDHT's binding none can be made: it hides what is signed
            Proxy(node=node, push=self._pusher.send, state=state, boot=checkpoint.boot_id())
            for node in self._nodes.values()
            if isinstance(node, PythonNode)
        ]
        self._mdns = Mdns(host=config.mdns.host, lan=self._lan, facts=self._facts)
        self._keeper = Keeper(state / layout.BACKUPS, collect=self._collect)
        self._registry = Registry(
            path=state / layout.NAMES,
            reserved=config.names.reserved,
            spare=partial(self._keeper.unpack_newest, layout.NAMES),
        )
        self._names_api = Api(self._registry)
        self._watch = (
            OutlookWatch(upstream=config.dns.upstream, policy=config.dns.jami)
            if config.serving("dns") and config.dns.upstream
            else None
        )
        self._outlook = self._watch.outlook if self._watch else Outlook
        self._relay = Relay(
            config.turn, folder=state / layout.TURN, lan=self._lan, everywhere=net.addresses
        )
        self._overview = Overview(
            config=config,
            nodes=self._nodes,
            ports=self._ports,
            proxies=self._proxies,
            pusher=self._pusher,
            announcer=self._announcer,
            mdns=self._mdns,
            registry=self._registry,
            names_api=self._names_api,
            relay=self._relay,
            http=lambda: self._http,
            health=lambda: self._supervisor.health,
            metrics_api=lambda: self._metrics_api,
            interfaces=self._lan,
            outlook=self._outlook,
        )
        self._live = Live(
            snapshot=self._overview.snapshot,
            present=self._overview.present,
            tally=self._overview.tally,
        )
        self._page_api = PageApi(self._live, lan=self._lan, reach=self._overview.reached)
        self._quality_api = QualityApi(self._live)
        self._metrics_api = MetricsApi(
            config.metrics, snapshot=self._overview.snapshot, interfaces=self._lan
        )
        send_backup = backup_api.sender(self._keeper.make, state / layout.BACKUPS)
        self._operating = Operating(
            config=config,
            sources=sources,
            state=state,
            registry=self._registry,
            snapshot=self._overview.snapshot,
            host=self._mdns.host,
            http=lambda: self._http,
            supervisor=lambda: self._supervisor,
            backup=send_backup,
        )
        self._http = httpd.HttpServer(
            ports=config.http.ports,
            also=config.proxy_ports,
            largest_body=max(proxy_api.LARGEST_BODY, quality.CHUNK, upload.PIECE),
            routes=lambda: [
                *self._names_api.routes(),
                *self._page_api.routes(with_root=not self._proxies),
                *self._quality_api.routes(),
                *self._metrics_api.routes(),
                *self._operating.routes(),
                *doctor_api.routes(self._served(), beacons=self._beacons),
                *(
                    route
                    for proxy in self._proxies
                    for route in proxy_api.routes(proxy, page=self._page_api.page)
                ),
                *(connectivity_api.routes() if self._answers_connectivity_checks() else []),
            ],
            quick=[self._names_api.quick, *map(proxy_api.quick, self._proxies)],
            probe="/name/-",  # no name: answered without the database, which has its own check
        )
        local = httpd.LocalServer(
            paths=control,
            routes=lambda: [
                *status_api.routes(self._overview.snapshot),
                *admin_api.routes(self._registry, state),
                *backup_api.routes(send_backup),
                *self._operating.local_routes(),
            ],
        )
        self._supervisor = Supervisor(
            [
                *self._nodes.values(),
                *self._proxies,
                *([self._pusher] if self._proxies else []),
                *(self._announcer, self._mdns, self._registry),
                *(self._keeper, self._http, self._live, local),
                *self._network(),
                *([self._relay] if config.turn.serve else []),
                *self._machine(),
            ]
        )

    async def run(self, started: Callable[[str], None]) -> None:
        """Serve until cancelled. `started` is given the words for the person who waits.

        Raises HostError, before anything runs, where the state folder or a port is taken.
        """
        with self._reserved(), self._operating.memory.listening():
            _log.info("starting", version=lanjami.__version__, state=self._state)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._supervisor.run())
                    tasks.create_task(self._tell(started))
            finally:
                notify("STOPPING=1")

    @property
    def end(self) -> End | None:
        """How the operator wants lanjami to end; None where they do not."""
        return self._operating.end

    @contextlib.contextmanager
    def _reserved(self) -> Iterator[None]:
        """Make sure of everything that another program could have, before anything starts."""
        disk.make_private_folder(self._state)
        with disk.locked(self._state / layout.LOCK):
            try:
                disk.finish_exchange(self._state)
            except HostError as error:  # the names wait for it; the rest of the box does not
                _log.error("an exchange of files is not finished", reason=error)
            self._require_a_dht_port()
            disk.remove_scratch(self._state)
            net.require_udp(wire.PORT, shared=True)
            _, sockets = httpd.listen_on_first(self._config.http.ports)
            for sock in sockets:
                sock.close()
            yield

    def _require_a_dht_port(self) -> None:
        """HostError where no node could serve; one carries the other, which the supervisor starts
        when its port comes free."""
        refusals = []
        for port in self._ports.values():
            try:
                net.require_udp(port)
            except HostError as error:
                refusals.append(error)
        if len(refusals) == len(self._ports):
            raise refusals[0]

    async def _tell(self, started: Callable[[str], None]) -> None:
        """Speak to the person who waits, then to systemd for as long as we run."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_WITHIN_S):
                await self._supervisor.settled()
        with _only_said():
            started(self._welcome())
        with _only_said():
            notify("READY=1", f"STATUS={_summary(self._overview.snapshot())}")
        while systemd_listens():
            with _only_said():
                notify("WATCHDOG=1", f"STATUS={_summary(self._overview.snapshot())}")
            await asyncio.sleep(min(NOTIFY_EVERY_S, watchdog_interval_s() or NOTIFY_EVERY_S))

    def _welcome(self) -> str:
        beacons = self._beacons()
        return status.welcome(
            self._overview.snapshot(),
            port=beacons[0].port if beacons else self._config.dht.port,
            http_port=self._http.port(),
            answers_names=bool(self._config.serving("dns")),
            command=self._command,
        )

    def _collect(self, folder: Path) -> None:
        """Put what belongs into a backup into `folder`."""
        archive.collect(
            folder,
            copy_names=self._registry.copy_to,
            state=self._state,
            config=self._sources.file,
        )

    def _lan(self) -> tuple[lan.Interface, ...]:
        return net.interfaces(ignored=self._config.discovery.ignored_interfaces)

    def _announced(self) -> tuple[lan.Interface, ...]:
        """Where discovery speaks, and from which addresses. Where clients have addresses by our own
        IPv6 advertisements, they are to hear of no link-local ones: OpenDHT keeps the last address
        that it heard of a node, and before 2.6.0 drops what comes from there."""
        advertised = self._config.serving("ra")
        return tuple(
            lan.without_link_local(interface) if interface.name in advertised else interface
            for interface in self._lan()
        )

    def _node(self, engine: Engine) -> DhtNode | PythonNode:
        """The DHT node of one make."""
        port, routed = self._ports[engine], self._config.dht.routed
        changed = self._announcer.nudge
        if engine == "opendht":
            return DhtNode(port=port, routed=routed, state=self._state, changed=changed)
        return PythonNode(
            port=port,
            routed=routed,
            state=self._state,
            lan=self._lan,
            entries=self._entries,
            changed=changed,
        )

    def _network(self) -> Iterator[Service]:
        """What the box serves where it is the network."""
        config, state = self._config, self._state / layout.NETWORK
        lan = partial(net.interfaces, ignored=())
        if config.wifi.interface:
            yield AccessPoint(config.wifi, state=state)
        if self._watch:
            yield self._watch
        for name, network in config.network.items():
            if set(network.serve) - {"ntp"}:
                yield LanServer(
                    name,
                    network,
                    state=state,
                    lan=lan,
                    outlook=self._outlook,
                    connectivity_checks=config.dns.connectivity_checks,
                    is_passing=name in config.fallback,
                )
        if interfaces := config.serving("ntp"):
            yield TimeServer(
                interfaces=interfaces, servers=config.ntp.servers, state=self._state, lan=lan
            )

    def _machine(self) -> Iterator[Service]:
        """On a box that started from our image, the machine is ours to look after, too."""
        if Path(box_places.RUN).is_dir():
            yield Notices()
            yield MachineWatch(self._state)

    def _answers_connectivity_checks(self) -> bool:
        return self._config.dns.connectivity_checks and bool(self._config.serving("dns"))

    def _may_push_to(self, ip: lan.Ip) -> bool:
        """Whether a phone may have us write there: on the LAN, and not to this machine's own
        services that only this machine sees."""
        addresses = [address for interface in self._lan() for address in interface.addresses]
        return lan.is_local(ip, addresses) and not ip.is_loopback

    def _entries(self) -> list[Endpoint]:
        """Where the node in Python finds OpenDHT's: at the box's best address on the LAN, IPv4
        where there is one. Clients are told of that address: loopback would be theirs, and IPv6
        is for those who speak it."""
        other = self._nodes["opendht"].beacon() if "opendht" in self._nodes else None
        addresses = lan.shown(self._lan())[:1]
        return [Endpoint(ip_address(ip).packed, other.port) for ip in addresses if other]

    def _beacons(self) -> list[wire.Beacon]:
        beacons = [node.beacon() for node in self._nodes.values()]
        return [beacon for beacon in beacons if beacon is not None]

    def _served(self) -> doctor_api.Served:
        turn = self._config.turn
        return doctor_api.Served(
            dht=list(self._ports.values()),
            proxy=bool(self._proxies),
            turn=turn.port if turn.serve else None,
        )

    def _facts(self) -> Facts:
        beacons = self._beacons()
        return Facts(
            version=lanjami.__version__,
            dht_port=beacons[0].port if beacons else None,
            http_port=self._http.port(),
        )


@contextlib.contextmanager
def _only_said() -> Iterator[None]:
    """Nothing that is only said may end what is done."""
    try:
        yield
    except Exception:  # noqa: BLE001 - a closed pipe, a vanished socket of systemd, a fault of ours
        _log.exception("cannot say how it is")


def serve(app: App, started: Callable[[str], None]) -> End | None:
    """Run the appliance until SIGINT or SIGTERM, or until its operator ends it; see `App.run`."""
    privileges.lay_down(keep="CAP_NET_BIND_SERVICE")
    gc.freeze()  # programs do not go: to look through theirs holds everybody up, 10 ms on a laptop
    asyncio.run(_until_signalled(app, started))
    return app.end


async def _until_signalled(app: App, started: Callable[[str], None]) -> None:
    loop = asyncio.get_running_loop()
    serving = asyncio.current_task()
    assert serving is not None

    def stop() -> None:
        serving.cancel()
        # Whatever does not end in time, such as a thread that waits for a dying disk, is left.
        deadline = threading.Timer(STOP_S, lambda: ending.leave(app.end, at_once=True))
        deadline.daemon = True
        deadline.start()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await app.run(started)
    except asyncio.CancelledError:
        _log.info("stopped")


def _summary(snapshot: status.Snapshot) -> str:
    services = snapshot.services.items()
    worse = [name for name, service in services if service.state != "up" or service.reason]
    return f"worse off: {', '.join(worse)}" if worse else f"all is well, {snapshot.names} names"
