"""From every state that real histories have, the commands that are printed lead on, and double or lose no row."""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from invoke.program import Program

from hoox_tasks import ns

HISTORY = (
    "CREATE TABLE d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE,"
    " applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL);"
)
ACCOUNTS = "CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner TEXT);\n"
BONUS = "INSERT INTO accounts (owner) VALUES ('bonus');\n"
SAFE = "CREATE TABLE IF NOT EXISTS accounts (id INTEGER PRIMARY KEY, owner TEXT);\nINSERT INTO accounts (owner) VALUES ('ada');\n"
NOTES = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT);\nCREATE INDEX by_body ON notes (body);\n"
RENAMED = "ALTER TABLE purses RENAME TO accounts;\n"
STEPS = 12


@dataclass(frozen=True)
class State:
    """A ledger and its files, as somebody finds them.

    `ran` are files that wrangler has applied, by the names that they had then; `by_hand` is what was done
    besides. `ours` are files that were applied by us before `files` took their place. `owners` are the rows
    of accounts that have to be there in the end. `knows` are the commands, one after the other, where only
    somebody who knows what happened can choose; else it is the first one. `extra` says that the ledger has
    more than the migrations make.
    """

    files: dict[str, str]
    owners: list[str] = field(default_factory=list)
    ran: dict[str, str] = field(default_factory=dict)
    by_hand: str = ""
    ours: dict[str, str] = field(default_factory=dict)
    knows: tuple[str, ...] = ()
    extra: bool = False


