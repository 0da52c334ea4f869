"""An empty ledger with a remote one's schema, on which statements are tried before they are sent."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress

from hoox_tasks import sql
from hoox_tasks.database.interface import SchemaObject, Statement
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import StatementError
from hoox_tasks.files import scratch_folder
from hoox_tasks.rules.functions import supply_functions
from hoox_tasks.rules.messages import shape_refusal
from hoox_tasks.values import Value

_EXPLAIN = "EXPLAIN "


class EmptyCopy:
    """An empty ledger with the remote one's schema, on which reading statements are compiled."""

    def __init__(self, schema: Iterable[SchemaObject], *, strict: bool) -> None:
        self._stack = ExitStack()
        folder = self._stack.enter_context(scratch_folder())
        self._ledger = LocalDatabase(folder / "model.sqlite", create=True, strict=strict)
        connection = self._ledger.connection
        supply_functions(connection)
        ranks = ("table", "index", "view", "trigger")
        for item in sorted(schema, key=lambda item: ranks.index(item.type)):
            # A virtual table has made its shadow tables already. What this SQLite cannot make is missing.
            with suppress(sqlite3.Error):
                connection.execute(item.sql)

    def check(self, statement: str, params: Sequence[Value]) -> None:
        """Compile a statement; raises `Refused` where it would change anything, else as an engine does."""
        refusal = shape_refusal(statement)
        if refusal is not None:
            raise StatementError(refusal, sql=statement)
        # EXPLAIN compiles and does not run. Its own statements run in no time.
        prefix = "" if sql.first_word(statement) == "EXPLAIN" else _EXPLAIN
        try:
            list(self._ledger.query(prefix + statement, params))
        except StatementError as error:
            offset = None if error.offset is None else max(0, error.offset - len(prefix))
            found = StatementError(error.message, sql=statement, offset=offset, remedy=error.remedy)
        else:
            return
        raise found

    def failure(self, unit: Iterable[Statement]) -> StatementError | None:
        """Run a unit, and give the error of the statement that fails in it."""
        try:
            self._ledger.batch(unit)
        except StatementError as error:
            return error
        return None

    def close(self) -> None:
        """Remove it."""
        self._ledger.close()
        self._stack.close()
