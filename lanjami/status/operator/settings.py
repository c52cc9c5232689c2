"""What the operator sets on the page: the tables of the networks and of Wi-Fi. Pure.

They are laid over those of the configuration file, which stays as it is.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

from msgspec.structs import replace

from lanjami.config import Config, Network, Served, Sources, Wifi
from lanjami.errors import ConfigError, LanjamiError

GUEST, NETWORK, DNS, KEPT = "guest", "network", "dns", "kept"
_SERVED: dict[str, tuple[Served, ...]] = {NETWORK: ("dns", "dhcp", "ra", "ntp"), DNS: ("dns",)}
_FIRST_OWN = 77  # 10.77.0.1/24, and so on, where the operator leaves the address to us
LONGEST_FIELD = 200  # characters

# The interfaces that there are, and the networks that each is in now.
Lans = Mapping[str, Collection[IPv4Network]]


class FormError(LanjamiError):
    """A form that cannot be taken: `key` is the sentence of the catalogue, for `interface`.
    `detail` is what is told to who reads English, where the catalogue has nothing closer."""

    def __init__(self, key: str, *, interface: str = "", detail: str = "") -> None:
        super().__init__(detail or f"{key} {interface}")
        self.key = key
        self.interface = interface
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Place:
    """An interface as the page shows it: what the box is there, and by which address."""

    interface: str
    role: str
    address: str
    serve: Sequence[str]


def places(config: Config, interfaces: Iterable[str]) -> list[Place]:
    """The interfaces that there are, and those that are only configured."""
    names = sorted({*interfaces, *config.chosen})
    return [_place(name, config.chosen.get(name)) for name in names]


def current(sources: Sources, kept: str) -> Config:
    """The configuration of the next start, where `kept` is what was set on the page; where that
    cannot be taken, the one of this start."""
    try:
        return Sources(sources.file, kept, sources.overrides).parse()
    except ConfigError:
        return sources.parse()


def read_form(form: Mapping[str, str], sources: Sources, kept: str, lans: Lans) -> str:
    """What was set, over what was `kept` before, as TOML that is certain to be taken at the next
    start; raises FormError. Where the address is left to us, it is in none of the `lans` of
    others."""
    config = current(sources, kept)
    _require_printable(form)
    wifi = _wifi(form, config.wifi)
    networks: dict[str, Network] = {}
    for place in places(config, lans):
        network = _network(form, place, config, wifi)
        if network is not None:
            networks[place.interface] = network
    for name, network in networks.items():
        if network.serve == _SERVED[NETWORK] and not network.address:
            address = _own_address(name, networks, config, lans)
            networks[name] = replace(network, address=address)
    text = compose(networks, wifi)
    try:
        Sources(sources.file, text, sources.overrides).parse()
    except ConfigError as error:
        raise FormError("other", detail=str(error)) from error
    return text


def compose(networks: Mapping[str, Network], wifi: Wifi) -> str:
    """The two tables as TOML. What is not said is the default, and not the file's."""
    lines = ["# Set on the status page, and laid over the configuration file.", "[network]"]
    for name, network in sorted(networks.items()):
        lines += ["", f"[network.{_quoted(name)}]"]
        lines += [f"serve = [{', '.join(map(_quoted, network.serve))}]"]
        lines += [f"address = {_quoted(network.address)}"] if network.address else []
    lines += ["", "[wifi]"]
    if wifi.interface:
        for key in ("interface", "ssid", "passphrase", "country"):
            lines.append(f"{key} = {_quoted(getattr(wifi, key))}")
        lines.append(f"channel = {wifi.channel if wifi.channel != 'auto' else _quoted('auto')}")
    return "\n".join(lines) + "\n"


def _place(name: str, network: Network | None) -> Place:
    if network is None:
        return Place(name, GUEST, "", ())
    roles = {frozenset(serve): role for role, serve in _SERVED.items()}
    role = roles.get(frozenset(network.serve), KEPT)
    return Place(name, role, network.address, network.serve)


def _network(
    form: Mapping[str, str],
    place: Place,
    config: Config,
    wifi: Wifi,
) -> Network | None:
    name = place.interface
    role = form.get(f"role.{name}", place.role)
    address = form.get(f"address.{name}", place.address).strip()
    if name == wifi.interface and role == GUEST:
        role = NETWORK  # an access point is a network
    if role == GUEST:
        return None
    before = config.chosen.get(name)
    serve = before.serve if before is not None and role == KEPT else _SERVED.get(role)
    if serve is None:
        raise FormError("other", detail=f"{name} cannot be {role!r}")
    try:
        return Network(serve, address)
    except ValueError as error:
        raise FormError("address", interface=name, detail=str(error)) from error


def _own_address(name: str, networks: Mapping[str, Network], config: Config, lans: Lans) -> str:
    """The one that the box has there by falling back, which people know, else a free one."""
    if name in config.fallback:
        return config.fallback[name].address
    others = (*networks.values(), *config.fallback.values())
    taken = [other.at.network for other in others if other.at]
    for lan, own in lans.items():
        if lan != name or name not in config.network:  # where it is the network, that is its own
            taken += own
    for number in range(_FIRST_OWN, 256):
        address = f"10.{number}.0.1/24"
        if not any(IPv4Interface(address).network.overlaps(network) for network in taken):
            return address
    raise FormError("other", detail="there are too many networks")


def _wifi(form: Mapping[str, str], before: Wifi) -> Wifi:
    interface = form.get("wifi.interface", before.interface)
    if not interface:
        return Wifi()
    passphrase = form.get("wifi.passphrase", "") or before.passphrase
    if "wifi.open" in form:
        passphrase = ""
    elif not passphrase:
        raise FormError("passphrase")
    channel = form.get("wifi.channel", str(before.channel))
    wanted = {
        "interface": interface,
        "ssid": form.get("wifi.ssid", before.ssid).strip(),
        "passphrase": passphrase,
        "country": form.get("wifi.country", before.country).strip().upper(),
    }
    try:
        return Wifi(**wanted, channel="auto" if channel == "auto" else int(channel))
    except ValueError as error:
        known = ("ssid", "passphrase", "country")
        key = next((key for key in known if f"`{key}`" in str(error)), "other")
        raise FormError(key, detail=str(error)) from error


def _require_printable(form: Mapping[str, str]) -> None:
    for value in form.values():
        if len(value) > LONGEST_FIELD or not value.isprintable():
            raise FormError("text")


def _quoted(text: str) -> str:
    """A TOML string; JSON's are among them, but for what is not printable, which never comes."""
    return json.dumps(text, ensure_ascii=False)