STATES = {
    "nothing": State({"0001_a.sql": ACCOUNTS + BONUS}, ["bonus"]),
    "pending": State({"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS}, ["bonus"], ran={"0001_a.sql": ACCOUNTS}),
    "out of order": State(
        {"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS, "0003_c.sql": NOTES},
        ["bonus"],
        ours={"0001_a.sql": ACCOUNTS, "0003_c.sql": NOTES},
    ),
    "edited": State({"0001_a.sql": ACCOUNTS + "-- more\n"}, ours={"0001_a.sql": ACCOUNTS}),
    "renamed": State(
        {"0001_a.sql": ACCOUNTS, "0003_b.sql": BONUS},
        ["bonus"],
        ours={"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS},
    ),
    "gone": State({"0001_a.sql": ACCOUNTS}, ["bonus"], ours={"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS}),
    "of one number": State(
        {"0001_a.sql": ACCOUNTS, "0002_bonus.sql": BONUS, "0002_notes.sql": NOTES},
        ["bonus"],
        ran={"0001_a.sql": ACCOUNTS, "0002_bonus.sql": BONUS, "0002_notes.sql": NOTES},
    ),
    "of one number, the first one later": State(
        {"0001_a.sql": ACCOUNTS, "0002_bonus.sql": BONUS, "0002_notes.sql": NOTES},
        ["bonus"],
        ran={"0001_a.sql": ACCOUNTS, "0002_notes.sql": NOTES},
    ),
    "rows of wrangler's, renumbered": State(
        {"0001_a.sql": ACCOUNTS, "0002_notes.sql": NOTES, "0003_bonus.sql": BONUS},
        ["bonus"],
        ran={"0001_a.sql": ACCOUNTS, "0002_bonus.sql": BONUS, "0002_notes.sql": NOTES},
    ),
    "rows of wrangler's, under other words": State(
        {"0001_a.sql": ACCOUNTS, "0002_notes.sql": NOTES, "0003_gift.sql": BONUS},
        ["bonus"],
        ran={"0001_a.sql": ACCOUNTS, "0002_bonus.sql": BONUS, "0002_notes.sql": NOTES},
    ),
    "a table of wrangler's, under other words": State(
        {"0001_a.sql": ACCOUNTS, "0004_remarks.sql": NOTES},
        ran={"0001_a.sql": ACCOUNTS, "0002_notes.sql": NOTES},
    ),
    "all of wrangler's, under other words": State(
        {"0001_x.sql": ACCOUNTS, "0002_y.sql": BONUS, "0003_z.sql": NOTES},
        ["bonus"],
        ran={"1.sql": ACCOUNTS, "2.sql": BONUS, "3.sql": NOTES},
    ),
    "a lost file of wrangler's, and a new one": State(
        {"0001_a.sql": ACCOUNTS, "0003_notes.sql": NOTES},
        ["bonus"],
        ran={"0001_a.sql": ACCOUNTS, "0002_bonus.sql": BONUS},
    ),
    "empty when it was applied": State(
        {"0001_a.sql": ACCOUNTS, "0002_b.sql": NOTES},
        ours={"0001_a.sql": ACCOUNTS, "0002_b.sql": "-- b\n"},
    ),
    "empty when it was applied, in the middle": State(
        {"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS, "0003_c.sql": NOTES},
        ["bonus"],
        ours={"0001_a.sql": ACCOUNTS, "0002_b.sql": "-- b\n", "0003_c.sql": NOTES},
    ),
    "by hand, if not exists": State({"0001_a.sql": SAFE}, ["ada"], by_hand=SAFE),
    "by hand": State({"0001_a.sql": ACCOUNTS + BONUS}, ["bonus"], by_hand=ACCOUNTS + BONUS),
    "by hand, and more to come": State(
        {"0001_a.sql": ACCOUNTS + BONUS, "0002_n.sql": NOTES}, ["bonus"], by_hand=ACCOUNTS + BONUS
    ),
    "by hand, in part": State(
        {"0001_a.sql": ACCOUNTS, "0002_n.sql": NOTES}, by_hand=ACCOUNTS + NOTES.split("\n")[0]
    ),
    "by hand, with rows that ran": State(
        {"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS},
        ["bonus"],
        by_hand=ACCOUNTS + BONUS,
        knows=("migrate.adopt --to 0002_b.sql",),
    ),
    "by hand, with rows that did not run": State(
        {"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS},
        ["ada", "bonus"],
        by_hand=ACCOUNTS + "INSERT INTO accounts (owner) VALUES ('ada');",
        knows=("migrate.adopt --to 0001_a.sql",),
    ),
    "by hand, its first rows did not run": State(
        {"0001_b.sql": BONUS},
        ["ada", "bonus"],
        by_hand=ACCOUNTS + "INSERT INTO accounts (owner) VALUES ('ada');",
        knows=("migrate.adopt --to 0",),
    ),
    "by hand, with a hole": State(
        {"0001_a.sql": ACCOUNTS, "0002_n.sql": NOTES, "0003_x.sql": "CREATE TABLE x (id);\n"},
        by_hand=ACCOUNTS + "CREATE TABLE x (id);",
    ),
    "by hand, with a hole and rows": State(
        {"0001_a.sql": ACCOUNTS, "0002_n.sql": NOTES, "0003_b.sql": BONUS},
        ["bonus"],
        by_hand=ACCOUNTS + BONUS,
        knows=("migrate.adopt --to 0001_a.sql", "migrate --to 0002_n.sql", "migrate.mark 0003_b.sql"),
    ),
    "by hand, without its seed": State({"0001_a.sql": ACCOUNTS + BONUS}, [], by_hand=ACCOUNTS),
    "by hand, renamed since": State(
        {
            "0001_a.sql": "CREATE TABLE purses (owner TEXT);\n",
            "0002_r.sql": "ALTER TABLE purses RENAME TO accounts;\n",
        },
        ["ada"],
        by_hand="CREATE TABLE accounts (owner TEXT); INSERT INTO accounts VALUES ('ada');",
    ),
    "taken over too short": State(
        {"0001_a.sql": "CREATE TABLE purses (owner TEXT);\n", "0002_r.sql": RENAMED},
        ["ada"],
        by_hand="CREATE TABLE accounts (owner TEXT); INSERT INTO accounts VALUES ('ada');"
        + HISTORY
        + "INSERT INTO d1_migrations (name) VALUES ('0001_a.sql');",
    ),
    "by hand, of other tables": State(
        {"0001_a.sql": "CREATE TABLE t (a, b);\n", "0002_d.sql": "ALTER TABLE t DROP COLUMN b;\n"},
        by_hand=NOTES,
        extra=True,
    ),
    "by hand behind a history": State(
        {"0001_a.sql": ACCOUNTS, "0002_n.sql": NOTES}, ran={"0001_a.sql": ACCOUNTS}, by_hand=NOTES
    ),
    "by hand behind a history, with its rows": State(
        {"0001_n.sql": NOTES, "0002_s.sql": SAFE}, ["ada"], ran={"0001_n.sql": NOTES}, by_hand=SAFE
    ),
    "by hand behind a history, in part": State(
        {"0001_a.sql": ACCOUNTS, "0002_n.sql": NOTES},
        ran={"0001_a.sql": ACCOUNTS},
        by_hand=NOTES.split("\n")[0],
    ),
    "patches of a table made by hand": State(
        {"0001_p.sql": "ALTER TABLE accounts ADD COLUMN more TEXT;\n", "0002_n.sql": NOTES},
        ["ada"],
        by_hand=ACCOUNTS + "INSERT INTO accounts (owner) VALUES ('ada');",
    ),
    "patches of a table made by hand, there": State(
        {"0001_p.sql": "ALTER TABLE accounts ADD COLUMN more TEXT;\n"},
        ["ada"],
        by_hand="CREATE TABLE accounts (owner TEXT, more TEXT); INSERT INTO accounts (owner) VALUES ('ada');",
    ),
    "renamed, and its name given to another": State(
        {"0001_a.sql": ACCOUNTS, "0002_b.sql": NOTES, "0003_c.sql": BONUS},
        ["bonus"],
        ours={"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS},
    ),
    "renamed, with a comment": State(
        {"0001_a.sql": ACCOUNTS, "0003_may.sql": "-- of May\n" + BONUS},
        ["bonus"],
        ours={"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS},
    ),
    "renamed, and written in other words": State(
        {"0001_a.sql": ACCOUNTS, "0003_may.sql": BONUS.replace("INSERT INTO", "INSERT INTO main.")},
        ["bonus"],
        ours={"0001_a.sql": ACCOUNTS, "0002_b.sql": BONUS},
    ),
    "renamed, all of them by one": State(
        {"0001_a.sql": ACCOUNTS, "0003_b.sql": BONUS, "0004_n.sql": NOTES},
        ["bonus"],
        ours={"0001_a.sql": ACCOUNTS, "0002_x.sql": BONUS, "0003_b.sql": NOTES},
    ),
    "by hand, if not exists, with other rows": State(
        {"0001_a.sql": SAFE}, ["eve"], by_hand=ACCOUNTS + "INSERT INTO accounts (owner) VALUES ('eve');"
    ),
    "by hand, said to have nothing": State(
        {"0001_a.sql": SAFE, "0002_n.sql": NOTES},
        ["eve"],
        by_hand=ACCOUNTS + "INSERT INTO accounts (owner) VALUES ('eve');",
        knows=("migrate.adopt --to 0",),
    ),
    "by hand, an index of another kind": State(
        {"0001_a.sql": ACCOUNTS, "0002_n.sql": NOTES},
        by_hand=ACCOUNTS + NOTES.split("\n")[0] + "CREATE INDEX by_body ON notes (id, body);",
    ),
    "by hand, without a column": State(
        {"0001_a.sql": ACCOUNTS + "CREATE TABLE more (id, note TEXT);\n"},
        by_hand=ACCOUNTS + "CREATE TABLE more (id); INSERT INTO more VALUES (1);",
    ),
    "by hand, with a gap before what is there": State(
        {"0001_a.sql": ACCOUNTS, "0002_b.sql": "CREATE TABLE x (id);\n", "0003_n.sql": NOTES},
        ["ada"],
        by_hand=ACCOUNTS + NOTES + "INSERT INTO accounts (owner) VALUES ('ada');",
    ),
    "names that begin with a dash": State(
        {"-2_a.sql": ACCOUNTS, "-1_b.sql": BONUS},
        ["bonus"],
        by_hand=ACCOUNTS + BONUS,
        knows=("migrate.adopt --to=-1_b.sql",),
    ),
    "a dash, renamed": State(
        {"-2_a.sql": ACCOUNTS, "-1_b.sql": BONUS},
        ["bonus"],
        ours={"-2_a.sql": ACCOUNTS, "0_b.sql": BONUS},
    ),
    "another form of a name": State(
        {"0001_a.sql": ACCOUNTS, "0002_b\u00f6rse.sql": BONUS},
        ["bonus"],
        ran={"0001_a.sql": ACCOUNTS, "0002_bo\u0308rse.sql": BONUS},
    ),
}


@pytest.mark.parametrize("name", STATES)
def test_the_advice_leads_on(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever does what is said comes to a ledger with nothing pending, and every row is there once."""
    state = STATES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    def inv(*words: str) -> tuple[int, str]:
        capfd.readouterr()
        code = 0
        try:
            Program(namespace=ns, name="inv", binary="inv").run(["inv", *words])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capfd.readouterr()
        assert "Traceback" not in err, err
        return code, out + err

    build(tmp_path, state, inv)
    walked: list[str] = []
    known = list(state.knows)
    code, said = inv("db.migrate.status", "--check")
    while code and len(walked) < STEPS:
        commands = found(said)
        wise = [command for command in commands if known and command.endswith(known[0])]
        known = known[1:] if wise else known
        assert commands, (walked, said)
        walked.append((wise or commands)[0])
        code, said = inv(*shlex.split(walked[-1])[1:])
        if code == 0 and not known:
            code, said = inv("db.migrate.status", "--check")
        elif code == 0:  # The next step was said in the same breath.
            code, said = 1, f"`inv db.{known[0]}`"
    assert code == 0, (walked, said)
    with closing(sqlite3.connect(tmp_path / ".hoox/local.sqlite")) as ledger:
        tables = {row[0] for row in ledger.execute("SELECT name FROM sqlite_schema")}
        query = "SELECT owner FROM accounts ORDER BY rowid"
        owners = [row[0] for row in ledger.execute(query)] if "accounts" in tables else []
        if any("notes" in text for text in state.files.values()):
            assert {"notes", "by_body"} <= tables, walked
    assert owners == state.owners, walked
    assert inv("db.check")[0] == state.extra, (walked, said)


def build(root: Path, state: State, inv: Callable[..., tuple[int, str]]) -> None:
    """Make the ledger and the files of a state."""
    folder = root / "migrations"
    folder.mkdir()
    (root / "tasks.py").write_text("from hoox_tasks import ns\n")
    if state.ours:
        for name, text in state.ours.items():
            (folder / name).write_text(text)
        assert inv("db.apply", "--no-seed")[0] == 0
        for path in folder.iterdir():
            path.unlink()
    (root / ".hoox").mkdir(exist_ok=True)
    if state.ran or state.by_hand:
        with closing(sqlite3.connect(root / ".hoox/local.sqlite")) as ledger:
            if state.ran:
                ledger.executescript(HISTORY)
            for name, text in state.ran.items():
                ledger.executescript(text)
                ledger.execute("INSERT INTO d1_migrations (name) VALUES (?)", [name])
            ledger.executescript(state.by_hand)
            ledger.commit()
    for name, text in state.files.items():
        (folder / name).write_text(text)
    if not (root / ".hoox/local.sqlite").exists():
        sqlite3.connect(root / ".hoox/local.sqlite").close()


def found(said: str) -> list[str]:
    """Give the commands that change something in what was said, in order."""
    commands = re.findall(r"`(inv db\.[^`]*)`", said)
    looking = ("inv db.check", "inv db.migrate.status", "inv --dry", "inv db.undo")
    return [command for command in commands if not command.startswith(looking)]
