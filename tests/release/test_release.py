"""Releases of a ledger in a file: each step going well, and each going wrong."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hoox_tasks import backups, migrations
from hoox_tasks.config.dictionary import amounts, read_dictionary
from hoox_tasks.config.settings import bundled
from hoox_tasks.database.interface import Database
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.migrations import Applied, Effect, MigrationFailed, Migrations
from hoox_tasks.release.github import annotation, outputs
from hoox_tasks.release.receipt import Receipt, Smoke, read_receipt
from hoox_tasks.release.run import Policy, Release
from hoox_tasks.release.summary import markdown

TABLE = "d1_migrations"
GOOD = "ALTER TABLE trades ADD COLUMN note TEXT;\n"


class Reporter:
    """Notes what it is told, and knows two commands."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.saved: list[Receipt] = []

    def save(self, receipt: Receipt) -> None:
        self.saved.append(receipt)
        self.deeds: list[str] = []

    def say(self, text: str) -> None:
        self.told.append(text)

    def did(self, deed: str) -> None:
        self.deeds.append(deed)

    def restore_commands(self, backup: Path) -> list[str]:
        return [f"restore {backup.name}"]

    def recovery_commands(self) -> list[str]:
        return []


class Workspace:
    """A migrated ledger with three trades, and one migration of ours to come."""

    def __init__(self, folder: Path, ledger: LocalDatabase) -> None:
        self.folder = folder
        self.ledger = ledger
        shutil.copytree(bundled("migrations"), folder / "migrations")
        Migrations(self.files).apply(ledger)
        for number in range(3):
            self.trade(number)

    @property
    def files(self) -> list[migrations.Migration]:
        return migrations.discover(self.folder / "migrations")

    @property
    def backups(self) -> list[Path]:
        return sorted((self.folder / "backups").glob("*.gz"))

    def trade(self, number: int, symbol: str = "BTCUSDT") -> None:
        self.ledger.connection.execute(
            "INSERT INTO trades (id, timestamp, exchange, symbol, action, status)"
            " VALUES (?, 1, 'bybit', ?, 'LONG', 'EXECUTED')",
            (f"t{number}", symbol),
        )

    def write(self, name: str, text: str) -> Path:
        path = self.folder / "migrations" / name
        path.write_text(text)
        return path

    def release(self, reporter: Reporter | None = None, **policy: Any) -> Release:
        chosen = Policy(self.folder / "backups", **policy)
        return Release(self.ledger, Migrations(self.files), chosen, reporter or Reporter())

    @property
    def dump(self) -> list[str]:
        """All that the ledger holds."""
        return list(self.ledger.connection.iterdump())


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as ledger:
        yield Workspace(tmp_path, ledger)


def test_a_release_migrates_and_keeps_what_was(workspace: Workspace) -> None:
    """What is pending is in the ledger; the backup loads into a ledger as it was before."""
    before = workspace.dump
    workspace.write("0003_note.sql", GOOD)
    receipt = workspace.release(smoke=["SELECT count(note) FROM trades"]).run()
    assert (receipt.outcome, receipt.version, receipt.failed_in) == ("released", "0003_note.sql", "")
    assert [one.name for one in receipt.applied] == ["0003_note.sql"]
    assert receipt.tables["trades"] == 3
    assert receipt.smoke[-1].value == 0
    (backup,) = workspace.backups
    assert receipt.way_back == (f"restore {backup.name}",)
    with closing(sqlite3.connect(":memory:")) as loaded:
        loaded.executescript(gzip.decompress(backup.read_bytes()).decode())
        assert sorted(loaded.iterdump()) == sorted(
            re.sub("^CREATE TABLE (?!IF)", "CREATE TABLE ", line) for line in before
        )


