"""The guards of migrations on the real engine: the same verdicts as in a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from hoox_tasks.d1.client import D1Client
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.migrations import MigrationFailed, consent
from tests.support.engine import EngineDatabase
from tests.support.losses import AMOUNTS, HARMLESS, REFUSED, START, files

ASKED = consent(amounts=AMOUNTS)
# A trigger's semicolons are for the import, which the engine does not have.
START_THERE = START.replace(
    START[START.index("CREATE TRIGGER") : START.index("INSERT INTO accounts VALUES (1")], ""
)


@pytest.fixture
def ledger(engine_database: EngineDatabase) -> Iterator[RemoteDatabase]:
    """An empty ledger on the real engine."""
    client = D1Client(
        engine_database.account, "any", database_id=engine_database.uuid, base_url=engine_database.base_url
    )
    with closing(RemoteDatabase(client, "ledger")) as database:
        yield database


def test_the_engine_gives_the_same_verdicts(ledger: RemoteDatabase) -> None:
    """What is undone in a file is undone on the real engine, with the same words and counts."""
    files(START_THERE).apply(ledger)
    for name, case in REFUSED.items():
        if "TRIGGER" in case.text:
            continue
        with pytest.raises(MigrationFailed) as failure:
            files(START_THERE, case.text).apply(ledger, consent=ASKED)
        for words in case.told:
            assert words in str(failure.value), name
    assert list(ledger.query("SELECT count(*) FROM trades")) == [(5,)]


@pytest.mark.parametrize(
    "name", ["a rebuild", "a rebuild in other types", "rows divided among two tables", "moved without a key"]
)
def test_what_is_harmless_passes_on_the_engine(ledger: RemoteDatabase, name: str) -> None:
    """A rebuild, a change of types and rows that move pass on the real engine too."""
    files(START_THERE).apply(ledger)
    applied, _ = files(START_THERE, HARMLESS[name].text).apply(ledger, consent=ASKED)
    assert applied[-1].effects == ()
