"""Checks of what the box serves, asked as a client asks."""

from collections.abc import Collection, Mapping

from lanjami.doctor.finding import Finding, fault, note, skipped, well
from lanjami.lan import Ip
from lanjami.network.dns_wire import Answer
from lanjami.status.snapshot import Snapshot

JAMIS_NAMES = ("bootstrap.jami.net", "dhtproxy.jami.net", "turn.jami.net")

# A place that was asked, such as "10.0.0.5:4222", and what was wrong; empty where nothing was.
Asked = Mapping[str, str]

_SEE_STATUS = "see `lanjami status`, and the finding `firewall`"


def running(snapshot: Snapshot | None, told: str = "") -> Finding:
    """`told` is why a box that runs could not be asked."""
    if snapshot is not None:
        return well("running", f"lanjami {snapshot.version}")
    return fault(
        "running",
        told or "lanjami does not run as this user or as the system service",
        "start it: `lanjami up`, or `sudo systemctl start lanjami`; what else is checked here "
        "says what could keep it from starting",
    )


def services(snapshot: Snapshot) -> Finding:
    worse = {
        n: s.reason or s.state for n, s in snapshot.services.items() if _is_worse(s.state, s.reason)
    }
    if worse:
        return fault(
            "services",
            "; ".join(f"{name}: {why}" for name, why in worse.items()),
            "the reason says what to do; what is down is tried again by itself",
        )
    return well("services", f"{len(snapshot.services)} are up")


def _is_worse(state: str, reason: str) -> bool:
    return state != "up" or bool(reason)


def dht(engine: str, asked: Asked) -> Finding:
    name = f"dht-{engine}"
    return _asked(
        name,
        asked,
        well_meaning="a value was put and came back at",
        fault_meaning="no value could be put and got back",
        advice=f"clients at that address cannot meet; {_SEE_STATUS}",
    )


def names(asked: Asked) -> Finding:
    return _asked(
        "names",
        asked,
        well_meaning="names are looked up at",
        fault_meaning="no name could be looked up",
        advice=f"nobody there finds others by name; {_SEE_STATUS}",
    )


def proxy(asked: Asked) -> Finding:
    return _asked(
        "proxy",
        asked,
        well_meaning="the DHT proxy answers at",
        fault_meaning="the DHT proxy does not answer",
        advice=f"phones there stay offline; {_SEE_STATUS}",
    )


def mdns(snapshot: Snapshot, answers: Mapping[str, Collection[Ip]], own: Collection[Ip]) -> Finding:
    """`answers` has by interface the addresses that the box's name was said to have."""
    host = snapshot.host
    if not host:
        service = snapshot.services.get("mdns")
        why = (service.reason if service else "") or "it is still looking for a free one"
        return fault(
            "mdns",
            f"the box has no name: {why}",
            "people write its address in place of the name; where others have all names, set "
            "mdns.host to another",
        )
    silent = [name for name, found in answers.items() if not set(found) & set(own)]
    if silent:
        return fault(
            "mdns",
            f"nobody says where {host} is on {', '.join(silent)}",
            "people there write the address in place of the name; look for a firewall that drops "
            "UDP 5353 or 224.0.0.251",
        )
    if not answers:
        return skipped("mdns", "there is no LAN to try it on")
    return well("mdns", f"{host} is answered on {', '.join(answers)}")


def turn(snapshot: Snapshot, asked: Asked) -> Finding:
    service = snapshot.services.get("turn")
    if snapshot.turn is None:
        why = "it is switched off" if service is None else service.detail or service.state
        return skipped("turn", f"no relay is served ({why})", "docs/turn.md says how")
    return _asked(
        "turn",
        asked,
        well_meaning="a relay was given and taken back at",
        fault_meaning="no relay is given",
        advice="clients that cannot reach each other cannot call; see `lanjami status`; where the "
        "user `ring` was removed, this is as it should be",
    )


def jami_dns(
    answers: Mapping[str, Mapping[str, Answer | None]], own: Collection[Ip], *, policy: str
) -> Finding:
    """Whether clients that ask the box find it under Jami's own names: by its address that was
    asked, what it says of each name."""
    name = "jami-dns"
    if not answers:
        return note(
            name,
            "the box is no DNS server here, and asks no other, which would ask the Internet: "
            "clients find it by discovery or a typed address",
            "to spare people the settings, docs/network.md",
        )
    wrong = [
        f"{asked} at {server}"
        for server, found in answers.items()
        for asked, answer in found.items()
        if answer is None or not set(answer.addresses) & set(own)
    ]
    if wrong and policy == "offline":
        return note(name, f"left to the Internet while that answers: {', '.join(wrong)}")
    if wrong:
        return fault(
            name,
            f"the box is not named for {', '.join(wrong)}: clients without settings do not find it",
            "see `lanjami status` for network-…; look for another program on port 53",
        )
    return well(name, f"Jami's names lead to the box, says {', '.join(answers)}")


def _asked(
    name: str, asked: Asked, *, well_meaning: str, fault_meaning: str, advice: str
) -> Finding:
    wrong = {place: why for place, why in asked.items() if why}
    if wrong:
        told = "; ".join(f"{place}: {why}" for place, why in wrong.items())
        return fault(name, f"{fault_meaning} ({told})", advice)
    if not asked:
        return skipped(name, "the box has no address to be asked at")
    return well(name, f"{well_meaning} {', '.join(asked)}")
