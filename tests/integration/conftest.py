from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx


@pytest.fixture(autouse=True)
def _no_blocked_loop() -> Iterator[BlockBuster]:
    """A call of lanjami that would hold up every other service fails the test."""
    with blockbuster_ctx("lanjami") as blockbuster:
        yield blockbuster
