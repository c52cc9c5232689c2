"""The names on the operator's desk: the verbs of `admin`, asked of the registry that runs."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from lanjami.nameserver import admin
from lanjami.nameserver.record import Record
from lanjami.nameserver.registry import Registry


class Desk:
    """See `admin.perform` for what is raised."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def matching(self, pattern: str, *, at_most: int) -> Sequence[Record]:
        """The first of the names that match a shell-style pattern; at most a page of them."""

        def first_page() -> list[Record]:
            pages = self._registry.survey(admin.List(pattern))
            lines = next(pages, b"").splitlines()[:at_most]
            return [msgspec.json.decode(line, type=Record) for line in lines if line]

        return await asyncio.to_thread(first_page)

    async def show(self, name_or_id: str) -> tuple[Record, str]:
        """Who has a name, and what is wrong with the proof; "" where it holds."""
        shown = await self._registry.perform(admin.Show(name_or_id))
        return shown.record, shown.fault

    async def rename(self, name: str, new: str) -> None:
        await self._registry.perform(admin.Rename(name, new))

    async def remove(self, name: str) -> None:
        await self._registry.perform(admin.Remove(name))

    async def reserve(self, name: str) -> None:
        await self._registry.perform(admin.Reserve(name))

    async def unreserve(self, name: str) -> None:
        await self._registry.perform(admin.Unreserve(name))

    async def reserved(self) -> Sequence[str]:
        found: Any = await self._registry.perform(admin.Reserved())
        return list(found)
