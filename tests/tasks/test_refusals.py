"""Bad input: a clear sentence, exit code 2, and nothing changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.workspace import INV, Workspace

EVERY_READER = [["db.list"], ["db.query", "SELECT 1"], ["db.schema"], ["db.export"], ["db.migrate.status"]]


@pytest.mark.parametrize(
    "command", [*EVERY_READER, ["db.migrate"], ["db.reset", "--confirm"]], ids=lambda c: c[0]
)
def test_a_ledger_that_is_not_there_is_not_made(workspace: Workspace, command: list[str]) -> None:
    """Only `db.apply` makes a ledger; everything else says where it looked and what to do."""
    before = workspace.files()
    error = workspace.refused(*command)
    assert error == (
        f"There is no ledger at {workspace.ledger}. "
        "Make one with `inv db.apply`, or name another file with --path.\n"
    )
    assert workspace.files() == before


@pytest.mark.parametrize("command", [*EVERY_READER, ["db.apply"], ["db.migrate"]], ids=lambda c: c[0])
def test_a_file_that_is_not_sqlite_is_refused(workspace: Workspace, command: list[str]) -> None:
    """The file is named and stays as it was."""
    (workspace.root / "notes.txt").write_text("not a database, but long enough to look like one\n" * 40)
    before = workspace.files()
    error = workspace.refused(*command, "--path", "notes.txt")
    assert f"{workspace.root / 'notes.txt'} is not a SQLite database." in error
    assert workspace.files() == before


def test_a_folder_is_not_a_ledger(workspace: Workspace) -> None:
    """A folder given as --path is called one."""
    assert f"{workspace.root} is a folder, not a ledger." in workspace.refused("db.list", "--path", ".")


def test_a_missing_migrations_folder_is_named(seeded: Workspace) -> None:
    """A folder that the configuration names and that is not there stops what needs it, and only that."""
    (seeded.root / "invoke.yaml").write_text("hoox:\n  migrations: sql\n")
    for command in (["db.migrate"], ["db.migrate.status"], ["db.apply"], ["db.reset", "--confirm"]):
        error = seeded.refused(*command)
        assert f"There is no migrations folder {seeded.root / 'sql'}." in error
    seeded.ok("db.query", "SELECT 1")
    seeded.ok("db.migrate.new", "first")
    assert (seeded.root / "sql" / "0001_first.sql").is_file()


def test_an_output_that_cannot_be_written_is_refused(seeded: Workspace) -> None:
    """A folder, or a place below a file: named, and nothing is left beside it."""
    before = seeded.files()
    assert f"{seeded.root} is a folder." in seeded.refused("db.export", "--output", ".")
    error = seeded.refused("db.export", "--output", "tasks.py/export.sql")
    assert f"{seeded.root / 'tasks.py' / 'export.sql'} cannot be written: " in error
    assert seeded.files() == before


def test_contradicting_flags_are_refused(seeded: Workspace) -> None:
    """What leaves nothing to do, or two answers on one stream, is said to."""
    assert "leave nothing" in seeded.refused("db.export", "--no-data", "--no-schema")
    assert "There is no table nowhere." in seeded.refused("db.export", "--table", "nowhere")
    run = seeded.inv("db.export", "--output", "-", "--json", code=2)
    assert "do not go together" in run.json["error"]


@pytest.mark.skipif(sys.platform != "linux", reason="a small disk of its own is made with Linux's namespaces")
def test_a_full_disk_is_told_and_leaves_nothing(seeded: Workspace) -> None:
    """An export that finds no more room, and a ledger that cannot grow: nothing of it stays."""
    mount = seeded.root.parent / "small"
    mount.mkdir()
    script = (
        f"mount -t tmpfs -o size=1m none {mount} || exit 99\n"
        f"{' '.join(INV)} db.export --output {mount}/all.sql; echo $?; ls -A {mount}\n"
        f"{' '.join(INV)} db.apply --path {mount}/ledger.sqlite; echo $?\n"
    )
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("there is no unshare here")
    run = subprocess.run(
        [unshare, "--user", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=seeded.root,
        env=seeded.environment(),
        capture_output=True,
        text=True,
    )
    if run.returncode in {1, 99} and not run.stdout:
        pytest.skip(f"a disk of its own is not allowed here: {run.stderr.strip()}")
    assert f"{mount}/all.sql could not be written: No space left on device." in run.stderr
    assert "There is no room left on the disk" in run.stderr
    exported, *rest = run.stdout.splitlines()
    assert exported == "2"
    # The migrations were applied, and are named; the made-up rows found no room.
    assert rest[-1] == "1"
    assert "Done before that: applied 0001_live_ledger.sql; applied 0002_runbook_columns.sql." in run.stderr
    assert "all.sql" not in rest
    assert "part" not in run.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_ledger_that_may_not_be_written_is_refused(seeded: Workspace) -> None:
    """A read-only file can be queried, and a change of it is refused."""
    seeded.ledger.chmod(0o444)
    seeded.ok("db.query", "SELECT 1")
    assert "can only be read" in seeded.refused("db.query", "DELETE FROM trades", "--write")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "invoke.yaml",
            "hoox:\n  pth: x\n",
            "There is no setting hoox.pth. Did you mean path? The settings are: path, ",
        ),
        ("invoke.yaml", "hoox:\n  busy_timeout: soon\n", "hoox.busy_timeout is 'soon'."),
        ("wrangler.jsonc", "{ // no end", "wrangler.jsonc does not parse: "),
        ("wrangler.toml", "name = \n", "wrangler.toml does not parse: "),
        ("wrangler.json", "[]", "does not hold an object."),
        ("wrangler.json", '{"d1_databases": [{}]}', "has no binding."),
        (
            "wrangler.json",
            '{"d1_databases": [{"binding": "A", "database_name": "a"}, {"binding": "B"}]}',
            "wrangler.json has several D1 databases and none was chosen. "
            "Choose one with --database: a (A), B.",
        ),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    workspace: Workspace, name: str, text: str, says: str
) -> None:
    """The file or the setting is named, with what would fit."""
    (workspace.root / name).write_text(text)
    before = workspace.files()
    assert says in workspace.refused("db.apply")
    assert workspace.files() == before


def test_no_message_carries_a_token(workspace: Workspace) -> None:
    """Even where the token got into what an error names."""
    token = "a-token-nobody-may-see"
    run = workspace.inv("db.list", "--path", f"{token}.sqlite", env={"CLOUDFLARE_API_TOKEN": token}, code=2)
    assert token not in run.out + run.err
    assert "…" in run.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["db.query"], "'db.query' did not receive required positional arguments: 'sql'"),
        (["db.list", "--qxz"], "No idea what '--qxz' is!"),
        (["db.nope"], "No idea what 'db.nope' is! Did you mean `inv db.undo`?"),
    ],
)
def test_what_invoke_itself_refuses_ends_with_1(
    workspace: Workspace, arguments: list[str], says: str
) -> None:
    """Unknown tasks, flags and missing arguments are Invoke's to tell; it exits with 1."""
    assert workspace.inv(*arguments, code=1).err == f"{says}\n"


def test_the_current_folder_may_be_below_the_workspace(seeded: Workspace) -> None:
    """The ledger is that of the workspace, and a --path counts from where one is."""
    below = seeded.root / "reports"
    below.mkdir()
    run = seeded.ok("db.list", cwd=below)
    assert str(seeded.ledger) in run.err
    seeded.ok("db.list", "--path", "../.hoox/local.sqlite", cwd=below)
    assert Path(seeded.ledger).exists()