def test_the_first_release_makes_the_ledger(tmp_path: Path) -> None:
    """A database that is new, with nothing in it, is released to like any other."""
    files = migrations.discover(bundled("migrations"))
    with closing(LocalDatabase(tmp_path / "new.sqlite", create=True)) as ledger:
        receipt = Release(ledger, Migrations(files), Policy(tmp_path), Reporter()).run()
        assert [one.name for one in receipt.applied] == [file.name for file in files]
        assert receipt.tables["trades"] == 0
        assert receipt.way_back == (), "an empty backup cannot be restored"


def test_nothing_pending_is_looked_at_only(workspace: Workspace) -> None:
    """With nothing to apply nothing is written, no backup either, and the ledger is checked all the same."""
    before = workspace.dump
    receipt = workspace.release().run()
    assert (receipt.outcome, workspace.backups, workspace.dump) == ("nothing pending", [], before)
    assert [step.name for step in receipt.steps] == ["plan", "check", "smoke"]
    workspace.ledger.connection.execute("ALTER TABLE balances DROP COLUMN equity")
    workspace.ledger.connection.execute("DROP INDEX idx_trades_created_at")
    release = workspace.release()
    with pytest.raises(HooxError, match=r"not what its migrations say") as caught:
        release.run()
    assert release.receipt.failed_in == "check"
    told = caught.value.detail.splitlines()
    assert told[:2] == ["index idx_trades_created_at is missing", "table balances is different"]
    assert "    -   equity REAL," in told


def test_what_was_changed_by_hand_stops_the_release_in_time(workspace: Workspace) -> None:
    """A table that is not as the migrations make it comes to light on the copy; what is extra is told."""
    workspace.ledger.connection.execute("ALTER TABLE balances ADD COLUMN by_hand")
    workspace.ledger.connection.execute("CREATE VIEW mine AS SELECT 1 AS a")
    workspace.write("0003_note.sql", GOOD)
    before = workspace.dump
    release = workspace.release()
    with pytest.raises(HooxError, match="copy is not what its migrations say") as caught:
        release.run()
    assert (caught.value.exit_code, release.receipt.failed_in) == (1, "rehearsal")
    assert caught.value.detail.startswith("table balances is different\n")
    assert "mine" not in caught.value.detail
    assert workspace.dump == before
    workspace.ledger.connection.execute("ALTER TABLE balances DROP COLUMN by_hand")
    assert workspace.release().run().extra == ("view mine",)


def test_the_check_is_that_of_db_check(workspace: Workspace) -> None:
    """What `db.check` calls missing or different is what the release fails for, in the same words."""
    workspace.ledger.connection.execute("ALTER TABLE balances ADD COLUMN by_hand")
    workspace.ledger.connection.execute("DROP INDEX idx_trades_created_at")
    told = run(workspace.folder, "db", "check").stdout
    with pytest.raises(HooxError) as caught:
        workspace.release().run()
    assert caught.value.detail == told.strip()


def test_rows_go_only_where_that_is_allowed(workspace: Workspace) -> None:
    """With data loss allowed, rows that a migration deletes are gone, and the receipt has both counts."""
    workspace.write("0003_less.sql", "DELETE FROM trades WHERE id <> 't0';")
    before = workspace.dump
    with pytest.raises(MigrationFailed, match="would lose rows"):
        workspace.release().run()
    assert workspace.dump == before
    receipt = workspace.release(consent=migrations.consent(data_loss=True)).run()
    (effect,) = (one for one in receipt.rehearsal if one.table == "trades")
    assert (effect.before, effect.after, receipt.tables["trades"]) == (3, 1, 1)
    assert list(workspace.ledger.query("SELECT id FROM trades")) == [("t0",)]


