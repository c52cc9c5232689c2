"""Who may use the relay: coturn's own database, which it asks at every session.

So a new user can connect at once, and who was removed cannot again; relays that run stay. Kept is
coturn's key in place of the password (`stun.key`), which is as good as the password here.
"""

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lanjami.errors import HostError, RequestError
from lanjami.runtime import disk
from lanjami.turn import stun

FILE = "users.sqlite"
CHECKER = "lanjami-checks-itself"
STOCK = (
    "ring",
    "ring",
)  # what unmodified clients know; jami-daemon src/jamidht/jamiaccount_config.h

_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_LONGEST_PASSWORD = 128  # bytes
# All of coturn's /usr/share/coturn/schema.sql. What is missing, each of its threads would add, and
# lock the others out: coturn's dbd_sqlite.c waits for no lock, and refuses who comes meanwhile.
_TABLES = """
    turnusers_lt (realm varchar(127) DEFAULT '', name varchar(512), hmackey char(128),
        PRIMARY KEY (realm, name));
    turn_secret (realm varchar(127) DEFAULT '', value varchar(256), PRIMARY KEY (realm, value));
    allowed_peer_ip (realm varchar(127) DEFAULT '', ip_range varchar(256),
        PRIMARY KEY (realm, ip_range));
    denied_peer_ip (realm varchar(127) DEFAULT '', ip_range varchar(256),
        PRIMARY KEY (realm, ip_range));
    turn_origin_to_realm (origin varchar(127), realm varchar(127), PRIMARY KEY (origin));
    turn_realm_option (realm varchar(127) DEFAULT '', opt varchar(32), value varchar(128),
        PRIMARY KEY (realm, opt));
    oauth_key (kid varchar(128), ikm_key varchar(256), timestamp bigint DEFAULT 0,
        lifetime integer DEFAULT 0, as_rs_alg varchar(64) DEFAULT '', realm varchar(127),
        PRIMARY KEY (kid));
    admin_user (name varchar(32), realm varchar(127), password varchar(127), PRIMARY KEY (name))
"""


class Users:
    """The users in the folder `folder`, all of one realm."""

    def __init__(self, folder: Path, *, realm: str) -> None:
        self._folder = folder
        self._realm = realm

    @property
    def path(self) -> Path:
        return self._folder / FILE

    def prepare(self, checker_password: str) -> None:
        """Make the database, where there is none, and let the checker in."""
        with self._open() as database:
            self._add(database, CHECKER, checker_password)

    def add(self, name: str, password: str) -> None:
        """Let a user in, with a new password where they were in already."""
        if _NAME.fullmatch(name) is None or name == CHECKER:
            raise RequestError(400, "a user's name is 1 to 64 of a-z, A-Z, 0-9, . _ @ and -")
        if not 0 < len(password.encode()) <= _LONGEST_PASSWORD or not password.isprintable():
            raise RequestError(400, f"a password has 1 to {_LONGEST_PASSWORD} printable bytes")
        with self._open() as database:
            self._add(database, name, password)

    def remove(self, name: str) -> None:
        """Let a user in no longer; RequestError where there is none of that name."""
        with self._open() as database:
            done = database.execute(
                "DELETE FROM turnusers_lt WHERE realm = ? AND name = ? AND name != ?",
                (self._realm, name, CHECKER),
            )
            if not done.rowcount:
                raise RequestError(404, f"the relay has no user {name}")

    def names(self) -> list[str]:
        """All of them, sorted."""
        with self._open() as database:
            rows = database.execute(
                "SELECT name FROM turnusers_lt WHERE realm = ? AND name != ? ORDER BY name",
                (self._realm, CHECKER),
            )
            return [str(name) for (name,) in rows]

    def _add(self, database: sqlite3.Connection, name: str, password: str) -> None:
        key = stun.key(name, self._realm, password).hex()
        database.execute(
            "INSERT OR REPLACE INTO turnusers_lt (realm, name, hmackey) VALUES (?, ?, ?)",
            (self._realm, name, key),
        )

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The database, with the stock user in a new one; one transaction."""
        disk.make_private_folder(self._folder)
        is_new = not self.path.exists()
        try:
            _make(self.path)
            database = sqlite3.connect(self.path, timeout=5.0)
            try:
                with database:
                    for table in _TABLES.split(";"):
                        database.execute(f"CREATE TABLE IF NOT EXISTS {table}")
                    if is_new:
                        self._add(database, *STOCK)
                    yield database
            finally:
                database.close()
        except (OSError, sqlite3.Error) as error:
            raise HostError(f"{self.path} cannot be used: {error}") from error


def _make(path: Path) -> None:
    """An empty file that only its owner reads; the administrator makes it for the folder's."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.geteuid() == 0:
            owner = path.parent.parent.stat()
            os.fchown(file, owner.st_uid, owner.st_gid)
            os.chown(path.parent, owner.st_uid, owner.st_gid)
    finally:
        os.close(file)
