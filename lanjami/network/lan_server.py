"""The service that is the network on one interface: DNS, DHCP and IPv6, by dnsmasq.

It looks every second at what there is, makes a plan of it, and starts dnsmasq anew where the plan
is another than before.
"""

import asyncio
import grp
import os
import pwd
import random
import re
import signal
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from pathlib import Path

from lanjami.config import Network
from lanjami.errors import HostError
from lanjami.lan import Interface
from lanjami.network import addresses, dnsmasq_conf, guard, plan, probes
from lanjami.network.guard import Guard
from lanjami.network.outlook import Outlook
from lanjami.network.plan import Plan
from lanjami.runtime import disk, log, net, privileges, process
from lanjami.runtime.patience import Patience
from lanjami.runtime.service import Ready, together, until

_log = log.get(__name__)

LOOK_EVERY_S = 1.0
CHECK_EVERY_S = 5.0
EQUIP_EVERY_S = 10.0
STARTS_WITHIN_TRIES = 15  # of a second each; a small board is slow
ANSWERS_WITHIN_TRIES = 5
PATIENCE_S = 10.0  # after a start, until it is said that there is nothing to serve
MISSED_MOST = 1  # question for an address that dnsmasq may leave without an answer

RIGHTS = {  # that dnsmasq needs for each
    "dns": ("CAP_NET_BIND_SERVICE",),
    "dhcp": ("CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN", "CAP_NET_RAW"),
    "ra": ("CAP_NET_ADMIN", "CAP_NET_RAW"),
    "ntp": (),
}
_STARTED_S = 2.0  # until dnsmasq surely answers

_dice = random.SystemRandom()

# What dnsmasq says at each of its starts.
_ROUTINE = re.compile(
    "started, version|compile time options|more local addresses|no upstream servers configured"
    "|using only locally-known|using nameserver|cleared cache|DHCP, IP range|DHCP, sockets bound"
    "|outer advertisement|exiting on receipt of SIGTERM"
)


