"""What D1 allows, enforced on a local SQLite connection, so that what works here works there.

D1 is SQLite behind a gate: limits on a statement's size and shape, and an authorizer that lets through
a list of functions, pragmas and kinds of statements. `enforce` puts the same gate in front of a
connection of the standard library's `sqlite3`; with `read_only` it lets through nothing that changes
the ledger. `explain_error` turns an error of `sqlite3` into the words in which D1 would say it.

The lists and limits are those of workerd, the engine that D1 runs on (`src/workerd/util/sqlite.c++` in
github.com/cloudflare/workerd), and the limits page of D1's documentation
(https://developers.cloudflare.com/d1/platform/limits/). `tests/engine/test_rules.py` asks a real engine,
workerd 1.20261005.1 with SQLite 3.53.4, about each of them. It was seen there that

- a function that D1 withholds is "not authorized", one that its build lacks "no such function";
- a constraint's message ends with SQLite's extended code, in parentheses after the primary one;
- ALTER TABLE, FTS5 and R*Tree run statements of their own past the authorizer, all within its lists;
- engines before the summer of 2026 still refused R*Tree and `PRAGMA page_size`, and allowed `_CF_` in
  capitals and renaming into `_cf_`; they had SQLite 3.47;
- foreign keys are on from the start; that is for whoever opens the connection, not for these rules.
"""

# ruff: noqa: SIM905  (lists of names read better as lines of words)

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from hoox_tasks.rules.functions import FUNCTIONS, WITHHELD, supply_functions
from hoox_tasks.rules.limits import LIMITS, NO_LIMIT

# ---------------------------------------------------------------------------------- tables and modules

_ABSENT_TABLES: Final = frozenset({"dbstat", "sqlite_dbpage", "sqlite_stmt"})
"""Tables of insight that many builds of SQLite offer by themselves, and D1's does not."""

_MODULES: Final = frozenset({"fts5", "fts5vocab", "rtree", "rtree_i32"})

# --------------------------------------------------------------------------------------------- pragmas

_BOOLEAN_PRAGMAS: Final = frozenset(
    """
    case_sensitive_like foreign_keys defer_foreign_keys ignore_check_constraints legacy_alter_table
    recursive_triggers reverse_unordered_selects
    """.split()
)
_NAME_PRAGMAS: Final = frozenset(
    "table_info table_xinfo foreign_key_list index_info index_list index_xinfo".split()
)
_BOOLEAN: Final = r"(?i)['\"]?(true|false|yes|no|on|off|1|0)"
_NUMBER: Final = r"(?i)[+-]?(0x[0-9a-f]+|\d+)"

# What can be asked of a ledger that must not change. The first are harmless whatever their argument, a
# name or a number; the others only read while they have no argument.
_ASKING_PRAGMAS: Final = _NAME_PRAGMAS | frozenset(
    """
    table_list foreign_key_check quick_check integrity_check database_list collation_list function_list
    module_list pragma_list compile_options data_version page_count freelist_count
    """.split()
)
_READABLE_PRAGMAS: Final = _BOOLEAN_PRAGMAS | frozenset(
    """
    application_id auto_vacuum busy_timeout cache_size encoding journal_mode max_page_count mmap_size
    page_size query_only schema_version secure_delete synchronous temp_store user_version
    wal_autocheckpoint writable_schema
    """.split()
)

# ------------------------------------------------------------------------------------------ authorizer

_TRANSACTION_REFUSED: Final = (
    "To execute a transaction, please use the state.storage.transaction() or "
    "state.storage.transactionSync() APIs instead of the SQL BEGIN TRANSACTION or SAVEPOINT statements. "
    "The JavaScript API is safer because it will automatically roll back on exceptions, and because it "
    "interacts correctly with Durable Objects' automatic atomic write coalescing."
)
_NOT_AUTHORIZED: Final = "not authorized"

_SCHEMA_TABLES: Final = frozenset(
    {"sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema"}
)
_READING: Final = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
_NAMED: Final = frozenset(
    {
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_CREATE_VIEW,
        sqlite3.SQLITE_DELETE,
        sqlite3.SQLITE_DROP_TABLE,
        sqlite3.SQLITE_DROP_VIEW,
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_REINDEX,
        sqlite3.SQLITE_UPDATE,
    }
)
_TWICE_NAMED: Final = frozenset(
    {
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_CREATE_TRIGGER,
        sqlite3.SQLITE_DROP_INDEX,
        sqlite3.SQLITE_DROP_TRIGGER,
    }
)
_TRANSACTIONS: Final = frozenset({sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT})

