"""What migrations lose is refused, what they change is told, and what is harmless passes, in both homes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hoox_tasks.database.interface import Database
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.migrations import Consent, Migration, MigrationFailed, Migrations, consent
from tests.support.losses import AMOUNTS, HARMLESS, REFUSED, START, Case

ASKED = consent(amounts=AMOUNTS)


@pytest.fixture(params=["local", "served"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty ledger in each of its homes."""
    if request.param == "served":
        yield request.getfixturevalue("remote")
        return
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as database:
        yield database


def files(*texts: str) -> Migrations:
    """Give migrations of these texts."""
    names = [f"{number:04d}_step.sql" for number in range(1, len(texts) + 1)]
    return Migrations([Migration(name, Path(name), text) for name, text in zip(names, texts, strict=True)])


def told(ledger: Database, migrations: Migrations, allowed: Consent = ASKED) -> list[str]:
    """Apply migrations; gives what is told of the last."""
    applied, _ = migrations.apply(ledger, consent=allowed)
    effects = applied[-1].effects
    if effects is None:
        pytest.skip("D1 imports a migration with a trigger, and answers no rows")
    return [str(effect) for effect in effects]


def rows(ledger: Database) -> dict[str, list[object]]:
    """Give all rows of all tables but the history, which knows when."""
    names = [
        item.name
        for item in ledger.schema()
        if item.type == "table" and not item.name.startswith(("words", "found", "notes_"))
    ]
    return {name: list(ledger.query(f'SELECT * FROM "{name}"')) for name in names}


def allowed(flag: str) -> Consent:
    """Give the consent that a case's flag stands for."""
    words = flag.split()
    pairs = dict(zip(words[::2], words[1::2], strict=True))
    return consent(
        data_loss=pairs.get("loss", False), value_changes=pairs.get("changes", ()), amounts=AMOUNTS
    )


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in REFUSED.items()])
def test_losses_are_undone_unless_they_are_named(ledger: Database, case: Case) -> None:
    """A migration that loses rows or values, or changes amounts, is undone whole, and says what and how many."""
    files(START).apply(ledger)
    before = rows(ledger)
    with pytest.raises(MigrationFailed) as failure:
        told(ledger, files(START, case.text))
    for words in case.told:
        assert words in str(failure.value)
    assert rows(ledger) == before
    assert set(case.told) <= set(told(ledger, files(START, case.text), allowed(case.flag)))
    assert not [name for name in rows(ledger) if name.startswith("hoox_guard")]


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in HARMLESS.items()])
def test_what_loses_nothing_passes(ledger: Database, case: Case) -> None:
    """What moves, adds, renames, rebuilds or drops without losing a value passes, and changes are told."""
    files(START).apply(ledger)
    assert tuple(told(ledger, files(START, case.text))) == case.told


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in {**REFUSED, **HARMLESS}.items()]
)
def test_rows_of_the_same_run_may_go(ledger: Database, case: Case) -> None:
    """A ledger made from nothing takes every migration that wrangler takes, and nothing counts as lost."""
    assert told(ledger, files(START, case.text)) == []
