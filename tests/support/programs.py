"""Runs another program for the length of a test."""

import asyncio
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def program(
    *command: str,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    limit: int = 1 << 16,
) -> AsyncIterator[Process]:
    """Start it, as `asyncio.create_subprocess_exec` does; kill it at the end."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=stdin, stdout=stdout, stderr=stderr, limit=limit
    )
    try:
        yield process
    finally:
        process.kill()
        await process.communicate()
