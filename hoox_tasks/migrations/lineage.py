"""What a migration does to the tables that were there before it, as seen on an empty ledger.

SQLite's authorizer tells of every statement which tables and columns it reads and writes, triggers included.
From that follows where the rows of a table may be afterwards: in the same table, under another name, or in
tables that were filled from it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from hoox_tasks import sql
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import Statement
from hoox_tasks.migrations.tables import (
    REPLACES,
    Reference,
    Stored,
    read_tables,
    replaced_tables,
    table_names,
)

_WRITES = frozenset(
    {
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_UPDATE,
        sqlite3.SQLITE_DELETE,
        sqlite3.SQLITE_DROP_TABLE,
        sqlite3.SQLITE_CREATE_TRIGGER,
    }
)


@dataclass(frozen=True, slots=True)
class Home:
    """A table that may hold rows of a former one afterwards.

    `same` is true where it is the very table, whatever its name. `columns` gives for a former column the one
    that has its values now; `others` are the columns besides. `key` pairs former and present columns by which
    a row is found again; empty where no key was kept. `made` says that the migration made it. `marker` is a
    column that is never NULL in it; empty where it has none. `rowids` pairs the former and the present rowid
    of rows whose key holds a NULL; None where no key does, or these rows have no rowid that was kept.
    """

    table: str
    same: bool
    made: bool
    columns: dict[str, str]
    others: tuple[str, ...]
    key: tuple[tuple[str, str], ...]
    marker: str
    rowids: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Fate:
    """What may become of a table's rows, where a migration writes, drops or replaces the table.

    `homes` are the tables that may hold them afterwards, the first the one that should. `updated` are the
    columns that statements set; `replaced` says that INSERT OR REPLACE may have overwritten rows;
    `rewritten` that rows were removed and others put in; `cascading` that foreign keys may have changed or
    removed some. `allowed` names the former tables whose
    rows together may fill the first home, where that was made anew; None where it may hold more.
    """

    table: Stored
    homes: tuple[Home, ...]
    updated: frozenset[str]
    replaced: bool
    rewritten: bool
    cascading: bool
    allowed: frozenset[str] | None


@dataclass(slots=True)
class _Events:
    """What one statement did, by the authorizer."""

    selects: bool = False
    reads: set[str] = field(default_factory=set)
    creates: set[str] = field(default_factory=set)
    inserts: set[str] = field(default_factory=set)
    deletes: set[str] = field(default_factory=set)
    updates: set[tuple[str, str]] = field(default_factory=set)
    drops: set[str] = field(default_factory=set)
    alters: set[str] = field(default_factory=set)


class Lineage:
    """Follows the tables of an empty ledger while a migration runs on it.

    Names are compared as SQLite does, without regard to capitals.
    """

    def __init__(self, ledger: EmptyLedger, own: Collection[str]) -> None:
        """`own` are tables of the tools, which are not followed."""
        self._ledger = ledger
        self._asking = False
        self._events = _Events()
        skipped = {name.lower() for name in own}
        self.meddled: set[str] = set()
        """Those of `own` that were written or dropped all the same."""
        self.before = {name: table for name, table in read_tables(ledger).items() if name not in skipped}
        """The tables that were there, by their names in small letters."""
        self._skipped = skipped
        self._there = set(self.before)
        # What each former table is called now, and which of its columns each is called now.
        self._now: dict[str, str | None] = {name: name for name in self.before}
        self._columns = {name: {c: c for c in table.columns} for name, table in self.before.items()}
        self._present = {name: table.names for name, table in self.before.items()}
        # By present name: from which former tables it holds rows, and what was done to it.
        self._origins = {name: {name} for name in self.before}
        self._filled: set[str] = set()
        self._seeded: set[str] = set()
        self._deleted: set[str] = set()
        self._replaced: set[str] = set()
        self._updated: set[tuple[str, str]] = set()
        self._dropped_columns: dict[str, list[str]] = {}
        self._conflicting = replaced_tables(ledger)

    def follow(self, unit: Sequence[Statement]) -> None:
        """Run a migration's statements on the empty ledger, and note what they do."""
        steps = self._ledger.steps(unit, self._acted)
        for statement in unit:
            next(steps)
            self._ran(statement.sql)
        for _ in steps:  # The transaction ends.
            pass

    # ------------------------------------------------------------------------------- noted while it runs

    def _acted(self, action: int, first: str | None, second: str | None) -> None:
        """Take note of an action of the statement that is being compiled."""
        if self._asking:
            return
        events, name = self._events, (first or "").lower()
        if action in _WRITES and (name in self._skipped or (second or "").lower() in self._skipped):
            self.meddled.add(first or "")
        if action == sqlite3.SQLITE_READ:
            events.reads.add(name)
        elif action == sqlite3.SQLITE_SELECT:
            events.selects = True
        elif action in (sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_VTABLE):
            events.creates.add(name)
        elif action == sqlite3.SQLITE_INSERT:
            events.inserts.add(name)
        elif action == sqlite3.SQLITE_DELETE:
            events.deletes.add(name)
        elif action == sqlite3.SQLITE_UPDATE:
            events.updates.add((name, (second or "").lower()))
        elif action in (sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_DROP_VTABLE):
            events.drops.add(name)
        elif action == sqlite3.SQLITE_ALTER_TABLE and second:
            events.alters.add(second.lower())

    def _ran(self, statement: str) -> None:
        """Take note of what the statement that has just run made of the tables."""
        events, self._events = self._events, _Events()
        if events.selects:
            events.inserts |= events.creates  # CREATE TABLE ... AS SELECT
        self._asking = True
        try:
            self._wrote(statement, events)
            if events.creates or events.drops or events.alters:
                self._follow(events)
        finally:
            self._asking = False

    def _wrote(self, statement: str, events: _Events) -> None:
        reads = events.reads
        if events.inserts and not reads & self._origins.keys():
            reads = reads | self._copied(statement)
        read = {origin for name in reads for origin in self._origins.get(name, ())}
        replaces = REPLACES.search(statement) is not None
        for name in events.inserts:
            if name.startswith("sqlite_"):
                continue
            self._filled.add(name)
            self._origins.setdefault(name, set()).update(read)
            if not read:
                self._seeded.add(name)
            if replaces or name in self._conflicting:
                self._replaced.add(name)
        for name, column in events.updates:
            self._updated.add((name, column))
            if replaces:
                self._replaced.add(name)
        self._deleted |= events.deletes

    def _copied(self, statement: str) -> set[str]:
        """Give the tables that stand behind SELECT: of a whole table that is copied SQLite tells nothing."""
        words = [sql.unquote_name(token.text).lower() for token in sql.tokens(statement)]
        behind = words[words.index("select") :] if "select" in words else []
        return set(behind) & self._there

    def _follow(self, events: _Events) -> None:
        """Note which table a statement dropped, made or renamed, and what it did to a table's columns."""
        now = {name.lower() for name in table_names(self._ledger)} - self._skipped
        vanished, appeared = self._there - now, now - self._there
        self._there = now
        if vanished and appeared:
            self._rename(vanished.pop(), appeared.pop())
        for name in vanished:
            self._origins.pop(name, None)
            for former, last in self._now.items():
                if last == name:
                    self._now[former] = None
        for name in appeared:
            self._origins.setdefault(name, set())
        for name in events.alters & now:
            self._altered(name)

    def _rename(self, old: str, new: str) -> None:
        self._origins[new] = self._origins.pop(old, set())
        for former, last in self._now.items():
            if last == old:
                self._now[former] = new
        for names in (self._filled, self._seeded, self._deleted, self._replaced):
            if old in names:
                names.discard(old)
                names.add(new)
        self._updated = {(new if name == old else name, column) for name, column in self._updated}

    def _altered(self, name: str) -> None:
        """Note that ALTER TABLE renamed or dropped a column of a former table."""
        former = next((former for former, last in self._now.items() if last == name), None)
        if former is None:
            return
        before, after = self._present[former], read_tables(self._ledger, name)[name].names
        self._present[former] = after
        columns = self._columns[former]
        if len(before) == len(after):
            renamed = {old: new for old, new in zip(before, after, strict=True) if old != new}
            self._columns[former] = {mine: renamed.get(last, last) for mine, last in columns.items()}
            self._updated = {
                (table, _renamed(renamed, column) if table == name else column)
                for table, column in self._updated
            }
        elif len(after) < len(before):
            gone = set(before) - set(after)
            lost = [mine for mine, last in columns.items() if last in gone]
            self._dropped_columns.setdefault(former, []).extend(lost)
            self._columns[former] = {mine: last for mine, last in columns.items() if last not in gone}

    # ------------------------------------------------------------------------------- asked afterwards

    @property
    def dropped_columns(self) -> list[tuple[Stored, str]]:
        """The columns that ALTER TABLE dropped from tables that were there."""
        return [
            (self.before[name], column)
            for name, columns in self._dropped_columns.items()
            for column in columns
        ]

    @property
    def made(self) -> list[str]:
        """The tables that the migration made and that are still there, by name."""
        kept = {last for last in self._now.values() if last is not None}
        return sorted(name for name in self._there if name not in kept)

    @property
    def survivors(self) -> list[tuple[Stored, str]]:
        """The tables that were there and are still, each with its present name."""
        return [(self.before[former], last) for former, last in self._now.items() if last is not None]

    @property
    def filled(self) -> list[tuple[Stored, str]]:
        """The tables that were there, are still, and got rows; each with its present name."""
        return [(table, last) for table, last in self.survivors if last in self._filled and not table.virtual]

    @property
    def filled_names(self) -> set[str]:
        """The present names of tables that got rows, whoever made them."""
        return self._filled & self._there

    @property
    def touched_names(self) -> set[str]:
        """The present names of tables whose rows were written."""
        updated = {name for name, _ in self._updated}
        return (self._filled | self._deleted | updated | self._replaced) & self._there

    def origins(self, name: str) -> frozenset[str]:
        """The former tables (small letters), besides itself, out of whose rows a table's may be made."""
        former = {former for former, last in self._now.items() if last == name}
        return frozenset(self._origins.get(name, set()) - former)

    def holds_rows(self, name: str) -> bool:
        """Whether rows were put into a table that the migration made."""
        return name in self._filled

    def fates(self) -> list[Fate]:
        """Give every table whose rows the migration may have removed or changed."""
        changed = {name for name, _ in self._updated}
        removed, written = set(), set()
        for former, last in self._now.items():
            if last is None or last in self._deleted | self._replaced or self._made_anew(former):
                removed.add(former)
            elif last in changed:
                written.add(former)
        reached = self._cascade(removed, written)
        touched = removed | written | reached
        return [self._fate(self.before[former], former in reached) for former in sorted(touched)]

    def _made_anew(self, former: str) -> bool:
        """Whether another table has the name of a former one, which was renamed or dropped."""
        return former in self._there and self._now[former] != former

    def _cascade(self, removed: Collection[str], written: Collection[str]) -> set[str]:
        """Give the tables that foreign keys may have changed, as rows or keys of their parents changed."""

        def follows(reference: Reference) -> bool:
            parent = reference.parent.lower()
            if parent in gone:
                return True
            if parent not in written:
                return False
            keys = {reference.target} if reference.target else set(self.before[parent].key)
            place = self._now[parent]
            return any((place, self._columns[parent].get(key, key).lower()) in self._updated for key in keys)

        reached: set[str] = set()
        gone = set(removed)
        while True:
            following = {
                name
                for name, table in self.before.items()
                if name not in reached and any(follows(reference) for reference in table.references)
            }
            if not following:
                return reached
            reached |= following
            gone |= following

    def _fate(self, table: Stored, cascading: bool) -> Fate:
        former = table.name.lower()
        last = self._now[former]
        namesake = former if former in self._there else None
        homes: list[str] = []
        if namesake is not None and namesake != last:
            homes.append(namesake)  # It was made anew under the old name: there the rows should be.
        elif last is not None:
            homes.append(last)
        if last not in homes or cascading or last in self._deleted | self._replaced:
            homes += sorted(
                name for name in self._there - {last, *homes} if former in self._origins.get(name, ())
            )
        rewritten = last in homes[:1] and last in self._filled and (cascading or last in self._deleted)
        found = tuple(self._home(table, name, rewritten) for name in homes)
        updated = set()
        for home in found:
            mine = {now.lower(): column for column, now in home.columns.items()}
            updated |= {
                mine[column] for name, column in self._updated if name == home.table and column in mine
            }
        own = {column.lower(): column for column in table.columns}
        if last is None or (found and not found[0].same):
            # What was set before the rows were copied away from it.
            updated |= {own[c] for name, c in self._updated if name in {former, last} and c in own}
        return Fate(
            table,
            found,
            frozenset(updated),
            any(home.table in self._replaced for home in found),
            rewritten,
            cascading,
            self._allowed(found[0]) if found else None,
        )

    def _allowed(self, home: Home) -> frozenset[str] | None:
        """Give the former tables whose rows a table made anew may hold; None where others were put in."""
        if home.same or not home.made or home.table in self._seeded:
            return None
        gone = {
            former
            for former in self._origins.get(home.table, ())
            if self._now[former] is None or self._made_anew(former)
        }
        return frozenset(self.before[former].name for former in gone)

    def _home(self, table: Stored, name: str, rewritten: bool) -> Home:
        former = table.name.lower()
        same = self._now[former] == name
        present = read_tables(self._ledger, name)[name]
        by_name = {column.lower(): column for column in present.names}
        if same:
            columns = dict(self._columns[former])
        else:
            columns = {c: by_name[c.lower()] for c in table.columns if c.lower() in by_name}
        taken = set(columns.values())
        others = tuple(column for column in present.columns if column not in taken)
        key: tuple[tuple[str, str], ...] = ()
        set_by_hand = {column for place, column in self._updated if place == name}
        moved = any(columns.get(column, column).lower() in set_by_hand for column in table.key)
        # A new row may get the rowid of one that is gone.
        by_rowid = bool(same and not rewritten and table.rowid and present.rowid)
        if table.key and all(column in columns for column in table.key) and not (moved and by_rowid):
            key = tuple((column, columns[column]) for column in table.key)
        elif by_rowid:
            key = ((table.rowid, present.rowid),)
        marker = present.rowid or (present.key[0] if present.key else "")
        made = name not in self._now.values()
        rowids = (table.rowid, present.rowid) if table.nullable and by_rowid else None
        return Home(name, same, made, columns, others, key, marker, rowids)


def _renamed(renamed: dict[str, str], column: str) -> str:
    """Give what a column that is told in small letters is called after a renaming, in small letters."""
    return {old.lower(): new.lower() for old, new in renamed.items()}.get(column, column)
