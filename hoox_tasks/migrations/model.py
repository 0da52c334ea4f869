"""An empty ledger on which migrations are tried before they touch a real one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from hoox_tasks import sql
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import SchemaObject, Statement


class Model(EmptyLedger):
    """An empty ledger with a given schema, on which a migration is tried before it is sent.

    `after` are the schema's objects when it has run; `lineage` says what each table is called afterwards
    (None where it was dropped), following ALTER TABLE ... RENAME.
    """

    def __init__(self, schema: Iterable[SchemaObject], *, strict: bool = True) -> None:
        super().__init__(schema, strict=strict)
        self.after = self.schema()
        self.lineage: dict[str, str | None] = {name: name for name in self.tables()}
        self.checks_keys = self._has_foreign_keys()
        self.keys = self._key_columns()

    def run_pieces(self, pieces: Iterable[sql.Piece]) -> None:
        """Run a migration's statements; raises `StatementError`, whose `index` is the piece's place."""
        self.run(Statement(piece.sql) for piece in pieces)

    def run(self, unit: Iterable[Statement]) -> None:
        """Run statements as an `EmptyLedger` does, and follow what becomes of the tables."""
        before = self.tables()
        for _ in self.steps(unit):
            self._follow(before)
            before = self.tables()
        self.after = self.schema()
        self.checks_keys = self.checks_keys or self._has_foreign_keys()

    def _follow(self, before: list[str]) -> None:
        """Note what a statement made of the tables; it drops, makes or renames one of them."""
        now = self.tables()
        vanished = set(before) - set(now)
        appeared = next(iter(set(now) - set(before)), None)
        for former, last in self.lineage.items():
            if last in vanished:
                self.lineage[former] = appeared

    def _has_foreign_keys(self) -> bool:
        """Tell whether there are foreign keys that SQLite can check."""
        keys = any(self.parents().values())
        if keys:
            try:
                self.connection.execute("PRAGMA foreign_key_check").fetchall()
            except sqlite3.Error:  # A key that refers to something that cannot be referred to.
                return False
        return keys

    def _key_columns(self) -> list[tuple[str, str, str | None]]:
        """Give (table, column, default) of every foreign key column; the default for SET DEFAULT only."""
        found = []
        for table in self.tables():
            quoted = sql.quote_name(table)
            defaults = {row[1]: row[4] for row in self.connection.execute(f"PRAGMA table_xinfo({quoted})")}
            for row in self.connection.execute(f"PRAGMA foreign_key_list({quoted})").fetchall():
                column, actions = row[3], row[5:7]
                found.append((table, column, defaults.get(column) if "SET DEFAULT" in actions else None))
        return sorted(set(found), key=str)
