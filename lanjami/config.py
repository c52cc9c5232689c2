"""Every setting of lanjami, read from TOML into a type that cannot be wrong."""

import itertools
import re
import tomllib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, ip_address, ip_network
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from lanjami import lan
from lanjami.errors import ConfigError
from lanjami.nameserver.names import RESERVED

LAST_PORT = 65535
Port = Annotated[int, Meta(ge=1, le=LAST_PORT)]
Engine = Literal["opendht", "python"]
Served = Literal["dns", "dhcp", "ra", "ntp"]

LOCAL = "local"  # stands for every local network

_INTERFACE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}"  # IFNAMSIZ, Linux include/uapi/linux/if.h
# Without the options that sshd knows in front of a key: nothing here runs a command.
_SSH_KEY = re.compile(r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+ [A-Za-z0-9+/]{40,}=*( [ -~]*)?")
InterfaceName = Annotated[str, Meta(pattern=rf"^{_INTERFACE}\Z")]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the configuration file."""


class Dht(Section, frozen=True):
    port: Port = 4222  # what clients try where a bootstrap is given without a port
    routed: bool = False
    engines: Annotated[tuple[Engine, ...], Meta(min_length=1)] = ("opendht", "python")

    def __post_init__(self) -> None:
        if len(set(self.engines)) < len(self.engines):
            raise ValueError("the same engine twice in `engines`")

    def ports(self, engines: Sequence[Engine]) -> dict[Engine, int]:
        """The UDP port of each: `port`, the next, and so on (backwards, at the end of ports)."""
        step = 1 if self.port + len(engines) - 1 <= LAST_PORT else -1
        return {engine: self.port + step * number for number, engine in enumerate(engines)}


class Http(Section, frozen=True):
    ports: Annotated[tuple[Port, ...], Meta(min_length=1)] = (80, 8080)


class Proxy(Section, frozen=True):
    default_ports: bool = False

    @property
    def ports(self) -> tuple[int, ...]:
        """Those that the proxy has beside the HTTP server's own."""
        return tuple(range(80, 96)) if self.default_ports else ()


class Discovery(Section, frozen=True):
    interval_s: Annotated[float, Meta(ge=1.0, le=3600.0)] = 10.0
    ignored_interfaces: tuple[str, ...] = (
        "docker*",
        "br-*",
        "veth*",
        "virbr*",
        "cni*",
        "podman*",
        "lxc*",
        "lxdbr*",
        "tun*",
        "tap*",
        "wg*",
        "ppp*",
        "utun*",
        "awdl*",
        "llw*",
    )


class Mdns(Section, frozen=True):
    host: Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?\Z")] = "lanjami"


class Names(Section, frozen=True):
    reserved: tuple[str, ...] = RESERVED


def _check_address(text: str) -> None:
    if re.fullmatch(r"[0-9.]+/[0-9]{1,2}", text) is None:
        raise ValueError("`address` is written with its network's length, such as 10.77.0.1/24")
    at = IPv4Interface(text)
    if not 8 <= at.network.prefixlen <= 29:
        raise ValueError("the network of `address` has a length from 8 to 29, such as 24")
    if at.ip in (at.network.network_address, at.network.broadcast_address):
        raise ValueError(f"`address` {at.ip} is that of the whole network")
    if not at.is_private or at.is_link_local or at.is_loopback:
        raise ValueError("`address` is of a private network: 10., 172.16. to 172.31., 192.168.")


def _check_ips(texts: Iterable[str], setting: str) -> None:
    for text in texts:
        try:
            ip_address(text)
        except ValueError:
            raise ValueError(f"`{setting}` has {text!r}, which is no IP address") from None


class Network(Section, frozen=True):
    """What the box is for the LAN on one interface; where it has no such table, a guest."""

    serve: Annotated[tuple[Served, ...], Meta(min_length=1)]
    address: str = ""

    def __post_init__(self) -> None:
        if self.address:
            _check_address(self.address)
            if set(self.serve) == {"ntp"}:
                raise ValueError("`address` is for who serves dns, dhcp or ra, too")

    @property
    def at(self) -> IPv4Interface | None:
        """The address and network that the interface is to have; None for those it has."""
        return IPv4Interface(self.address) if self.address else None


class Dns(Section, frozen=True):
    jami: Literal["always", "offline"] = "always"
    upstream: tuple[str, ...] = ()
    connectivity_checks: bool = True

    def __post_init__(self) -> None:
        _check_ips(self.upstream, "upstream")


class Ntp(Section, frozen=True):
    servers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_ips(self.servers, "servers")


def _check_wifi(ssid: str, passphrase: str, country: str) -> None:
    if not 1 <= len(ssid.encode()) <= 32:
        raise ValueError("`ssid`, the name of the Wi-Fi network, has 1 to 32 bytes")
    if not re.fullmatch("([ -~]{8,63})?", passphrase):  # IEEE 802.11, annex J.4
        raise ValueError("`passphrase` has 8 to 63 characters of ASCII, or none")
    if not re.fullmatch("[A-Z]{2}", country):
        raise ValueError(
            "`country` is needed: two capital letters, such as DE, that say whose law the "
            "radio keeps"
        )


class Wifi(Section, frozen=True):
    interface: str = ""
    ssid: str = ""
    passphrase: str = ""
    country: str = ""
    channel: Annotated[int, Meta(ge=1, le=13)] | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        if not self.interface:
            return
        if not re.fullmatch(_INTERFACE, self.interface):
            raise ValueError("`interface` is no name of an interface")
        _check_wifi(self.ssid, self.passphrase, self.country)


class Turn(Section, frozen=True):
    serve: bool = True
    port: Port = 3478  # RFC 8656; what clients try where a server is given without a port
    tls_port: Port = 5349
    certificate: str = ""
    key: str = ""
    realm: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]{1,100}\Z")] = "ring"
    relay_ports: tuple[Port, Port] = (61000, 61499)
    sessions: Annotated[int, Meta(ge=1, le=LAST_PORT)] = 400
    session_bytes_per_s: Annotated[int, Meta(ge=1000)] = 1_000_000
    guarded: bool = True

    def __post_init__(self) -> None:
        first, last = self.relay_ports
        if last - first < 10:
            raise ValueError("`relay_ports` is the first and the last of more than ten ports")
        if bool(self.certificate) != bool(self.key):
            raise ValueError("`certificate` and `key` go together")
        if not (self.certificate + self.key).isprintable():
            raise ValueError("`certificate` and `key` are paths of files")

    @property
    def catch_port(self) -> int:
        """Where the firewall leads what a relay would send to the box's own services."""
        return self.relay_ports[0]

    @property
    def relays(self) -> tuple[int, int]:
        """The first and the last port that is given to clients."""
        return self.relay_ports[0] + 1, self.relay_ports[1]