class LanServer:
    """Serves what `network` says on the LAN of `interface`.

    `lan` tells the interfaces that are up, `outlook` whose the names are; `state` is a folder.
    `is_passing` says that it does so only until a router comes.
    """

    def __init__(
        self,
        interface: str,
        network: Network,
        *,
        state: Path,
        lan: Callable[[], tuple[Interface, ...]],
        outlook: Callable[[], Outlook | None],
        connectivity_checks: bool,
        is_passing: bool = False,
    ) -> None:
        self.name = f"network-{interface}"
        self._interface = interface
        self._network = network
        self._state = self._folder = state
        self._lan = lan
        self._outlook = outlook
        self._connectivity_checks = connectivity_checks
        self._is_passing = is_passing
        self._guard: Guard | None = None
        self._serves_dhcp_since: float | None = None

    async def run(self, ready: Ready) -> None:
        program = await asyncio.to_thread(process.installed, "dnsmasq", package="dnsmasq-base")
        rights = {right for what in self._network.serve for right in RIGHTS[what]}
        what = f"serving {', '.join(self._network.serve)} on {self._interface}"
        await asyncio.to_thread(privileges.require, sorted(rights), what=what)
        self._guard = None
        async with process.workplace(self._state) as self._folder:
            site = await asyncio.to_thread(addresses.site, self._path("ipv6-site"))
            parts = [self._serve(program, plan.ula_of(site), ready)]
            if "dhcp" in self._network.serve:
                parts.append(self._look_for_others())
            await together(*parts)

    async def _serve(self, program: str, ula: IPv6Interface, ready: Ready) -> None:
        """Run dnsmasq by the plan of the moment, whenever there is one."""
        loop = asyncio.get_running_loop()
        equip_at = loop.time()
        patient_until = equip_at + PATIENCE_S
        while True:
            now = self._plan(ula)
            if loop.time() >= equip_at and self._lacks_addresses(now, ula):
                await self._equip(ula)
                equip_at = loop.time() + EQUIP_EVERY_S
                continue
            if isinstance(now, Plan):
                await self._run_by(now, program, ula, ready)
            else:
                if loop.time() >= patient_until:
                    ready("waits", reason=now)
                await asyncio.sleep(LOOK_EVERY_S)

    async def _run_by(self, now: Plan, program: str, ula: IPv6Interface, ready: Ready) -> None:
        """Run dnsmasq until the plan is another."""
        file = self._path("conf")
        user = pwd.getpwuid(os.geteuid()).pw_name
        text = dnsmasq_conf.render(
            now,
            leases=None if self._is_passing else str(self._path("leases")),
            user=user,
            group=grp.getgrgid(os.getegid()).gr_name,
        )
        await asyncio.to_thread(disk.write_atomically, file, text.encode())
        try:
            async with process.child(
                "dnsmasq",
                process.tethered([program, "-C", str(file)], keeps_rights=True),
                environment=process.python_environment(),
                ends_by=signal.SIGTERM,
            ) as child:
                if "dhcp" in now.serves:
                    self._serves_dhcp_since = asyncio.get_running_loop().time()
                await until(self._check(now, ula, ready), child.watch(routine=_ROUTINE))
                await child.stop(within_s=process.STOP_S)
        finally:
            self._serves_dhcp_since = None

    async def _check(self, now: Plan, ula: IPv6Interface, ready: Ready) -> None:
        """See whether dnsmasq works, until it should do something else."""
        loop = asyncio.get_running_loop()
        check_at = loop.time()
        patience, tries = Patience("dnsmasq"), STARTS_WITHIN_TRIES
        while self._plan(ula) == now:
            if loop.time() >= check_at:
                late = ""
                if "dns" in now.serves:
                    late = patience.checked(
                        passed=await _answers(now, tries=tries),
                        missed="it answers no question for a name",
                    )
                    tries = ANSWERS_WITHIN_TRIES
                if self._guard is not None and self._guard.missed > MISSED_MOST:
                    raise HostError("dnsmasq hangs: nobody who asks for an address is offered one")
                routes = await asyncio.to_thread(net.routes_packets)
                reasons = "; ".join(filter(None, [*now.reasons, late]))
                ready(_told(now, routes=routes), reason=reasons, proved=not late)
                check_at = loop.time() + CHECK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look_for_others(self) -> None:
        """Ask for an address every now and then: whoever else offers one keeps us from it."""
        loop = asyncio.get_running_loop()
        while True:
            if self._found() is None:
                self._guard = None  # on its return it may be another LAN
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            asked_at, since = loop.time(), self._serves_dhcp_since
            found = await probes.offers(self._interface)
            ran = since is not None and since + _STARTED_S < asked_at
            before = self._guard or Guard()
            self._guard = before.after(
                found, own=self._own(), serving=ran and since == self._serves_dhcp_since
            )
            if self._guard.allows and not before.allows:
                _log.info("the other DHCP server is gone", interface=self._interface)
            for _ in range(round(_dice.uniform(*guard.EVERY_S) / LOOK_EVERY_S)):
                if self._found() is not None:
                    await asyncio.sleep(LOOK_EVERY_S)

    def _plan(self, ula: IPv6Interface) -> Plan | str:
        """What to do now, or why nothing."""
        found, outlook = self._found(), self._outlook()
        if found is None:
            return f"{self._interface} is not there, or not connected"
        if outlook is None:
            return "the upstream DNS server is being asked"
        if self._network.at not in (None, *(a.at for a in found.addresses)):
            return f"{self._interface} does not have its address {self._network.at} yet"
        wanted = set(self._network.serve)
        if self._guard is None:
            wanted.discard("dhcp")  # until it is known who else does
        made = plan.make(
            found,
            wanted,
            v4=self._network.at,
            ula=ula,
            foreign=None if self._guard is None else self._guard.foreign,
            outlook=outlook,
            connectivity_checks=self._connectivity_checks,
        )
        return made if made.addresses else f"{self._interface} has no address yet"

    def _found(self) -> Interface | None:
        return next((i for i in self._lan() if i.name == self._interface), None)

    def _own(self) -> list[IPv4Address]:
        addresses = (address.ip for interface in self._lan() for address in interface.addresses)
        return [ip for ip in addresses if isinstance(ip, IPv4Address)]

    def _lacks_addresses(self, now: Plan | str, ula: IPv6Interface) -> bool:
        if isinstance(now, Plan) and ("ra" not in self._network.serve or now.v6 == ula):
            return False
        return net.exists(self._interface)

    async def _equip(self, ula: IPv6Interface) -> None:
        """Give the interface the addresses that it is to have."""
        wanted: list[IPv4Interface | IPv6Interface] = []
        if self._network.at is not None:
            wanted.append(self._network.at)
        if "ra" in self._network.serve and await asyncio.to_thread(
            net.speaks_ipv6, self._interface
        ):
            wanted.append(ula)
        if wanted:
            await addresses.add(self._interface, wanted)

    def _path(self, what: str) -> Path:
        return self._folder / f"{self._interface}.{what}"


async def _answers(now: Plan, *, tries: int) -> bool:
    """Whether dnsmasq tells the box's own address; HostError where somebody tells another."""
    answer = await probes.name(now.addresses[0], dnsmasq_conf.BOX_NAME, tries=tries)
    if answer is not None and now.v4 is not None and answer.addresses != (now.v4.ip,):
        raise HostError(f"another DNS server than ours answers at {now.v4.ip}")
    return answer is not None


def _told(now: Plan, *, routes: bool) -> str:
    parts = [str(now.addresses[0])]
    parts += [what for what in ("dns", "ra") if what in now.serves]
    if now.pool is not None:
        parts.append(f"dhcp {now.pool.first} to {now.pool.last}")
    if routes:
        parts.append("this machine routes between its networks")
    return ", ".join(parts)