def test_amounts_are_asked_for_and_told(workspace: Workspace) -> None:
    """A release that changes prices stops in the rehearsal, unless they are named; then the receipt counts them."""
    workspace.ledger.connection.execute("UPDATE trades SET price = 5")
    workspace.write("0003_round.sql", "UPDATE trades SET price = price + 1 WHERE id <> 't0';")
    asked = {"amounts": amounts(read_dictionary(workspace.folder / "migrations"))}
    before = workspace.dump
    release = workspace.release(consent=migrations.consent(**asked))
    with pytest.raises(MigrationFailed, match=r"trades\.price: 2 rows changed") as caught:
        release.run()
    assert "--allow-value-changes=trades.price" in caught.value.remedy
    assert (release.receipt.failed_in, workspace.dump) == ("rehearsal", before)
    reporter = Reporter()
    allowed = migrations.consent(value_changes="trades.price", **asked)
    receipt = workspace.release(reporter, consent=allowed).run()
    assert list(map(str, receipt.changes)) == ["trades.price: 2 rows changed"]
    assert receipt.applied[0].effects == receipt.changes
    assert "  trades.price: 2 rows changed" in reporter.told
    assert "- `trades.price: 2 rows changed`" in markdown(receipt)


def test_a_ledger_of_free_rules_is_rehearsed_by_them(workspace: Workspace) -> None:
    """What D1 refuses passes where the ledger is a file that need not keep its rules, on the copy as well."""
    workspace.write("0003_free.sql", "CREATE TABLE x (a);\nINSERT INTO x SELECT sqlite_version();")
    with pytest.raises(MigrationFailed, match="sqlite_version"):
        workspace.release().run()
    with closing(LocalDatabase(workspace.folder / "ledger.sqlite", strict=False)) as free:
        receipt = Release(
            free, Migrations(workspace.files, strict=False), Policy(workspace.folder / "backups"), Reporter()
        ).run()
    assert (receipt.outcome, receipt.tables["x"]) == ("released", 1)


