"""`inv db.export`, `verify`, `backups` and `restore`."""

from __future__ import annotations

import stat
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hoox_tasks.console import terminal
from hoox_tasks.console.formats import print_table
from hoox_tasks.errors import HooxError, Refused, RemoteError
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task
from hoox_tasks.tasks.restore import identity_file

with lazy_imports():
    from hoox_tasks import backups, files


@ledger_task(
    {
        "output": "Write to this file instead of backups/; - is standard output.",
        "table": "Export this table only (repeatable).",
        "data": "Export the rows.",
        "schema": "Export the tables' definitions.",
        "gzip": "Compress the file.",
        "online": "Do not stop a remote ledger meanwhile: read it in pages, by queries.",
        "verify": "Load the file again and compare it with the ledger before it gets its name.",
        "encrypt-to": "Encrypt the file to this age or SSH public key (repeatable).",
        "keep": "Then remove all but this many backups of this ledger there, never the last verified one.",
    },
    iterable=("table", "encrypt_to"),
)
def export(
    command: Command,
    output: str | None = None,
    table: list[str] | None = None,
    data: bool = True,
    schema: bool = True,
    gzip: bool = False,
    online: bool = False,
    verify: bool = True,
    encrypt_to: list[str] | None = None,
    keep: int | None = None,
) -> None:
    """Write the ledger as SQL to a file in backups/, lossless and verified.

    It is called db-backup-YYYY-MM-DD-HHMMSS.sql, by the time in UTC, and has
    a manifest beside it. An encrypted one has .age behind its name, and can
    be read with `--identity KEYFILE` only.

    JSON: database, path, bytes, verified, encrypted, one_moment, tables
    {table: rows}, removed [path], seconds.
    """
    if not data and not schema:
        raise Refused("--no-data and --no-schema together leave nothing.", "Give one of them.")
    keep = None if keep is None else _at_least_one("keep", keep)
    if output == "-":
        if command.json or keep:
            other = "--json" if command.json else "--keep"
            raise Refused(f"{other} and --output - do not go together.", "Give one of them.")
        path = None
    elif output:
        path = Path(output).expanduser().absolute()
        gzip = gzip or path.name.removesuffix(".age").endswith(".gz")
        if path.suffix == ".age" and not encrypt_to:
            raise Refused(f"{path.name} would not be encrypted.", "Say to which key, with --encrypt-to.")
        backups.check_target(path, command.settings.snapshots_dir)
    else:
        path = backups.default_path(command.settings.backups_dir, compressed=gzip)
    backups.check_recipients(encrypt_to or ())
    with command.ledger() as database, ExitStack() as stack:
        if command.dry:
            command.done(f"Would export {database.label} to {path or 'standard output'}; planned")
            return
        # What is to be encrypted is written and verified in a scratch folder before.
        plain = path
        if encrypt_to:
            name = path.name.removesuffix(".age") if path else "export.sql"
            plain = stack.enter_context(files.scratch_folder()) / name
        former = stat.S_IMODE(path.stat().st_mode) if path and path.is_file() else None
        with terminal.progress("Exporting") as progress:
            written = backups.export(
                database,
                plain,
                reserve=not output,
                tables=table or (),
                schema=schema,
                data=data,
                compressed=gzip,
                online=online,
                verify=verify,
                migrations_table=command.settings.migrations_table,
                progress=progress,
            )
        rows = terminal.count(command.rows(written.tables), "row")
        if encrypt_to and plain and path is None:
            with files.standard_output() as stream:
                backups.seal_to(plain, stream, encrypt_to)
        elif encrypt_to and plain and path:
            path = backups.seal(plain, path, encrypt_to, reserve=not output)
        else:
            path = written.path
        if path is None:
            terminal.note(f"Exported {rows} of {database.label} in {terminal.duration(command.seconds)}.")
            return
        if former is not None and (now := stat.S_IMODE(path.stat().st_mode)) != former:
            terminal.note(
                f"{command.shown(path)} had the mode {former:04o} and has {now:04o} now: the ledger itself is"
                " not readable by more."
            )
        command.did(f"exported {database.label} to {command.shown(path)}")
        size = path.stat().st_size
        removed = []
        if keep:
            own = database.identity_in(path.parent)
            removed = _prune(command, path.parent, identity=own, keep=keep, spare=[path])
        kind = "verified" if written.verified else "not verified"
        kind += ", encrypted" if encrypt_to else ""
        if not written.one_moment:
            terminal.note(
                f"{database.label} was written to while it was read: the file is not one moment of it."
            )
        if written.dangling:
            terminal.note(f"{terminal.count(written.dangling, 'row')} refer to others that are not there.")
        command.done(
            f"Exported {rows} of {database.label} to {command.shown(path)} ({size:,} bytes, {kind})",
            database=database.label,
            path=str(path),
            bytes=size,
            verified=written.verified,
            encrypted=bool(encrypt_to),
            one_moment=written.one_moment,
            tables=written.tables,
            removed=removed,
        )


