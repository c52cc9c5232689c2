"""Never a second DHCP server on a LAN: who else answers, and when the box may serve."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from lanjami.network.dhcp_wire import Offer

LISTEN_S = 4.0  # Debian's dnsmasq looks for 3 s whether an address is free before it offers it
ASK_AGAIN_S = 1.5
EVERY_S = (20.0, 40.0)  # a random time: of two boxes that both serve, one is the first to notice
GONE_AFTER = 2  # silent rounds


@dataclass(frozen=True, slots=True)
class Guard:
    """What was heard so far. `foreign` is the other server, `silent` how many rounds it has not
    answered, `missed` how many the box's own has not."""

    foreign: IPv4Address | None = None
    silent: int = 0
    missed: int = 0

    @property
    def allows(self) -> bool:
        return self.foreign is None

    def after(
        self, offers: Iterable[Offer], *, own: Collection[IPv4Address], serving: bool
    ) -> "Guard":
        """The guard after a round of listening. `own` are this machine's addresses; `serving`
        says whether its own server ran all the while."""
        servers = {offer.server for offer in offers}
        others = servers.difference(own)
        missed = self.missed + 1 if serving and servers == others else 0
        if others:
            return Guard(foreign=min(others), missed=missed)
        if self.foreign is not None and self.silent + 1 < GONE_AFTER:
            return Guard(self.foreign, self.silent + 1, missed)
        return Guard(missed=missed)
