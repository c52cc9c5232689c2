"""Usernames and Jami IDs."""

import re
from collections.abc import Callable, Iterable
from fnmatch import translate
from typing import NewType

from lanjami.errors import RequestError

Name = NewType("Name", str)  # 3 to 32 of a-z, 0-9, - and _
JamiId = NewType("JamiId", str)  # 40 lower-case hexadecimal digits: SHA-1 of the account's key

# Names that could pass for the box itself or for somebody with rights over it.
RESERVED = (
    *("lanjami*", "jami", "jami-*", "ring", "gnu-jami", "savoirfairelinux"),
    *("admin*", "administrator", "root", "system", "operator", "moderator", "superuser"),
    *("support", "help", "helpdesk", "info", "service", "server", "security", "emergency"),
    *("host", "hostmaster", "postmaster", "webmaster", "router", "gateway", "localhost"),
    *("bootstrap", "nameserver", "dhtproxy", "turn", "everyone", "all", "null", "none"),
)

_NAME = re.compile(r"[a-z0-9_-]{3,32}")
_ID = re.compile(r"[0-9a-f]{40}")


def parse_name(text: str) -> Name:
    """The name in `text`, in any case. Raises RequestError (400) for what cannot be a name.

    Clients of 2026 look a name up as it was typed and let the server judge it.
    """
    name = text.lower() if text.isascii() else text
    if not _NAME.fullmatch(name):
        raise RequestError(400, "a name is 3 to 32 of a-z, 0-9, - and _", name=text[:64])
    return Name(name)


def matcher(patterns: Iterable[str]) -> Callable[[Name], bool]:
    """Tells whether a name matches one of the shell-style `patterns`."""
    matches = re.compile("|".join(map(translate, patterns)) or "(?!)").match
    return lambda name: matches(name) is not None


def parse_id(text: str) -> JamiId:
    """The Jami ID in `text`, in any case, with or without "0x", "ring:" or "jami:" before it.

    Raises RequestError (400) for what is no ID.
    """
    bare = text.lower()
    for prefix in ("ring:", "jami:", "0x"):
        bare = bare.removeprefix(prefix)
    if not _ID.fullmatch(bare):
        raise RequestError(400, "a Jami ID is 40 hexadecimal digits")
    return JamiId(bare)
