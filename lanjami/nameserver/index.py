"""Who has which name, in memory: what every lookup asks first."""

from lanjami.nameserver.names import JamiId, Name


class Index:
    """Names and IDs of the database's rows, in about 280 bytes a name.

    The thread that owns the database changes it right after it has committed; others may read it
    at any moment.
    """

    def __init__(self) -> None:
        self._rows: dict[Name, tuple[int, bytes]] = {}  # the row and the ID's 20 bytes
        self._names: dict[bytes, Name] = {}
        self.reserved: frozenset[Name] = frozenset()

    def __len__(self) -> int:
        return len(self._rows)

    def row_of(self, name: Name) -> int | None:
        found = self._rows.get(name)
        return None if found is None else found[0]

    def id_of(self, name: Name) -> JamiId | None:
        found = self._rows.get(name)
        return None if found is None else JamiId(found[1].hex())

    def name_of(self, id: JamiId) -> Name | None:
        return self._names.get(bytes.fromhex(id))

    def newest(self, at_most: int) -> list[Name]:
        """The names that were added last; a name that was changed counts as new."""
        return list(self._rows)[-at_most:]  # a copy is one step, which nothing comes between

    def add(self, row: int, name: Name, id: JamiId) -> None:
        key = bytes.fromhex(id)
        self._rows[name] = row, key
        self._names[key] = name

    def remove(self, name: Name) -> None:
        _, key = self._rows.pop(name)
        del self._names[key]

    def rename(self, name: Name, new: Name) -> None:
        found = self._rows.pop(name)
        self._rows[new] = found
        self._names[found[1]] = new
