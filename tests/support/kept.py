"""What is in a database of names, as another program would read it."""

from contextlib import closing
from pathlib import Path

from lanjami.nameserver.database import Reader
from lanjami.nameserver.record import Record


def kept_at(path: Path) -> list[Record]:
    """All records, in the order of the alphabet."""
    with closing(Reader(path)) as reader:
        rows = reader.rows("name", chosen=lambda _: True)
        return [found for row in rows if (found := reader.record(row)) is not None]
