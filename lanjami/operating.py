"""The operator's part, put together: what the pages may ask of the box, and how they are served."""

import os
import signal
from collections.abc import Callable, Collection
from functools import partial
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import lanjami
from lanjami import ending, lan, layout
from lanjami.box import disks, updating, upload
from lanjami.box.upload import Upload
from lanjami.config import Config, Sources
from lanjami.errors import HostError
from lanjami.lan import Interface, Ip
from lanjami.nameserver.desk import Desk
from lanjami.nameserver.registry import Registry
from lanjami.runtime import disk, httpd, log, net, privileges
from lanjami.runtime.supervisor import Supervisor
from lanjami.status.operator import local_api
from lanjami.status.operator.box import Box, End
from lanjami.status.operator.desk_api import DeskApi, Download
from lanjami.status.operator.gate_api import Gate
from lanjami.status.operator.passwords import Passwords
from lanjami.status.operator.settings import Lans
from lanjami.status.operator.update_api import UpdateApi
from lanjami.status.snapshot import Snapshot

_log = log.get(__name__)

_RIGHTS = ("CAP_NET_ADMIN", "CAP_NET_RAW")  # of who serves a network


class Operating:
    """`end` is how the operator wants lanjami to end, None where they do not; `memory` is to listen
    to the log."""

    def __init__(
        self,
        *,
        config: Config,
        sources: Sources,
        state: Path,
        registry: Registry,
        snapshot: Callable[[], Snapshot],
        host: Callable[[], str | None],
        http: Callable[[], httpd.HttpServer],
        supervisor: Callable[[], Supervisor],
        backup: Download,
    ) -> None:
        self.end: End | None = None
        self.memory = log.Memory()
        self._config = config
        self._host = host
        self._http = http
        self._snapshot = snapshot
        self._kept = state / layout.PAGE_SETTINGS
        updates = _updates(state)
        box = Box(
            snapshot=snapshot,
            host_names=self._host_names,
            addresses=_addresses,
            names=Desk(registry),
            log=self.memory.lines,
            restart=lambda name: supervisor().restart(name),
            sources=sources,
            keep_settings=partial(keep_settings, self._kept),
            kept_settings=partial(kept_settings, self._kept),
            interfaces=self._interfaces,
            radios=net.radios,
            has_rights=lambda: not privileges.missing(_RIGHTS),
            ends=ending.possible(),
            end=self._end,
            updates=updates,
        )
        gate = Gate(box, Passwords(state / layout.OPERATOR))
        desk = DeskApi(box, gate, backup=backup)
        update = (
            []
            if updates is None
            else [UpdateApi(updates, gate, version=lanjami.__version__, piece=upload.PIECE)]
        )
        self.routes: httpd.Routes = lambda: [
            *gate.routes(),
            *desk.routes(),
            *(route for api in update for route in api.routes()),
        ]
        self.local_routes: httpd.Routes = lambda: local_api.routes(gate, self._urls)

    def _urls(self) -> list[str]:
        """Where the page is, on this machine last. Raises HostError while it is nowhere."""
        port = self._http().port()
        if port is None:
            raise HostError("the HTTP server is not up")
        hosts = [*self._snapshot().addresses, "localhost"]
        return [lan.http_url(host, port) for host in hosts]

    def _host_names(self) -> Collection[str]:
        names = {self._host() or "", "lanjami.lan" if self._config.serving("dns") else ""}
        return names - {""}

    def _interfaces(self) -> Lans:
        ignored = self._config.discovery.ignored_interfaces
        names = [name for name in net.names() if name != "lo" and not lan.is_ignored(name, ignored)]
        found = {interface.name: interface for interface in net.interfaces(ignored=())}
        return {name: _networks(found.get(name)) for name in names}

    def _end(self, end: End) -> None:
        if end is End.POWER_OFF:
            try:
                ending.power_off()
            except OSError as error:
                _log.error("the machine cannot be shut down", reason=error)
            return
        self.end = end
        os.kill(os.getpid(), signal.SIGTERM)  # one way to end, whoever wants it


def kept_settings(path: Path) -> str:
    """What was set on the page; "" where nothing was, or nobody can read it."""
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def keep_settings(path: Path, text: str) -> None:
    """Keep what was set on the page, "" for nothing. Raises HostError where the disk refuses."""
    if text:
        disk.write_atomically(path, text.encode())
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise HostError(f"{path} cannot be removed: {error.strerror}") from error


def _updates(state: Path) -> Upload | None:
    """On a box that started from our image, which can update itself."""
    if disks.running() is None:
        return None

    def examine(file: Path) -> None:
        updating.examine(file, key=updating.read_key(), version=lanjami.__version__)

    return Upload(state, examine=examine, standing=updating.standing)


def _networks(interface: Interface | None) -> list[IPv4Network]:
    """That an interface is in; of one that serves no LAN now, none."""
    if interface is None:
        return []
    ats = [address.at for address in interface.addresses]
    return [at.network for at in ats if isinstance(at, IPv4Interface)]


def _addresses() -> Collection[Ip]:
    return [address.ip for address in net.addresses()]
