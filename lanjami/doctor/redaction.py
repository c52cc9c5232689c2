"""What of a box may be shown to a stranger who helps: no name, ID, passphrase, key or password."""

import re
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from lanjami.config import Config
from lanjami.doctor.finding import Finding
from lanjami.status.snapshot import Snapshot

HIDDEN = "(hidden)"

# Settings that say nothing of people; all others are left out of the report.
_SHOWN = {
    "dht": ("port", "routed", "engines"),
    "http": ("ports",),
    "proxy": ("default_ports",),
    "discovery": ("interval_s", "ignored_interfaces"),
    "dns": ("jami", "upstream", "connectivity_checks"),
    "ntp": ("servers",),
    "wifi": ("interface", "country", "channel"),
    "turn": (
        *("serve", "port", "tls_port", "relay_ports", "sessions", "session_bytes_per_s", "guarded"),
    ),
    "status": ("people",),
    "metrics": ("networks",),
    "box": ("address", "router", "fallback"),
}

# The fields of log lines that say nothing of people. What foreign programs say is not among them.
_FIELDS = frozenset(
    {"service", "version", "state", "interface", "port", "reason", "detail", "signal", "after_s"}
)

_FIELD = re.compile(r"(?<!\S)([a-z_]+)=('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S+)")
_EXCEPTION = re.compile(r"([A-Za-z_.]*(?:Error|Exception|Warning)): .*")  # ends a traceback
_PATTERNS = (
    re.compile(r"\b[0-9a-fA-F]{16,}\b"),  # IDs, keys, tokens
    re.compile(r"\b(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}\b"),  # hardware addresses
    re.compile(r"\b[A-Za-z0-9+/]{32,}={0,2}"),  # keys in Base64
    re.compile(r"/(?:home|Users)/[^/\s\"']+"),
)
# Who has a port (runtime/net.py, Holder): what is said to a program may be a secret.
_ARGUMENTS = re.compile(
    r"((?:UDP|TCP) (?:port )?\d+ (?:is taken )?by \S+) "
    r"(?:(?!; (?:UDP|TCP) \d+ by )[\s\S])+? (\(process \d+\))"
)
_OURS = re.compile(r"lanjami(-\d+)?|localhost")  # names that nobody gave


def redact(text: str, *, secrets: Iterable[str] = ()) -> str:
    """A text without what looks like an ID, key or hardware address, and without `secrets`."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        if _OURS.fullmatch(secret):
            continue
        text = re.sub(rf"(?<![\w-]){re.escape(secret)}(?![\w-])", HIDDEN, text)
    for pattern in _PATTERNS:
        text = pattern.sub(HIDDEN, text)
    return _ARGUMENTS.sub(rf"\1 {HIDDEN} \2", text)


def findings(found: Iterable[Finding], *, secrets: Collection[str] = ()) -> list[Finding]:
    """What the doctor found, whose names are ours and not people's."""
    return [
        msgspec.structs.replace(
            each,
            meaning=redact(each.meaning, secrets=secrets),
            advice=redact(each.advice, secrets=secrets),
        )
        for each in found
    ]


def log_line(line: str, *, secrets: Iterable[str] = ()) -> str:
    """A line of the log: its event, and the fields that say nothing of people."""

    def shown(field: re.Match[str]) -> str:
        return field[0] if field[1] in _FIELDS else f"{field[1]}={HIDDEN}"

    line = _EXCEPTION.sub(rf"\1: {HIDDEN}", line)
    return redact(_FIELD.sub(shown, line), secrets=secrets)


def secrets_of(config: Config, *, host: str = "") -> list[str]:
    """What the configuration has of secrets, and of names that people gave; `host` is the name
    that the box has now, such as "alices-box-2.local"."""
    return [
        config.wifi.passphrase,
        config.wifi.ssid,
        config.box.wifi.passphrase,
        config.box.wifi.ssid,
        config.turn.certificate,
        config.turn.key,
        *([config.turn.realm] if config.turn.realm != "ring" else []),
        config.mdns.host,
        host.removesuffix(".local"),
    ]


def settings(config: Config) -> dict[str, Any]:
    """The settings that may be shown, and of others whether there are any."""
    every = msgspec.to_builtins(config)
    found: dict[str, Any] = {
        section: {name: every[section][name] for name in names} for section, names in _SHOWN.items()
    }
    found["network"] = every["network"]
    found["wifi"]["passphrase"] = HIDDEN if config.wifi.passphrase else ""
    found["turn"]["certificate"] = HIDDEN if config.turn.certificate else ""
    return found


def status(snapshot: Snapshot, *, secrets: Collection[str] = ()) -> dict[str, Any]:
    """The status without who is here."""
    found: dict[str, Any] = msgspec.to_builtins(snapshot)
    for member in ("host", "name_server"):
        found[member] = redact(found[member], secrets=secrets)
    found["dht"]["node_id"] = HIDDEN
    for node in found["dht"]["nodes"]:
        node["node_id"] = HIDDEN
    people = [each["kind"] for each in found["discovery"]["neighbours"]]
    found["discovery"]["neighbours"] = {kind: people.count(kind) for kind in sorted(set(people))}
    for service in found["services"].values():
        for member in ("detail", "reason"):
            service[member] = redact(service[member], secrets=secrets)
    return found
