"""Coroutines on the ledger, by aiosqlite, under two plugins."""

import aiosqlite
import pytest


async def count(path) -> int:
    async with (
        aiosqlite.connect(path) as connection,
        connection.execute("SELECT count(*) FROM trades") as cursor,
    ):
        return (await cursor.fetchone())[0]


@pytest.mark.asyncio
async def test_under_asyncio(hoox_db_path, hoox_db, hoox_queries) -> None:
    """A connection in aiosqlite's thread is counted as any other."""
    with hoox_queries(1, database=hoox_db_path):
        assert await count(hoox_db_path) == hoox_db["trades"].count


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_under_anyio(hoox_db_path, hoox_db) -> None:
    """So it is under anyio's plugin."""
    assert await count(hoox_db_path) == hoox_db["trades"].count
