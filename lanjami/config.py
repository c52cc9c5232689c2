"""Every setting of lanjami, read from TOML into a type that cannot be wrong."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from lanjami.errors import ConfigError
from lanjami.nameserver.names import RESERVED

LAST_PORT = 65535
Port = Annotated[int, Meta(ge=1, le=LAST_PORT)]
Engine = Literal["opendht", "python"]


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


class Status(Section, frozen=True):
    people: bool = True


class Config(Section, frozen=True):
    dht: Dht = Dht()
    http: Http = Http()
    proxy: Proxy = Proxy()
    discovery: Discovery = Discovery()
    mdns: Mdns = Mdns()
    names: Names = Names()
    status: Status = Status()


def parse(text: str, *, overrides: Iterable[str] = ()) -> Config:
    """The configuration in `text` (TOML), with `section.key=value` overrides laid over it.

    The value of an override is written as in TOML; what is not TOML is taken as a string.
    Raises ConfigError with a sentence that names the place.
    """
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the configuration is not TOML: {error}") from error
    for override in overrides:
        _lay_over(tree, override)
    try:
        return msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the configuration is refused: {error}") from error


def _lay_over(tree: dict[str, Any], override: str) -> None:
    match = re.fullmatch(r"\s*([a-z_][a-z0-9_]*)\.([a-z_][a-z0-9_]*)\s*=(.*)", override, re.DOTALL)
    if match is None:
        raise ConfigError(f"--set takes section.key=value, not {override!r}")
    section, key, text = match[1], match[2], match[3].strip()
    value: Any = text
    with suppress(ValueError, RecursionError):
        alone = tomllib.loads(f"value = {text}")
        if alone.keys() == {"value"}:
            value = alone["value"]
    table = tree.setdefault(section, {})
    if not isinstance(table, dict):
        raise ConfigError(f"the configuration is refused: $.{section} is not a table")
    table[key] = value
