"""The service that sees whether the names of the Internet can be had."""

import asyncio
from ipaddress import ip_address
from typing import Literal

from lanjami.network import dns_wire, outlook, probes
from lanjami.network.outlook import Outlook
from lanjami.runtime import log
from lanjami.runtime.service import Ready

_log = log.get(__name__)

CHECK_EVERY_S = 5.0
ASKED = "bootstrap.jami.net"  # short-lived in caches, so that an answer comes from the Internet


class OutlookWatch:
    """Asks the `upstream` DNS servers, in this order, and decides by the `policy` whose Jami's
    own names are."""

    name = "upstream"

    def __init__(self, *, upstream: tuple[str, ...], policy: Literal["always", "offline"]) -> None:
        self._upstream = upstream
        self._policy = policy
        self._outlook: Outlook | None = None

    def outlook(self) -> Outlook | None:
        """How it is; None until the first answer, or that there is none."""
        return self._outlook

    async def run(self, ready: Ready) -> None:
        while True:
            found = await self._first_to_answer()
            before = self._outlook
            if before is None:  # when the service is restarted, what was decided stays
                self._outlook = outlook.at_start(self._policy, found)
            elif found is None:
                self._outlook = outlook.unanswered(before)
            else:
                self._outlook = outlook.answered(before, found)
            ready(_told(self._outlook))
            await asyncio.sleep(CHECK_EVERY_S)

    async def _first_to_answer(self) -> str | None:
        for server in self._upstream:
            answer = await probes.name(ip_address(server), ASKED, tries=2)
            if answer is not None and answer.code in (dns_wire.NO_ERROR, dns_wire.NXDOMAIN):
                return server
        return None


def _told(now: Outlook) -> str:
    whose = "" if now.jami_is_ours else ", Jami's own among them"
    if now.upstream is None:
        return "no upstream answers: there are no other names than the box's"
    return f"{now.upstream} answers for other names{whose}"