@ledger_task(
    {
        "file": "The backup, or several: SQL, compressed with gzip or not, or a SQLite database.",
        "live": "Compare it with the ledger as it is now; with --remote that goes without saying.",
        "identity": "The file of the key to an encrypted backup: age's, or an SSH key.",
        "exact": "Compare every cell with the ledger, not rows and checksums; D1 answers nobody meanwhile.",
    },
    positional=("file",),
    iterable=("file",),
    open_end=("file",),
)
def verify(
    command: Command,
    file: list[str],
    live: bool = False,
    exact: bool = False,
    identity: str | None = None,
) -> None:
    """Prove backups: hold each against its manifest, load it, and check it.

    Exits with 1 or 2 where anything is wrong; the ledger is not touched. Of
    several, all are looked at, and those that are not sound are told.

    JSON: file, rows, version (the last migration's name), manifest (whether
    there is one), verified (whether it was ever compared with its ledger, and
    is what it was then), equal_to (cell by cell), same_checksums_as, one_moment
    (null without a manifest), violations (rows that refer to nothing),
    seconds. Of several: files, an array of such, and seconds.
    """
    if not file:
        raise Refused("No backup is named.", "Name one, or several: `inv db.verify backups/*.sql`.")
    paths = [Path(name).expanduser().absolute() for name in file]
    documents: list[dict[str, Any]] = []
    wrong: list[HooxError] = []
    for path in paths:
        try:
            text, document = _verify(command, path, live=live, exact=exact, identity=identity)
        except (Refused, HooxError) as error:
            if len(paths) == 1 or isinstance(error, RemoteError):
                raise
            wrong.append(error)
            terminal.note(str(error))
            continue
        documents.append(document)
        if len(paths) > 1:
            command.say(text)
    if len(paths) == 1:
        command.done(text, **document)
        return
    if wrong:
        kind = Refused if all(isinstance(error, Refused) for error in wrong) else HooxError
        raise kind(
            f"{len(wrong):,} of {len(paths):,} backups are not sound: what is said of each above.",
            "Do not rely on them.",
        )
    proven = all(document["verified"] for document in documents)
    end = "verified" if proven else "not all were ever compared with their ledger; loaded"
    command.done(f"All {len(paths):,} backups are sound; {end}", files=documents)


def _verify(
    command: Command, path: Path, *, live: bool, exact: bool, identity: str | None
) -> tuple[str, dict[str, Any]]:
    """Prove a backup; returns what there is to say of it, for people and for programs."""
    with terminal.progress("Verifying") as progress:
        key = identity_file(identity)
        checked = backups.checked(path, command.known_migrations, identity=key, progress=progress)
        with checked as backup:
            equal, similar = [], ""
            proven = backup.manifest is not None and backup.manifest.verified
            if backup.manifest:
                equal.append("its manifest" if proven else "the digest in its manifest")
            if live or exact or command.settings.remote:
                with command.ledger() as database:
                    backups.compare_with(backup, database, exact=exact)
                    if exact:
                        equal.append(database.label)
                    else:
                        similar = database.label
                proven = True
            for reservation in backup.reservations:
                terminal.note(reservation)
            found = [f"equal to {' and '.join(equal)}"] if equal else []
            found += [f"same rows and checksums as {similar}"] if similar else []
            rows = command.rows(backup.scratch.counts)
            # Of an export with --no-verify it is known that it is what was written, and no more.
            end = "verified" if proven else "never compared with its ledger; loaded"
            text = (
                f"{command.shown(path)} is sound: {terminal.count(rows, 'row')},"
                f" schema {backup.version or 'without history'}, "
                + ("; ".join([*found, end]) if found else "no manifest to compare it with; loaded")
            )
            return text, {
                "file": str(path),
                "rows": rows,
                "version": backup.version,
                "manifest": backup.manifest is not None,
                "verified": proven,
                "equal_to": " and ".join(equal),
                "same_checksums_as": similar,
                "one_moment": backup.manifest.one_moment if backup.manifest else None,
                "violations": backup.scratch.violations,
            }