class Status(Section, frozen=True):
    people: bool = True


class Metrics(Section, frozen=True):
    networks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in self.networks:
            if text == LOCAL:
                continue
            try:
                ip_network(text)
            except ValueError as error:
                raise ValueError(
                    f"`networks` has {text!r}, which is neither {LOCAL!r} nor a network such as "
                    f"10.0.0.0/24: {error}"
                ) from None

    def may_ask(self, ip: lan.Ip, addresses: Iterable[lan.Address]) -> bool:
        """Whether the metrics are for who asks from `ip`; `addresses` are the box's own."""
        return any(
            lan.is_local(ip, addresses) if text == LOCAL else ip in ip_network(text)
            for text in self.networks
        )


class JoinedWifi(Section, frozen=True):
    """The Wi-Fi network that the box joins, as any client does."""

    ssid: str = ""
    passphrase: str = ""
    country: str = ""

    def __post_init__(self) -> None:
        if self.ssid:
            _check_wifi(self.ssid, self.passphrase, self.country)


class Box(Section, frozen=True):
    """What only the Raspberry Pi image heeds: the machine around lanjami."""

    hostname: Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?\Z")] = "lanjami"
    ssh_keys: tuple[str, ...] = ()
    address: str = ""
    router: str = ""
    fallback: bool = True
    password: Annotated[str, Meta(pattern=r"^([ -~]{10,128})?\Z")] = ""
    wifi: JoinedWifi = JoinedWifi()

    def __post_init__(self) -> None:
        for number, key in enumerate(self.ssh_keys, start=1):
            if not _SSH_KEY.fullmatch(key.strip()):
                raise ValueError(
                    f"`ssh_keys`: number {number} is no public key as a file .pub has it, such as "
                    "ssh-ed25519 AAAA… name"
                )
        if self.address:
            _check_address(self.address)
        if self.router:
            _check_ips([self.router], "router")
            if (
                not self.address
                or IPv4Address(self.router) not in IPv4Interface(self.address).network
            ):
                raise ValueError("`router` is an address in the network of `address`")


