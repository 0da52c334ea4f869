"""`inv db.diff`, and `inv db.verify` of several files, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.in_process import QuickWorkspace


def test_a_backup_and_the_ledger(quick_seeded: QuickWorkspace) -> None:
    """Exit code 0 where they are equal, 1 with the rows where they differ, 2 where it was misused."""
    backup = quick_seeded.ok("db.export", "--output", "a.sql", "--json").json["path"]
    equal = quick_seeded.ok("db.diff", "a.sql")
    assert equal.out == ""
    assert "a is a.sql, b is .hoox/local.sqlite." in equal.err
    assert "They are equal." in equal.err
    (row,) = quick_seeded.sql("SELECT id, price FROM trades WHERE price > 0 LIMIT 1")
    quick_seeded.sql("UPDATE trades SET price = price + 1 WHERE id = ?", row[0])
    run = quick_seeded.inv("db.diff", "ledger", backup, "--format", "ndjson", code=1)
    assert [json.loads(line) for line in run.out.splitlines()] == [
        {
            "table": "trades",
            "key": row[0],
            "difference": "changed",
            "column": "price",
            "a": row[1] + 1,
            "b": row[1],
        }
    ]
    assert "They differ:\n  trades: 1 changed" in run.err
    assert "1 changed" in quick_seeded.inv("db.diff", "a.sql", str(quick_seeded.ledger), code=1).err
    (changed,) = quick_seeded.inv("db.diff", "a.sql", "--json", code=1).json
    assert changed["column"] == "price"


def test_what_cannot_be_compared_is_refused(quick_seeded: QuickWorkspace) -> None:
    """One ledger, three of them, a file that is not there or is no backup."""
    (quick_seeded.root / "fills.csv").write_text("id,symbol\n")
    for command, says in (
        (["ledger"], "The ledger cannot differ from itself."),
        (["a.sql", "b.sql", "--remote"], "--remote is one of the two itself."),
        (["a.sql"], "There is no backup"),
        (["fills.csv"], "is not SQL"),
        (["ledger", "ledger", "--format", "ndjsn"], "There is no format ndjsn. Did you mean ndjson?"),
    ):
        assert says in quick_seeded.refused("db.diff", *command)


def test_several_backups_are_verified(quick_seeded: QuickWorkspace) -> None:
    """All are looked at; where one is spoilt, the others are still told to be sound, and it exits with 2."""
    for name in ("a.sql", "b.sql"):
        quick_seeded.ok("db.export", "--output", name, "--table", "balances", "--table", "positions")
    done = quick_seeded.ok("db.verify", "a.sql", "b.sql")
    assert done.out.count(" is sound: ") == 2
    assert "All 2 backups are sound" in done.out
    documents = quick_seeded.ok("db.verify", "a.sql", "b.sql", "--json").json["files"]
    assert [Path(document["file"]).name for document in documents] == ["a.sql", "b.sql"]
    spoilt = quick_seeded.root / "a.sql"
    spoilt.write_text(spoilt.read_text() + "\n")
    run = quick_seeded.inv("db.verify", "a.sql", "b.sql", code=2)
    assert "b.sql is sound" in run.out
    assert "a.sql was changed since it was written." in run.err
    assert "1 of 2 backups are not sound" in run.err
    assert "No backup is named." in quick_seeded.refused("db.verify")


def test_a_check_advises_for_the_ledger_that_it_looked_at(quick_seeded: QuickWorkspace) -> None:
    """What is said of each migration has the flags that chose the ledger."""
    quick_seeded.ok("db.migrate.new", "more")
    shown = quick_seeded.inv("db.check", "--path", ".hoox/local.sqlite", code=1).out
    assert "Apply it with `inv db.migrate --path .hoox/local.sqlite`." in " ".join(shown.split())