@ledger_task(
    {
        "prune": "Remove what --keep and --days leave over; the last verified one of each ledger stays.",
        "keep": "With --prune, keep this many of the newest of each ledger.",
        "days": "With --prune, keep those that are younger than this.",
    },
    name="backups",
    without=("path", "database", "remote", "preview"),
)
def list_backups(
    command: Command, prune: bool = False, keep: int | None = None, days: int | None = None
) -> None:
    """List the backups in backups/, the newest first.

    Whether they are still what they were is proven by `inv db.verify`.

    JSON: an array of {path, taken, bytes, source, version, verified (when it
    was written, and of that size still), one_moment}; with --prune: removed [path], seconds.
    """
    folder = command.settings.backups_dir
    if not prune and (keep is not None or days is not None):
        raise Refused("--keep and --days only say what --prune removes.", "Give --prune as well.")
    if prune:
        if keep is None and days is None:
            raise Refused("--prune needs to know what to keep.", "Give --keep or --days.")
        keep = None if keep is None else _at_least_one("keep", keep)
        days = None if days is None else _at_least_one("days", days)
        removed = _prune(command, folder, keep=keep, days=days)
        unknown = sum(1 for backup in backups.find(folder) if backup.manifest and not backup.identity)
        if unknown:
            terminal.note(
                f"{terminal.count(unknown, 'backup')} cannot be told to be of a certain ledger: written by an"
                " older version, changed since, or a link. They stay; remove them by hand."
            )
        did = "Would remove" if command.dry else "Removed"
        command.done(f"{did} {terminal.count(len(removed), 'backup')} from {folder}", removed=removed)
        return
    found = backups.find(folder)
    for backup in found:
        if backup.problem:
            terminal.note(backup.problem)
    now = datetime.now(UTC)
    if command.json:
        command.print(
            [
                {
                    "path": str(backup.path),
                    "taken": backup.taken.isoformat(timespec="seconds"),
                    "bytes": backup.bytes,
                    "source": backup.manifest.source if backup.manifest else None,
                    "version": backup.manifest.schema_version if backup.manifest else None,
                    "verified": backup.verified,
                    "one_moment": backup.manifest.one_moment if backup.manifest else None,
                }
                for backup in found
            ]
        )
        return
    rows = [
        (
            backup.path.name,
            terminal.age((now - backup.taken).total_seconds()),
            backup.bytes,
            backup.manifest.source if backup.manifest else "-",
            (backup.manifest.schema_version or "-") if backup.manifest else "-",
            _proof(backup),
        )
        for backup in found
    ]
    print_table(("backup", "age", "bytes", "source", "schema", "verified"), rows, sys.stdout)
    terminal.note(f"{terminal.count(len(found), 'backup')} in {command.shown(folder)}")


def _prune(
    command: Command,
    folder: Path,
    *,
    identity: str | None = None,
    keep: int | None = None,
    days: int | None = None,
    spare: Sequence[Path] = (),
) -> list[str]:
    surplus = backups.surplus(backups.find(folder), identity=identity, keep=keep, days=days, spare=spare)
    if not command.dry:
        backups.remove(surplus)
        if surplus:
            command.did(f"removed {terminal.count(len(surplus), 'backup')}")
    for backup in surplus:
        command.say(f"{'Would remove' if command.dry else 'Removed'} {backup.path.name}")
    return [str(backup.path) for backup in surplus]


def _proof(backup: backups.Backup) -> str:
    if backup.manifest and not backup.manifest.one_moment:
        return "not one moment"
    if backup.verified:
        return "when written"
    return "in part" if backup.manifest and backup.manifest.verified and not backup.manifest.whole else "no"


def _at_least_one(flag: str, number: int) -> int:
    try:
        number = int(number)
    except ValueError:
        number = 0
    if number < 1:
        raise Refused(f"--{flag} needs a whole number above 0.", f"For example --{flag} 30.")
    return number
