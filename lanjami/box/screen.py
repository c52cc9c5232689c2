"""What a screen at the box shows: how it is, where it is found, what went wrong."""

import unicodedata
from collections.abc import Sequence

from lanjami.status import page
from lanjami.status.page import Level, Why
from lanjami.status.snapshot import Snapshot

WIDTH, HEIGHT = 80, 24  # of the smallest screen

_WORDS = {
    Level.GOOD: "Jami works here.",
    Level.LIMITED: "Jami works here, with limits.",
    Level.STARTING: "One moment, the box is starting.",
}
_WHY = {
    Why.NO_NETWORK: "No network: plug in a cable. It goes on by itself.",
    Why.NO_BOOTSTRAP: "Jami does not work here right now. The box tries to mend it by itself.",
    Why.NO_ANSWER: "Jami may not work here right now. The box tries to mend it by itself.",
}
NOT_RUNNING = "lanjami does not run."


def render(
    snapshot: Snapshot | None,
    *,
    version: str,
    networks: Sequence[str],
    notices: Sequence[str],
    clock: str,
) -> str:
    """The whole screen. `networks` are the interfaces on which the box is the network because
    nobody else was, `clock` is the time to show."""
    lines = [f"lanjami {version}{clock:>{WIDTH - 8 - len(version)}}", "", _verdict(snapshot), ""]
    if snapshot is not None:
        lines += _found_at(snapshot)
    lines += [f"{name}: nobody gives addresses here, so this box does." for name in networks]
    lines += [f"! {notice}" for notice in notices]
    if snapshot is not None:
        lines += [
            f"! {name}: {service.reason or service.state}"
            for name, service in snapshot.services.items()
            if service.reason or service.state == "down"
        ]
    wrapped = [part for line in lines for part in _wrapped(line)]
    return "\n".join(wrapped[: HEIGHT - 1]) + "\n"


def _verdict(snapshot: Snapshot | None) -> str:
    if snapshot is None:
        return NOT_RUNNING
    if not snapshot.addresses:
        return _WHY[Why.NO_NETWORK]
    verdict = page.verdict(snapshot)
    return _WHY[verdict.why] if verdict.why is not None else _WORDS[verdict.level]


def self_test(snapshot: Snapshot | None, *, version: str, slot: str) -> str:
    """The outcome in a line, for whoever reads the serial console; "" while it is not out."""
    if snapshot is None:
        return ""
    runs = f"lanjami {version} from slot {slot}"
    verdict = page.verdict(snapshot)
    worse = f", with limits: {', '.join(verdict.worse)}" if verdict.worse else ""
    if verdict.level is Level.STARTING:
        return ""
    if not snapshot.addresses:
        return f"lanjami self-test: no network; {runs}"
    if verdict.level is Level.BROKEN:
        return f"lanjami self-test: failed; {runs}{worse}"
    return f"lanjami self-test: passed; {runs} serves at {', '.join(snapshot.addresses)}{worse}"


def _found_at(snapshot: Snapshot) -> list[str]:
    if not snapshot.addresses:
        return []
    lines = []
    if snapshot.name_server:
        other = f"  or  http://{snapshot.host}/" if snapshot.host else ""
        lines.append(f"In a browser:  {snapshot.name_server}/{other}")
    return [*lines, f"Addresses:     {', '.join(snapshot.addresses)}", ""]


def _wrapped(line: str) -> list[str]:
    """On lines of the screen, without what would speak to a terminal."""
    line = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in line)
    return [line[at : at + WIDTH] for at in range(0, len(line), WIDTH)] or [""]
