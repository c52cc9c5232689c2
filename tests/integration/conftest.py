from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import argon2
import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from lanjami.status.operator import passwords
from tests.support.box import Box
from tests.support.operator_stage import PASSWORD, Stage, served


@pytest.fixture(autouse=True)
def _no_blocked_loop() -> Iterator[BlockBuster]:
    """A call of lanjami that would hold up every other service fails the test."""
    with blockbuster_ctx("lanjami") as blockbuster:
        for method in ("sqlite3.Connection.execute", "sqlite3.Cursor.fetchone"):
            # a name that is looked up: one row, by its number, from the disk's cache
            blockbuster.functions[method].can_block_in("nameserver/database.py", "record")
        yield blockbuster


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.end()


@pytest.fixture
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords of the operator take no time."""
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", quick)


@pytest.fixture
async def stage(tmp_path: Path, quick_hashes: None) -> AsyncIterator[Stage]:
    """The operator's part of a page, with a password."""
    async with served(tmp_path) as stage:
        await stage.passwords.keep(PASSWORD)
        yield stage
