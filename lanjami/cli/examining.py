"""Sends out the probes of `lanjami doctor`, and has the checks judge what they saw."""

import asyncio
import os
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from lanjami import lan
from lanjami.config import Config
from lanjami.dhtnode import beat
from lanjami.dhtnode.heartbeat import Heartbeat
from lanjami.doctor import asking, hearing, lan_checks, machine, machine_checks, service_checks
from lanjami.doctor.finding import Finding
from lanjami.errors import HostError
from lanjami.firewall import nftables, verdict
from lanjami.firewall.openings import Opening, openings
from lanjami.lan import Interface, Ip
from lanjami.network import dhcp_wire, dns_wire, probes
from lanjami.runtime import net
from lanjami.status.snapshot import DhtNode, Snapshot
from lanjami.turn import stun
from lanjami.turn.users import STOCK


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at: the settings, the state folder, and what a box that runs tells; `told`
    is why it could not be asked."""

    config: Config
    state: Path
    snapshot: Snapshot | None
    told: str = ""


async def examine(patient: Patient) -> list[Finding]:
    """All findings, in the order in which a person should read them; takes about 5 s."""
    interfaces = net.interfaces(ignored=patient.config.discovery.ignored_interfaces)
    snapshot = patient.snapshot
    async with asyncio.TaskGroup() as tasks:
        on_lan = tasks.create_task(_lan(patient, interfaces))
        if snapshot is None:
            return [
                service_checks.running(None, patient.told),
                *_machine(patient),
                *await on_lan,
            ]
        served = tasks.create_task(_services(patient.config, snapshot, interfaces))
    return [
        service_checks.running(snapshot),
        service_checks.services(snapshot),
        *_machine(patient),
        *on_lan.result(),
        *served.result(),
    ]


def _machine(patient: Patient) -> list[Finding]:
    try:
        seen: machine_checks.Disk | str = machine.disk(patient.state)
    except HostError as error:
        seen = str(error)
    throttled, alarm = machine.power()
    return [
        machine_checks.clock_is_sane(
            machine.now(), machine.passed(patient.state), made_at=machine.made_at()
        ),
        machine_checks.disk(seen),
        machine_checks.card(seen),
        machine_checks.power(throttled, alarm=alarm),
    ]


async def _lan(patient: Patient, interfaces: Sequence[Interface]) -> list[Finding]:
    config, snapshot = patient.config, patient.snapshot
    addresses = net.addresses()
    own = {address.ip for address in addresses}
    nodes = {bytes.fromhex(node.node_id) for node in _nodes(snapshot)}
    handing_out = config.serving("dhcp")
    async with asyncio.TaskGroup() as tasks:
        hear = [tasks.create_task(hearing.hear(interface)) for interface in interfaces]
        offer = {i.name: tasks.create_task(_offers(i.name)) for i in interfaces}
    heard = [each for task in hear for each in task.result()]
    others = lan_checks.others(heard, nodes=nodes, own=own)
    name_servers = await asking.name_servers(
        [ip for ip in others if lan.is_local(ip, addresses)], config.http.ports
    )
    box = None if snapshot is None else machine.process_of_box(patient.state)
    held = machine.held(openings(config), interfaces, box=box)
    http = lan_checks.http_ports(config.http.ports, held, served=_http_port(snapshot))
    routes = machine.routes()
    upstream = snapshot.services.get("upstream") if snapshot is not None else None
    return [
        lan_checks.addresses(interfaces),
        lan_checks.default_route(interfaces, routes, handing_out=handing_out),
        lan_checks.ports(held, openings(config, http=http)),
        lan_checks.firewall(
            await asyncio.to_thread(_blocked, openings(config, http=http[-1:]), interfaces)
        ),
        lan_checks.multicast(heard),
        lan_checks.broadcast(heard),
        *([lan_checks.discovery(heard, nodes)] if snapshot is not None else []),
        lan_checks.other_dhcp(
            {name: task.result() for name, task in offer.items()},
            own=own,
            handing_out=handing_out,
            is_root=os.geteuid() == 0,
        ),
        *lan_checks.other_boxes(others, name_servers, usual_port=config.dht.port),
        lan_checks.internet(
            routes, config.dns.upstream, "" if upstream is None else upstream.detail
        ),
    ]


async def _offers(interface: str) -> Sequence[dhcp_wire.Offer] | str:
    try:
        return await probes.offers(interface)
    except HostError as error:
        return str(error)


def _blocked(
    opened: Sequence[Opening], interfaces: Sequence[Interface]
) -> list[tuple[str, Opening]] | str:
    try:
        return verdict.blocked(nftables.listing(), opened, interfaces)
    except HostError as error:
        return str(error)


async def _services(
    config: Config, snapshot: Snapshot, interfaces: Sequence[Interface]
) -> list[Finding]:
    places = [ip_address(text) for text in lan.shown(interfaces)]
    own = {address.ip for interface in interfaces for address in interface.addresses}
    found = []
    for node in _nodes(snapshot):
        beats = await _at_each(places, node.port, partial(_beat, bytes.fromhex(node.node_id)))
        found.append(service_checks.dht(node.engine, beats))
    port = _http_port(snapshot) or lan.HTTP_PORT
    found.append(service_checks.names(await _at_each(places, port, asking.look_up)))
    if snapshot.proxy is not None:
        found.append(service_checks.proxy(await _at_each(places, port, asking.ask_proxy)))
    found.append(service_checks.mdns(snapshot, await _mdns(snapshot.host, interfaces), own))
    relays = {}
    if snapshot.turn is not None:
        ask = partial(asking.ask_relay, _stock(config.turn.realm))
        relays = await _at_each(places, config.turn.port, ask)
    found.append(service_checks.turn(snapshot, relays))
    names = await _jamis_names(config, interfaces)
    found.append(service_checks.jami_dns(names, own, policy=config.dns.jami))
    found.append(lan_checks.public_dht(await _told_of(snapshot, places), interfaces))
    return found


async def _at_each(
    places: Sequence[Ip], port: int, ask: Callable[[Ip, int], Coroutine[None, None, str]]
) -> dict[str, str]:
    """What was wrong at each of the box's addresses."""
    async with asyncio.TaskGroup() as tasks:
        asked = {ip: tasks.create_task(ask(ip, port)) for ip in places}
    return {lan.host_port(str(ip), port): task.result() for ip, task in asked.items()}