_WOULD: Final = {
    sqlite3.SQLITE_INSERT: "insert into {0}",
    sqlite3.SQLITE_UPDATE: "update {0}",
    sqlite3.SQLITE_DELETE: "delete from {0}",
    sqlite3.SQLITE_ALTER_TABLE: "alter table {1}",
    sqlite3.SQLITE_ANALYZE: "analyze {0}",
    sqlite3.SQLITE_REINDEX: "rebuild the index {0}",
    sqlite3.SQLITE_ATTACH: "attach a database",
    sqlite3.SQLITE_DETACH: "detach a database",
    sqlite3.SQLITE_TRANSACTION: "control a transaction",
    sqlite3.SQLITE_SAVEPOINT: "control a transaction",
    sqlite3.SQLITE_PRAGMA: "set or run the pragma {0}",
    sqlite3.SQLITE_FUNCTION: "call {1}",
}


class Denial(NamedTuple):
    """Why a statement was refused.

    `read_only` says which rule refused it. If true, `words` goes on after "because": `it would delete
    from trades`. Otherwise `words` is what D1 says, without SQLite's code at its end. `never` says that D1
    lets nobody do it, so that leave to write does not help.
    """

    words: str
    read_only: bool
    never: bool = False


class Authorizer:
    """The gate in front of one connection: SQLite asks it about every action of every statement.

    `denied` is the reason of the last refusal, None when there was none since `explain_error` took it.
    """

    def __init__(
        self, connection: sqlite3.Connection, *, read_only: bool, strict: bool, allow_transactions: bool
    ) -> None:
        self.denied: Denial | None = None
        self._connection = connection
        self._read_only = read_only
        self._strict = strict
        self._allow_transactions = allow_transactions
        self._trusting = 0

    @contextmanager
    def trusted(self) -> Iterator[None]:
        """Let everything through for statements of our own, such as BEGIN and COMMIT.

        D1's limits stay. Leaving it makes SQLite compile again what was compiled inside: Python keeps
        compiled statements by their text, and would otherwise run a user's COMMIT unasked after ours.
        """
        self._trusting += 1
        try:
            yield
        finally:
            self._trusting -= 1
            self._connection.set_authorizer(self)

    def __call__(
        self, action: int, first: str | None, second: str | None, database: str | None, trigger: str | None
    ) -> int:
        """Answer SQLite's question: SQLITE_OK or SQLITE_DENY (https://sqlite.org/c3ref/set_authorizer.html)."""
        if self._trusting:
            return sqlite3.SQLITE_OK
        if action in _TRANSACTIONS and self._allow_transactions:
            return sqlite3.SQLITE_OK
        denial = None
        if self._read_only and not _only_reads(action, first, second):
            # Of functions only load_extension comes here, which D1's engine is built without.
            refused = _refused(action, first, second, database) is not None
            never = self._strict and (refused or action == sqlite3.SQLITE_FUNCTION)
            denial = Denial(_would(action, first, second), read_only=True, never=never)
        elif self._strict and (words := _refused(action, first, second, database)) is not None:
            denial = Denial(words, read_only=False)
        if denial is None:
            return sqlite3.SQLITE_OK
        self.denied = denial
        return sqlite3.SQLITE_DENY


def enforce(
    connection: sqlite3.Connection, *, read_only: bool, strict: bool = True, allow_transactions: bool = False
) -> Authorizer:
    """Put D1's rules in front of a connection; returns the gate, which remembers why it refused.

    `read_only` lets through only what cannot change the database. `strict` is for D1's limits and its
    authorizer; without it only `read_only` holds. Functions that D1's SQLite has and this machine's older one
    lacks are supplied. `allow_transactions` lets BEGIN, COMMIT and savepoints through, which D1 refuses.
    The connection must be of the standard library's `sqlite3`, and open in no transaction.
    """
    authorizer = Authorizer(
        connection, read_only=read_only, strict=strict, allow_transactions=allow_transactions
    )
    supply_functions(connection)
    if strict:
        for limit, value in LIMITS.items():
            connection.setlimit(limit, value)
        _configure(connection, True)
    connection.set_authorizer(authorizer)
    return authorizer


def lift(connection: sqlite3.Connection) -> None:
    """Take the gate away again: no authorizer, and SQLite's own limits.

    Functions that `enforce` supplied stay: an index or a view made meanwhile may use them.
    """
    connection.set_authorizer(None)
    for limit in LIMITS:
        connection.setlimit(limit, NO_LIMIT)
    _configure(connection, False)


def _configure(connection: sqlite3.Connection, defensive: bool) -> None:
    """D1 keeps the tables inside of an FTS5 table from being written; Python can say so since 3.12."""
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, defensive)


def _only_reads(action: int, first: str | None, second: str | None) -> bool:
    if action in _READING:
        return True
    if action == sqlite3.SQLITE_FUNCTION:
        return (second or "").lower() != "load_extension"
    if action == sqlite3.SQLITE_UPDATE and first == "sqlite_master":
        # Asked when a table-valued pragma function is met for the first time. Nobody can really update it:
        # SQLite refuses that without the pragma writable_schema, which is not let through here.
        return True
    if action == sqlite3.SQLITE_PRAGMA and first is not None:
        name = first.lower()
        return name in _ASKING_PRAGMAS or (second is None and name in _READABLE_PRAGMAS)
    return False


