"""What is in nftables now, by `nft --json list ruleset` (libnftables-json(5))."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from lanjami.errors import HostError
from lanjami.firewall.rules import MARK, Chain

_FAMILIES = frozenset({"inet", "ip", "ip6"})
_FINAL = frozenset({"drop", "reject"})


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of ours in a chain, by its handle."""

    chain: Chain
    handle: int


def dropping(listing: str) -> list[Chain]:
    """The chains that refuse what comes in and that none of their rules accepts: by their policy,
    or by a last rule without a condition.

    Whoever accepts elsewhere does not undo that: each such chain has to accept by itself.
    """
    every = list(objects(listing))
    last = {_chain_of(rule): rule for kind, rule in every if kind == "rule"}
    found = []
    for kind, chain in every:
        if kind != "chain" or chain.get("hook") != "input" or chain.get("type") != "filter":
            continue
        at = Chain(str(chain.get("family")), str(chain.get("table")), str(chain.get("name")))
        if at.family in _FAMILIES and (
            chain.get("policy") == "drop" or _is_final(last.get(at, {}).get("expr"))
        ):
            found.append(at)
    return found


def ours(listing: str) -> list[Rule]:
    """The rules that we put into other tables."""
    return [
        Rule(_chain_of(rule), rule["handle"])
        for kind, rule in objects(listing)
        if kind == "rule"
        and isinstance(rule.get("handle"), int)
        and str(rule.get("comment", "")).startswith(f"{MARK} ")
    ]


def objects(listing: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is listed, each with its kind, such as "rule"; HostError where it is no listing."""
    try:
        every = msgspec.json.decode(listing)["nftables"]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise HostError(f"nft lists what is not its JSON: {error}") from error
    for each in every if isinstance(every, list) else ():
        if isinstance(each, dict):
            yield from ((kind, told) for kind, told in each.items() if isinstance(told, dict))


def _chain_of(rule: dict[str, Any]) -> Chain:
    return Chain(str(rule.get("family")), str(rule.get("table")), str(rule.get("chain")))


def _is_final(expressions: object) -> bool:
    """Whether a rule refuses whatever comes to it; counting and logging are no conditions."""
    if not isinstance(expressions, list):
        return False
    kinds = [kind for each in expressions if isinstance(each, dict) for kind in each]
    return bool(kinds) and kinds[-1] in _FINAL and set(kinds[:-1]) <= {"counter", "log", "limit"}