def test_the_ledger_is_exported_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rehearsal runs on the copy of the very backup that is kept."""
    exported = []
    export = backups.export

    def counted(database: Database, *arguments: Any, **options: Any) -> backups.Export:
        exported.append(database)
        return export(database, *arguments, **options)

    monkeypatch.setattr(backups, "export", counted)
    workspace.write("0003_note.sql", GOOD)
    receipt = workspace.release().run()
    assert exported == [workspace.ledger]
    assert receipt.backup is not None
    assert receipt.backup.path == str(workspace.backups[0])


def test_a_dry_run_leaves_nothing(workspace: Workspace) -> None:
    """A dry run tries it all on a copy; ledger and backups are as they were."""
    before = workspace.dump
    workspace.write(
        "0003_more.sql",
        "INSERT INTO system_logs VALUES (1, 1, 1, 1, 1, 1); CREATE INDEX newest ON trades (created_at);"
        " CREATE TABLE fills (a); CREATE VIEW latest AS SELECT id FROM trades;",
    )
    receipt = workspace.release(dry=True).run()
    assert (receipt.outcome, receipt.not_applied) == ("rehearsed", ("0003_more.sql",))
    effects = {one.table: (one.before, one.after, one.schema) for one in receipt.rehearsal}
    assert effects == {
        "balances": (0, 0, ()),
        "fills": (None, 0, ("made",)),
        "latest": (None, None, ("view latest made",)),
        "positions": (0, 0, ()),
        "system_logs": (0, 1, ()),
        "trade_signals": (0, 0, ()),
        "trades": (3, 3, ("index newest made",)),
    }
    assert (workspace.backups, workspace.dump, receipt.way_back) == ([], before, ())


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("SELECT 1;\n\nALTER TABLE nowhere ADD COLUMN x;", 3, "no such table: nowhere"),
        ("DELETE FROM trades;", 0, "would lose rows"),
        ("CREATE TABLE x (a);\nSELECT sqlite_version();", 2, "sqlite_version"),
    ],
)
def test_what_fails_on_the_copy_is_not_tried_on_the_ledger(
    workspace: Workspace, text: str, line: int, words: str
) -> None:
    """A migration that fails in the rehearsal, or good ones before it, touch nothing; the backup stays."""
    before = workspace.dump
    workspace.write("0003_note.sql", GOOD)
    workspace.write("0004_bad.sql", text)
    release = workspace.release()
    with pytest.raises(MigrationFailed, match=words) as caught:
        release.run()
    assert (caught.value.file.name, caught.value.line) == ("0004_bad.sql", line)
    assert workspace.dump == before
    receipt = release.receipt
    assert (receipt.failed_in, receipt.applied) == ("rehearsal", ())
    assert receipt.not_applied == ("0003_note.sql", "0004_bad.sql")
    assert len(workspace.backups) == 1


def test_a_query_that_does_not_run_stops_the_release(workspace: Workspace) -> None:
    """The queries run on the migrated copy first, so a wrong or a writing one comes to light in time."""
    workspace.write("0003_note.sql", GOOD)
    for query in ("SELECT no_such FROM trades", "DELETE FROM trades"):
        before = workspace.dump
        release = workspace.release(smoke=[query])
        with pytest.raises(HooxError, match=query) as caught:
            release.run()
        assert (caught.value.exit_code, release.receipt.failed_in) == (1, "rehearsal")
        assert workspace.dump == before


def test_what_came_between_stops_it_half_way_and_is_told(workspace: Workspace) -> None:
    """Rows that were written after the rehearsal fail one migration: those before it are told as applied."""
    workspace.write("0003_note.sql", GOOD)
    workspace.write("0004_one.sql", "CREATE UNIQUE INDEX one ON trades (symbol) WHERE symbol <> 'BTCUSDT';")

    class Meanwhile(Reporter):
        def say(self, text: str) -> None:
            if text.startswith("Rehearsed"):
                workspace.trade(8, "ETHUSDT")
                workspace.trade(9, "ETHUSDT")

    release = workspace.release(Meanwhile())
    with pytest.raises(MigrationFailed, match="UNIQUE"):
        release.run()
    receipt = release.receipt
    assert [one.name for one in receipt.applied] == ["0003_note.sql"]
    assert (receipt.not_applied, receipt.version) == (("0004_one.sql",), "0003_note.sql")
    assert receipt.failed_in == "migrate"
    status = Migrations(workspace.files).status(workspace.ledger)
    assert status.version == "0003_note.sql"
    assert ("t9",) in list(workspace.ledger.query("SELECT id FROM trades"))


def test_what_is_applied_is_told_at_once(workspace: Workspace) -> None:
    """Who interrupts between two migrations is told that the first is applied, and the receipt has it."""
    workspace.write("0003_note.sql", GOOD)
    workspace.write("0004_more.sql", "CREATE TABLE more (a);\n")

    class Interrupting(Reporter):
        def did(self, deed: str) -> None:
            super().did(deed)
            raise KeyboardInterrupt

    reporter = Interrupting()
    release = workspace.release(reporter)
    with pytest.raises(KeyboardInterrupt):
        release.run()
    assert reporter.deeds == ["applied 0003_note.sql"]
    receipt = release.receipt
    assert [applied.name for applied in receipt.applied] == ["0003_note.sql"]
    assert receipt.not_applied == ("0004_more.sql",)
    assert receipt.version == "0003_note.sql"


def test_a_history_that_does_not_fit_is_refused(workspace: Workspace) -> None:
    """An edited migration is refused before anything is read or written."""
    workspace.write("0002_runbook_columns.sql", "SELECT 2;")
    workspace.write("0003_note.sql", GOOD)
    with pytest.raises(Refused):
        workspace.release().run()
    assert workspace.backups == []


def test_what_the_migrations_do_not_know_is_told(workspace: Workspace) -> None:
    """A table made by hand harms nobody: it is named in the receipt."""
    workspace.ledger.connection.execute("CREATE TABLE mine (a)")
    assert workspace.release().run().extra == ("table mine",)


def prepared(workspace: Workspace, **policy: Any) -> Receipt:
    """Prepare a release, and read its receipt as a later one reads it."""
    workspace.release(prepare=True, **policy).run()
    path = workspace.folder / "receipt.json"
    path.write_text(json.dumps(asdict(workspace.release(prepare=True, **policy).run())))
    return read_receipt(path)


def test_a_prepared_release_goes_on_from_its_backup(workspace: Workspace) -> None:
    """The first phase changes nothing and keeps the backup; the second rehearses nothing, and gives one receipt."""
    workspace.write("0003_note.sql", GOOD)
    before = workspace.dump
    first = prepared(workspace)
    assert (first.outcome, first.pending, workspace.dump) == ("prepared", ("0003_note.sql",), before)
    count = len(workspace.backups)
    receipt = workspace.release(prepared=first).run()
    assert (receipt.outcome, receipt.backup, receipt.rehearsal) == ("released", first.backup, first.rehearsal)
    assert [step.name for step in receipt.steps] == [
        *("plan", "backup", "rehearsal"),
        *("plan", "migrate", "check", "smoke"),
    ]
    assert len(workspace.backups) == count
    assert first.backup is not None
    assert receipt.way_back == (f"restore {Path(first.backup.path).name}",)


@pytest.mark.parametrize("what", ["edited", "new", "backup gone", "backup changed", "history", "ledger"])
def test_what_has_changed_since_it_was_prepared_is_refused(workspace: Workspace, what: str) -> None:
    """Migrations, history, backup and ledger are what they were, or nothing is applied."""
    path = workspace.write("0003_note.sql", GOOD)
    first = prepared(workspace)
    assert first.backup is not None
    backup = Path(first.backup.path)
    if what == "edited":
        path.write_text(f"{GOOD}-- and more")
    elif what == "new":
        workspace.write("0004_more.sql", "CREATE TABLE more (a);")
    elif what == "backup gone":
        backup.unlink()
    elif what == "backup changed":
        backup.write_bytes(backup.read_bytes()[:-1])
    elif what == "history":
        workspace.write("0002_runbook_columns_2.sql", "CREATE TABLE more (a);")
        Migrations(workspace.files).apply(workspace.ledger, to="0002_runbook_columns_2")
    else:
        first = replace(first, identity="file:/other")
    before = workspace.dump
    release = workspace.release(prepared=first)
    with pytest.raises(Refused, match="prepared for something else"):
        release.run()
    assert workspace.dump == before
    assert release.receipt.failed_in == "plan"


def test_what_is_no_receipt_of_a_prepared_release_is_refused(workspace: Workspace) -> None:
    """A receipt that is missing, damaged, or of a release that is done already is not gone on from."""
    path = workspace.folder / "receipt.json"
    for text in (None, "", "[]", '{"outcome": "released"}', '{"outcome": "prepared"}'):
        if text is not None:
            path.write_text(text)
        with pytest.raises(Refused):
            read_receipt(path)


@pytest.mark.parametrize("all_of_them", [True, False])
def test_each_of_two_releases_says_who_applied_what(workspace: Workspace, all_of_them: bool) -> None:
    """What another run applied meanwhile is told as such; who applied nothing has released nothing."""
    workspace.write("0003_note.sql", GOOD)
    workspace.write("0004_more.sql", "CREATE TABLE more (a);")

    class Meanwhile(Reporter):
        def say(self, text: str) -> None:
            if text.startswith("Rehearsed"):
                Migrations(workspace.files).apply(workspace.ledger, to="0004" if all_of_them else "0003")

    receipt = workspace.release(Meanwhile()).run()
    if all_of_them:
        assert (receipt.outcome, receipt.applied, receipt.way_back) == ("nothing pending", (), ())
        assert receipt.elsewhere == ("0003_note.sql", "0004_more.sql")
    else:
        assert (receipt.outcome, receipt.elsewhere) == ("released", ("0003_note.sql",))
        assert [migration.name for migration in receipt.applied] == ["0004_more.sql"]
        assert "takes back what another run has applied" in markdown(receipt)
    assert (receipt.not_applied, receipt.uncertain) == ((), False)
    assert "| `0003_note.sql` | applied by another run |" in markdown(receipt)


def test_what_is_saved_is_true_whenever_it_is_killed(workspace: Workspace) -> None:
    """Before each step the receipt says that the release has failed in it; only in `migrate` that it is not known."""
    workspace.write("0003_note.sql", GOOD)
    reporter = Reporter()
    workspace.release(reporter).run()
    told = [(saved.failed_in, saved.outcome, saved.uncertain) for saved in reporter.saved[:-1]]
    steps = ("plan", "backup", "rehearsal", "migrate", "check", "smoke")
    assert told == [(step, "failed", step == "migrate") for step in steps]
    assert reporter.saved[3].way_back
    assert reporter.saved[-1].outcome == "released"


def test_interrupted_in_a_migration_of_a_file_nothing_is_uncertain(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction of a file ends with its process: the history says at once what was applied."""
    workspace.write("0003_note.sql", GOOD)
    workspace.write("0004_more.sql", "CREATE TABLE more (a);")
    batch = workspace.ledger.batch

    def interrupted(statements: Any, *, write: bool = True) -> Any:
        unit = list(statements)
        if any("CREATE TABLE more" in statement.sql for statement in unit):
            raise KeyboardInterrupt
        return batch(unit, write=write)

    monkeypatch.setattr(workspace.ledger, "batch", interrupted)
    release = workspace.release()
    with pytest.raises(KeyboardInterrupt):
        release.run()
    receipt = release.receipt
    assert [migration.name for migration in receipt.applied] == ["0003_note.sql"]
    assert (receipt.not_applied, receipt.uncertain) == (("0004_more.sql",), False)


