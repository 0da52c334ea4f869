"""The limits of a statement, a value and a result on D1."""

from __future__ import annotations

import sqlite3
from typing import Final

STATEMENT_BYTES: Final = 100_000
"""Longest SQL statement, in bytes of UTF-8; each statement of a batch or import counts alone."""


PARAMETERS: Final = 100
"""Most values that can be bound to one statement."""


COLUMNS: Final = 100
"""Most columns of a table, an index, a result, or a GROUP BY."""


VALUE_BYTES: Final = 2_000_000
"""Longest text, blob or row, in bytes, by D1's documentation. An engine asked on loopback stores 8 MB, but
nobody promises that of production, so here the documented number holds."""


PATTERN_BYTES: Final = 50
"""Longest LIKE or GLOB pattern, in bytes."""


COMPOUND_SELECTS: Final = 5
"""Most SELECTs joined by UNION, INTERSECT and EXCEPT. Rows of VALUES in an INSERT do not count."""


EXPRESSION_DEPTH: Final = 100
"""Deepest nesting of an expression."""


FUNCTION_ARGUMENTS: Final = 127
"""Most arguments of a function. D1's documentation says 32; engines since April 2026 take 127."""


OPERATIONS: Final = 25_000
"""Most instructions of SQLite's virtual machine that one statement may compile to."""


TRIGGER_DEPTH: Final = 10
"""How deep triggers may start triggers."""


LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: VALUE_BYTES,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: STATEMENT_BYTES,
    sqlite3.SQLITE_LIMIT_COLUMN: COLUMNS,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: EXPRESSION_DEPTH,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: COMPOUND_SELECTS,
    sqlite3.SQLITE_LIMIT_VDBE_OP: OPERATIONS,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: FUNCTION_ARGUMENTS,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: PATTERN_BYTES,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: PARAMETERS,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: TRIGGER_DEPTH,
}


NO_LIMIT: Final = 2**31 - 1  # SQLite lowers it to what it was compiled with, which is also its default