def _would(action: int, first: str | None, second: str | None) -> str:
    if first in _SCHEMA_TABLES or action not in _WOULD:
        return "it would change the schema"
    return f"it would {_WOULD[action].format(first or 'the ledger', second)}"


def _refused(action: int, first: str | None, second: str | None, database: str | None) -> str | None:
    """Why D1 refuses an action, in its words; None where it lets it through."""
    if action in _TRANSACTIONS:
        return _TRANSACTION_REFUSED
    if action in (sqlite3.SQLITE_ALTER_TABLE, sqlite3.SQLITE_DETACH):
        # For these two SQLite passes the database before the table.
        first, second, database = second, None, first
    if database == "temp":
        # ALTER TABLE looks for references in the temporary schema, so reading and updating must pass.
        allowed = action in (sqlite3.SQLITE_READ, sqlite3.SQLITE_UPDATE) and not _reserved(first)
    elif database not in (None, "main"):
        allowed = False
    elif action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_ANALYZE):
        allowed = True
    elif action == sqlite3.SQLITE_READ and first in _ABSENT_TABLES:
        allowed = False
    elif action in _NAMED or action == sqlite3.SQLITE_ALTER_TABLE:
        allowed = not _reserved(first)
    elif action in _TWICE_NAMED:
        allowed = not _reserved(first) and not _reserved(second)
    elif action == sqlite3.SQLITE_FUNCTION:
        # Since 3.54 SQLite names CURRENT_TIMESTAMP and its like in capitals.
        allowed = (second or "").lower() in FUNCTIONS
    elif action == sqlite3.SQLITE_PRAGMA:
        allowed = _pragma_allowed((first or "").lower(), second)
    elif action in (sqlite3.SQLITE_CREATE_VTABLE, sqlite3.SQLITE_DROP_VTABLE):
        allowed = (second or "").lower() in _MODULES and not _reserved(first)
    else:  # ATTACH, DETACH, everything temporary
        allowed = False
    if allowed:
        return None
    if action == sqlite3.SQLITE_FUNCTION:
        return _function_refused(second or "")
    if action == sqlite3.SQLITE_READ and first in _ABSENT_TABLES:
        return f"no such table: {first}"
    if action == sqlite3.SQLITE_READ and second:  # none where rows are only counted
        return f"access to {first}.{second} is prohibited"
    return _NOT_AUTHORIZED


def _function_refused(name: str) -> str:
    return f"{'not authorized to use' if name.lower() in WITHHELD else 'no such'} function: {name}"


def _reserved(name: str | None) -> bool:
    return name is not None and name[:4].lower() == "_cf_"


def _pragma_allowed(name: str, argument: str | None) -> bool:
    if name == "table_list":
        return True
    if name in ("data_version", "page_size"):
        return argument is None
    if name in _BOOLEAN_PRAGMAS:
        return argument is None or re.match(_BOOLEAN, argument) is not None
    if name in _NAME_PRAGMAS:
        return argument is not None and not _reserved(argument)
    if name in ("foreign_key_check", "quick_check"):
        return argument is None or not _reserved(argument)
    if name == "optimize":
        return argument is None or re.fullmatch(_NUMBER, argument) is not None
    return False


# ------------------------------------------------------------------------------------------- statements

_NOTHING: Final = r"(?s)(?:[\s;]++|--[^\n]*+|/\*.*?(?:\*/|\Z))*+\Z"
_BLANK_OR_COMMENT: Final = r"(\s+)(--.*)?"
_RENAME_INTO_RESERVED: Final = r"(?i)\brename\s+to\s+[\"'`\[]?_cf_"


def shape_refusal(sql: str) -> str | None:
    """What D1 says against a text that SQLite itself would let pass; None where D1 has nothing to say.

    These are a text without a statement (nothing but space, comments and semicolons), and a table that
    is renamed to a name that D1 keeps for itself.
    """
    if re.match(_NOTHING, sql):
        if not re.sub(_BLANK_OR_COMMENT, _without_indented, sql).strip():
            return "No SQL statements detected."
        return "SQL code did not contain a statement."
    if "_cf_" in sql.lower() and re.search(_RENAME_INTO_RESERVED, sql):
        return f"{_NOT_AUTHORIZED}: SQLITE_AUTH"
    return None


def _without_indented(match: re.Match[str]) -> str:
    """Leave a comment out if space stands before it on its line, or a blank line."""
    indented = match.start() == 0 or "\n" in match[1][:-1]
    return "" if indented else match[0]
