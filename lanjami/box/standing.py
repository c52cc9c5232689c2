"""How an update stands, as it is told to who looks at the page."""

from typing import Literal

import msgspec

from lanjami.errors import HostError

# What is wrong with an update; the catalogues of the page have a sentence for each.
Fault = Literal[
    "other",  # no update of lanjami
    "signature",
    "kind",  # of a version to come
    "machine",
    "old",
    "room",  # a slot is too small
    "before",  # it did not pass its test here before
    "damaged",
    "card",  # does not keep what is written
    "busy",  # with another update
    "disk",  # is full
    "lost",  # what was sent before is not there any longer
    "failed",  # the machine; the reason says how
]
State = Literal[
    "none", "waiting", "writing", "reading", "starting", "tried", "kept", "back", "refused"
]


class UpdateError(HostError):
    """An update that is refused: `fault` is why, in a word for catalogues."""

    def __init__(self, fault: Fault, sentence: str) -> None:
        super().__init__(sentence)
        self.fault: Fault = fault


class Standing(msgspec.Struct, frozen=True):
    """An update to `version`: it is `waiting` to be looked at, `writing` to the card, `reading`
    back (`done` of `total` bytes), `starting`, or being `tried`; or the last one was `kept`, taken
    `back`, or `refused` by a `fault`, of which `reason` is a sentence."""

    state: State = "none"
    version: str = ""
    done: int = 0
    total: int = 0
    fault: Fault = "failed"
    reason: str = ""

    @property
    def is_moving(self) -> bool:
        """Whether it will be another one by itself."""
        return self.state in ("waiting", "writing", "reading", "starting", "tried")


def refused(error: HostError) -> Standing:
    fault = error.fault if isinstance(error, UpdateError) else "failed"
    return Standing("refused", fault=fault, reason=str(error))
