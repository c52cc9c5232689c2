"""Every setting that is in force, and where it comes from."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from lanjami import config

Origin = Literal["default", "file", "page", "--set"]


class Setting(msgspec.Struct, frozen=True):
    """The value, as JSON has it, of a key in a table, such as `("network", "eth0")`."""

    table: tuple[str, ...]
    key: str
    value: Any
    origin: Origin


def settings(sources: config.Sources) -> list[Setting]:
    """Those of the configuration that is made of `sources`, in the order of the shipped file.

    Raises ConfigError as `Sources.parse` does.
    """
    found = sources.parse()
    in_force = msgspec.to_builtins(replace(found, network=found.chosen))
    on_page = config.tables(sources.page)
    in_file = {
        section: members
        for section, members in config.tables(sources.file).items()
        if section not in on_page  # which takes the place of the whole table
    }
    origins: Mapping[Origin, Mapping[str, Any]] = {
        "--set": config.tables("", overrides=sources.overrides),
        "page": on_page,
        "file": in_file,
    }
    return [
        Setting(table, key, value, _origin(table, key, origins))
        for table, members in _tables(in_force)
        for key, value in members.items()
    ]


def as_toml(found: Iterable[Setting], *, file: str) -> str:
    """A configuration that means the same, each line with where it comes from; `file` is how a
    person is told of the file."""
    lines: list[str] = []
    for table, members in groupby(found, key=lambda setting: setting.table):
        lines += ["", f"[{'.'.join(map(_key, table))}]"]
        lines += (_line(setting, file) for setting in members)
    return "\n".join(lines[1:])


def _line(setting: Setting, file: str) -> str:
    origin = {"file": file, "page": "the page for the operator"}.get(setting.origin, setting.origin)
    return f"{setting.key} = {_as_toml(setting.value)}  # {_legible(origin)}"


def _key(name: str) -> str:
    return f'"{name}"' if "." in name else name


def _tables(
    tree: Mapping[str, Any], name: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """The tables of a tree, each with its own keys, before those that are in it."""
    own = {key: value for key, value in tree.items() if not isinstance(value, dict)}
    if own:
        yield name, own
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _tables(value, (*name, key))


def _origin(
    table: tuple[str, ...], key: str, origins: Mapping[Origin, Mapping[str, Any]]
) -> Origin:
    return next((one for one, tree in origins.items() if _has(tree, table, key)), "default")


def _has(tree: Mapping[str, Any], table: tuple[str, ...], key: str) -> bool:
    for name in table:
        tree = tree.get(name, {})
    return key in tree


def _as_toml(value: Any) -> str:
    """Strings, numbers and lists of JSON are TOML, too, but for characters that speak to a
    terminal."""
    if isinstance(value, list):
        return f"[{', '.join(map(_as_toml, value))}]"
    return _legible(json.dumps(value, ensure_ascii=False))


def _legible(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
