"""Migrations that ran under another name, where no checksum tells it.

Wrangler's history has none, and a file may have been renamed and edited.

A file that is pending and a recorded name whose file is gone may be one migration. What the file would make
is compared with what is there; where it makes only rows, its name has to tell. Running one again would double
its rows, so in doubt the advice begins with recording it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.errors import Refused
from hoox_tasks.migrations.files import EMPTY, Migration, order, same_name
from hoox_tasks.migrations.history import (
    Entry,
    State,
    Status,
    as_edited,
    as_renamed,
    mark_command,
    own_tables,
)
from hoox_tasks.migrations.model import facts, lacking, what_is_made

_PASSES_OVER = re.compile(r"\bIF\s+NOT\s+EXISTS\b", re.IGNORECASE)
_WRITES = re.compile(r"\b(?:INSERT|REPLACE|UPDATE|DELETE)\b", re.IGNORECASE)
_NUMBER = re.compile(r"[\d\W_]*")


def recognised(current: Status, migrations: Sequence[Migration], table: str, *, strict: bool) -> Status:
    """Give a status in which pending files are renamed ones where all speaks for it."""
    missing = current.named(State.MISSING)
    files = {migration.name: migration for migration in migrations}
    waiting = current.named(State.PENDING, State.OUT_OF_ORDER)
    pending = [entry for entry in waiting if files[entry.name].refusal is None]
    if not missing or not pending:
        return current
    made = what_is_made(migrations, current, [entry.name for entry in pending], table=table, strict=strict)
    with closing(EmptyLedger(current.schema, strict=False)) as actual:
        here = facts(actual, {name.lower() for name in own_tables(table)})
    known = {same_name(name): text for name, text in (current.checksums or {}).items()}
    tables = {fact[1] for fact in here if fact[0] == "table"}
    changed: dict[str, Entry] = {}
    left = list(missing)
    open_: list[str] = []
    for entry in pending:
        found = made[entry.name]
        tells = bool(found.made or found.gone)
        there = tells and found.made <= here and not found.gone & here
        namesake = _namesake(entry.name, left, known)
        absent = tells and not found.made & here
        if absent and not (namesake and found.touched & tables):
            continue  # It did not run: what it makes is not there.
        # Of what was applied by ourselves the content is known, and it is another.
        if namesake is not None and (absent or same_name(namesake.name) in known):
            left.remove(namesake)
            changed[entry.name] = as_edited(entry.name, namesake.name, namesake.applied_at)
            continue
        if tells and not there:
            open_.append(entry.name)
            continue
        former = namesake or _foreign(left, known, certain=there)
        if former is not None:
            left.remove(former)
            changed[entry.name] = as_renamed(entry.name, former.name, former.applied_at)
        elif not files[entry.name].is_empty:
            open_.append(entry.name)
    gone = {former.name for former in missing if former not in left}
    formers: list[str] = []
    for entry in left:
        if open_:
            ways = " or ".join(f"`{mark_command(name)}`" for name in open_)
            advice = f"If it has another name now, record that one with {ways}. Otherwise: {entry.advice}"
            changed[entry.name] = replace(entry, advice=advice)
            formers.append(entry.name)
    for entry in pending:
        if formers and entry.name in open_:
            advice = f"If it ran as {' or '.join(formers)}, record it with `{mark_command(entry.name)}`."
            changed[entry.name] = replace(entry, advice=f"{advice} Otherwise: {entry.advice}")
    entries = [changed.get(entry.name, entry) for entry in current.entries if entry.name not in gone]
    return replace(current, entries=tuple(sorted(entries, key=lambda entry: order(entry.name))))


def refuse_done(
    current: Status,
    migrations: Sequence[Migration],
    pending: Sequence[Migration],
    table: str,
    *,
    strict: bool,
) -> None:
    """Raise `Refused` where all that a pending migration makes is there, and it would write its rows again.

    A ledger may have a history, and more besides that somebody did by hand. A file that says IF NOT EXISTS
    passes over the table, and not over the rows.
    """
    suspects = [
        migration.name
        for migration in pending
        if _PASSES_OVER.search(migration.text) and _WRITES.search(migration.text)
    ]
    if not suspects or not any(item.name not in own_tables(table) for item in current.schema):
        return
    found = what_is_made(migrations, current, suspects, table=table, strict=strict)
    for name, made in found.items():
        if made.made and made.touched and not lacking(made, current.schema, table):
            raise Refused(
                f"All that {name} makes is there already, so what it writes may be as well; nothing was"
                " applied.",
                f"Record it with `{mark_command(name)}`; where its rows are not there or not changed, write"
                " that as a new migration.",
            )


def _namesake(name: str, missing: Sequence[Entry], known: Mapping[str, str]) -> Entry | None:
    """Give the recorded name that has a file's words, but for one that held no statement."""
    return next(
        (
            entry
            for entry in missing
            if _words(entry.name) == _words(name) and known.get(same_name(entry.name)) != EMPTY
        ),
        None,
    )


def _foreign(missing: Sequence[Entry], known: Collection[str], *, certain: bool) -> Entry | None:
    """Give the one recorded name of which no content is known, where it is certain that a file ran."""
    foreign = [entry for entry in missing if same_name(entry.name) not in known]
    return foreign[0] if certain and len(foreign) == 1 else None


def _words(name: str) -> str:
    """Give a name without its number or date."""
    return _NUMBER.sub("", same_name(name).removesuffix(".sql"), count=1).lower()