async def _mdns(host: str, interfaces: Sequence[Interface]) -> dict[str, list[Ip]]:
    """What `host` is said to be on each LAN with IPv4."""
    async with asyncio.TaskGroup() as tasks:
        asked = {
            interface.name: tasks.create_task(hearing.mdns(interface, host))
            for interface in interfaces
            if host and any(address.ip.version == 4 for address in interface.addresses)
        }
    return {name: task.result() for name, task in asked.items()}


def _stock(realm: str) -> stun.Credentials:
    """What unmodified clients know."""
    user, password = STOCK
    return stun.Credentials(user, realm, stun.key(user, realm, password))


async def _beat(node_id: bytes, ip: Ip, port: int) -> str:
    """Put a value and get it back, from outside the process; what was wrong."""
    heartbeat = Heartbeat(asker_id=secrets.token_bytes(20), node_id=node_id)
    try:
        with asking.connected(ip, port) as sock:
            await beat.beat(sock, heartbeat, node_id)
    except TimeoutError:
        return "no answer"
    except (OSError, HostError) as error:
        return str(error)
    return ""


async def _jamis_names(
    config: Config, interfaces: Sequence[Interface]
) -> Mapping[str, Mapping[str, dns_wire.Answer | None]]:
    """What the box says of Jami's names where it answers names."""
    serving = config.serving("dns")
    return {
        str(address.ip): {
            name: await probes.name(address.ip, name) for name in service_checks.JAMIS_NAMES
        }
        for interface in interfaces
        if interface.name in serving
        for address in interface.addresses
        if address.ip.version == 4
    }


async def _told_of(snapshot: Snapshot, places: Sequence[Ip]) -> dict[str, set[Ip]] | None:
    found: dict[str, set[Ip]] = {}
    for node in _nodes(snapshot):
        for ip in places[:1]:
            try:
                found[node.engine] = await asking.nodes_near(ip, node.port)
            except OSError:  # a time-out, too; `dht-…` says so
                continue
    return found or None


def _nodes(snapshot: Snapshot | None) -> list[DhtNode]:
    return [] if snapshot is None else [node for node in snapshot.dht.nodes if node.node_id]


def _http_port(snapshot: Snapshot | None) -> int | None:
    """The port at which the box serves HTTP now."""
    if snapshot is None or not snapshot.name_server:
        return None
    return urlsplit(snapshot.name_server).port or lan.HTTP_PORT
