"""The node id, kept so that clients find the node they know."""

import re
import secrets
from pathlib import Path

from lanjami.errors import HostError
from lanjami.runtime import disk, log

_log = log.get(__name__)


def load_or_make(path: Path) -> bytes:
    """The node id (20 bytes) in the file at `path`, which is made (mode 0600) where it is not.

    Where the disk takes nothing, a node serves with one that the next start does not know.
    """
    try:
        text = path.read_text("ascii", errors="replace").strip()
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error}") from error
    if re.fullmatch("[0-9a-f]{40}", text) and int(text, 16):
        return bytes.fromhex(text)
    if text:
        _log.warning("the node id was damaged, a new one is made", file=path)
    node_id = secrets.token_bytes(20)
    try:
        disk.write_atomically(path, node_id.hex().encode() + b"\n")
    except HostError as error:
        _log.warning("the identity is lost with the program", reason=error)
    return node_id