def test_without_a_backup_there_is_none(workspace: Workspace) -> None:
    """Where none is to be kept, no file is left, and nobody is told to restore one."""
    workspace.write("0003_note.sql", GOOD)
    receipt = Release(workspace.ledger, Migrations(workspace.files), Policy(None), Reporter()).run()
    assert (receipt.outcome, receipt.backup, receipt.way_back) == ("released", None, ())
    assert not (workspace.folder / "backups").exists()


@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=3),
    st.text(st.characters(codec="utf-8")),
)
def test_outputs_are_read_as_they_were_written(names: list[str], version: str) -> None:
    """Whatever migrations are called, no name ends its value or begins another."""
    applied = tuple(Applied(name, 0.0) for name in names)
    version = version.replace("\r", "")
    lines = iter(outputs(Receipt("l", "released", version=version, applied=applied)).split("\n"))
    found = {}
    for line in lines:
        if line:
            name, end = line.split("<<")
            value = []
            while (inner := next(lines)) != end:
                value.append(inner)
            found[name] = "\n".join(value)
    assert (json.loads(found["applied"]), found["version"]) == (names, version)
    assert list(found) == ["outcome", "applied", "version", "backup", "uncertain"]


def unescaped(text: str) -> str:
    for code, char in (("%2C", ","), ("%3A", ":"), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, char)
    return text


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text("a,:%\n\r;=", min_size=1))
def test_annotations_say_any_message_of_any_file(message: str, name: str) -> None:
    """One line, of which GitHub reads the file and the message as they are."""
    root = Path("/r")
    error = MigrationFailed(message, "", root / "m" / f"{name}.sql", 7)
    line = annotation(error, root)
    assert "\n" not in line
    assert "\r" not in line
    found = re.fullmatch(r"::error file=([^,:]*),line=7::(.*)", line, re.S)
    assert found is not None
    assert (unescaped(found[1]), unescaped(found[2])) == (f"m/{name}.sql", message.rstrip())


