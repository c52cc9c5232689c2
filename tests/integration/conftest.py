from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from tests.support.box import Box


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