class Config(Section, frozen=True):
    dht: Dht = Dht()
    http: Http = Http()
    proxy: Proxy = Proxy()
    discovery: Discovery = Discovery()
    mdns: Mdns = Mdns()
    names: Names = Names()
    network: dict[InterfaceName, Network] = {}
    fallback: dict[InterfaceName, Network] = {}  # as `network`, by the box itself: `box/roles.py`
    dns: Dns = Dns()
    ntp: Ntp = Ntp()
    wifi: Wifi = Wifi()
    turn: Turn = Turn()
    status: Status = Status()
    metrics: Metrics = Metrics()
    box: Box = Box()

    def __post_init__(self) -> None:
        for (one, its), (other, others) in itertools.combinations(self.network.items(), 2):
            if _overlap(its, others):
                raise ValueError(f"`network.{one}` and `network.{other}` are the same network")
        if self.wifi.interface and self.wifi.interface not in self.network:
            raise ValueError(f"`wifi` needs a table [network.{self.wifi.interface}], too")
        if self.wifi.interface and self.box.wifi.ssid:
            raise ValueError("`wifi` and `box.wifi`: one radio is an access point or joins one")

    @property
    def chosen(self) -> dict[InterfaceName, Network]:
        """Of `network`, what somebody has set: all but what the box falls back to."""
        return {name: one for name, one in self.network.items() if name not in self.fallback}

    def serving(self, what: Served) -> list[str]:
        """The interfaces on whose LANs the box serves this."""
        return [name for name, network in self.network.items() if what in network.serve]

    @property
    def proxy_ports(self) -> tuple[int, ...]:
        """Those of `proxy.ports`; where the box is the DNS server, clients try them all."""
        proxy = replace(self.proxy, default_ports=True) if self.serving("dns") else self.proxy
        return proxy.ports


@dataclass(frozen=True, slots=True)
class Sources:
    """What a configuration is made of: the text of its `file`, the tables that were set on the
    status `page`, each in the place of the file's, and `section.key=value` overrides."""

    file: str = ""
    page: str = ""
    overrides: Sequence[str] = ()

    def parse(self) -> Config:
        """Raises ConfigError with a sentence that names the place."""
        return parse(self.file, page=self.page, overrides=self.overrides)

    def without_bad_page(self) -> tuple[Config, str]:
        """The configuration; where what was set on the page cannot be taken, the one without it,
        and why. Raises ConfigError where the rest cannot be taken either."""
        try:
            return self.parse(), ""
        except ConfigError as error:
            return Sources(self.file, "", self.overrides).parse(), str(error)


def parse(text: str, *, page: str = "", overrides: Iterable[str] = ()) -> Config:
    """The configuration in `text` (TOML), with the tables of `page` (TOML, too) in the place of
    its own, and `section.key=value` overrides laid over both.

    The value of an override is written as in TOML; what is not TOML is taken as a string.
    What the box falls back to is in its `network`, too, where that leaves room for it.
    Raises ConfigError with a sentence that names the place.
    """
    try:
        config = msgspec.convert(tables(text, page=page, overrides=overrides), Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the configuration is refused: {error}") from error
    return _with_fallback(config) if config.fallback else config


def _with_fallback(config: Config) -> Config:
    """What was set on an interface goes before what the box falls back to: it is no mistake of
    whoever sets something that the box has fallen back to that very network before."""
    kept: dict[InterfaceName, Network] = {}
    for name, network in config.fallback.items():
        others = (*config.network.values(), *kept.values())
        if name not in config.network and not any(_overlap(network, other) for other in others):
            kept[name] = network
    return replace(config, network={**config.network, **kept}, fallback=kept)


def _overlap(one: Network, other: Network) -> bool:
    return bool(one.at and other.at and one.at.network.overlaps(other.at.network))


def tables(text: str, *, page: str = "", overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The tables that `parse` makes a configuration of, which may yet be refused; what is not in
    them has its default. Raises ConfigError where `text` or `page` is not TOML."""
    tree = _tree(text)
    tree.update(_tree(page))
    for override in overrides:
        _lay_over(tree, override)
    return tree


def _tree(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the configuration is not TOML: {error}") from error


def _lay_over(tree: dict[str, Any], override: str) -> None:
    match = re.fullmatch(
        rf"\s*([a-z_][a-z0-9_]*)\.(?:(?<=\bnetwork\.)({_INTERFACE})\.)?([a-z_][a-z0-9_]*)\s*=(.*)",
        override,
        re.DOTALL,
    )
    if match is None:
        raise ConfigError(f"--set takes section.key=value, not {override!r}")
    section, interface, key, text = match[1], match[2], match[3], match[4].strip()
    value: Any = text
    with suppress(ValueError, RecursionError):
        alone = tomllib.loads(f"value = {text}")
        if alone.keys() == {"value"}:
            value = alone["value"]
    table = tree
    for name in filter(None, (section, interface)):
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ConfigError(f"the configuration is refused: $.{section} is not a table")
    table[key] = value