def test_annotations_of_other_errors_name_no_file(tmp_path: Path) -> None:
    """An error of no file, or of one outside the checkout, is told without a place."""
    assert annotation(HooxError("a, b: 100%", "c"), tmp_path) == "::error::a, b: 100%25 c"
    assert annotation(MigrationFailed("a", "", Path("/x/1.sql"), 3), tmp_path) == "::error::a"


@given(st.text(min_size=1))
def test_a_name_stays_in_its_cell(name: str) -> None:
    """Whatever a table is called, its row of the summary is one line of two cells."""
    lines = markdown(Receipt("l", "released", tables={name: 1})).splitlines()
    (row,) = (line for line in lines if line.endswith(" | 1 |"))
    assert len(re.split(r"(?<!\\)\|", row)) == 4


_EVIL = '<img src=https://evil.example/x.png><a href="https://evil.example">x</a>'


@pytest.mark.parametrize("marks", ["", "`", "``", "```", "` `` ", "`x`", "\\`", "`` `", "\n\n", "```\n"])
@pytest.mark.parametrize("end", ["", "`", "``"])
def test_no_foreign_text_of_a_summary_is_html_or_a_link(marks: str, end: str) -> None:
    """What a migration, a name or an error says stays text for a parser of Markdown, whatever marks are in it."""
    text = f"trades.[{marks}{_EVIL}{end or marks} {_EVIL}"
    receipt = Receipt(
        text,
        "failed",
        problem=f"`x` failed: {text}.",
        remedy=f"Correct {text} and run `inv db.release`.",
        detail=text,
        pending=(text,),
        version=text,
        changes=(Effect(text, "", "gone", 1),),
        tables={text: 1},
        smoke=(Smoke(text, 1, text),),
        extra=(text,),
    )
    html = MarkdownIt("commonmark").enable("table").render(markdown(receipt))
    assert "<img" not in html
    assert "<a " not in html
    assert html.count("<td>") == 5  # The others are aligned.


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    hoox = Path(sys.executable).parent / "hoox"
    return subprocess.run(
        [hoox, *words, "--path=ledger.sqlite"],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_task_tells_people_programs_and_github(workspace: Workspace) -> None:
    """On a terminal, as JSON, in a job's summary and by an annotation: the same receipt, and exit code 1."""
    path = workspace.write("0003_bad.sql", "SELECT 1;\nDROP TABLE nowhere;")
    summary = workspace.folder / "summary.md"
    summary.write_text("of another step\n")
    done = run(
        workspace.folder,
        "db",
        "release",
        "--json",
        GITHUB_ACTIONS="true",
        GITHUB_WORKSPACE=str(path.parent),
        GITHUB_STEP_SUMMARY=str(summary),
    )
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert list(document) == [*(item.name for item in fields(Receipt)), "seconds"]
    assert (document["outcome"], document["not_applied"]) == ("failed", ["0003_bad.sql"])
    assert "::error file=0003_bad.sql,line=2::" in done.stderr
    assert summary.read_text().startswith("of another step\n## Release failed: `ledger.sqlite`\n")
    path.write_text(GOOD)
    dry = run(workspace.folder, "--dry", "db", "release")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert "Rehearsed a release of ledger.sqlite" in dry.stdout
    done = run(workspace.folder, "db", "release")
    assert done.returncode == 0
    for way_back in ("undo --to", r"restore backups/db-backup-\S+"):
        # Each line is a command that works as it stands.
        (line,) = re.findall(rf"hoox db ({way_back}.*) --path ledger.sqlite$", done.stdout, re.M)
        taken = run(workspace.folder, "db", *line.split(), "--confirm")
        assert taken.returncode == 0, taken.stderr
        status = Migrations(workspace.files).status(workspace.ledger)
        assert status.version == "0002_runbook_columns.sql"
        Migrations(workspace.files).apply(workspace.ledger)
    assert run(workspace.folder, "db", "release", "--summary=/no/such/file").returncode == 0


def test_the_task_refuses_what_it_cannot_find(workspace: Workspace, tmp_path: Path) -> None:
    """Where there is no ledger the exit code is 2, and the summary and the JSON say why."""
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run(empty, "db", "release", "--json", "--summary=s.md")
    assert done.returncode == 2
    assert "There is no ledger" in json.loads(done.stdout)["problem"]
    assert "There is no ledger" in (empty / "s.md").read_text()
