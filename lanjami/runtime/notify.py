"""Tells systemd how we are (sd_notify(3)): with its own library where it is installed, else with
the plain datagram that the library sends."""

import os
import socket

try:
    from systemd.daemon import notify as _systemd_notify
except ImportError:
    _systemd_notify = None


def systemd_listens() -> bool:
    """Whether systemd started us and wants to be told."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(*states: str) -> None:
    """Send states such as "READY=1"; does nothing where systemd did not start us."""
    if not systemd_listens():
        return
    address = os.environ["NOTIFY_SOCKET"]
    message = "\n".join(states)
    if _systemd_notify is not None:
        _systemd_notify(message)
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        # a leading @ stands for the abstract namespace
        out.sendto(message.encode(), "\0" + address[1:] if address[0] == "@" else address)


def watchdog_interval_s() -> float | None:
    """How often systemd wants to hear WATCHDOG=1, halved as it recommends; None for never."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    watched = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdigit() or watched != str(os.getpid()):
        return None
    return int(microseconds) / 2e6
