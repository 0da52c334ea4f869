"""A fingerprint of a table's rows: equal where every cell of every row is, in type and in bits.

Each row is hashed by BLAKE2b (16 bytes) over Python's marshal format, version 2, of the tuple of its values:
a fixed layout with a type code before each value, doubles as their 8 bytes, text as UTF-8. The fingerprint is
the sum of the hashes modulo 2^128: it does not depend on the order of rows, and rows that occur twice count
twice. SQLite has no hash function, on D1 least of all, so values are brought here and hashed here.

Generated columns do not count, for they follow from the others, nor do hidden rowids. Of a virtual table that
keeps its own content, the rowid counts as well: searches give it back.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Iterable, Sequence

from hoox_tasks.backups.manifest import Content
from hoox_tasks.database.interface import SchemaObject, Snapshot, Statement, Table
from hoox_tasks.database.schema import SEQUENCES, with_rows
from hoox_tasks.sql import format_ddl
from hoox_tasks.values import Row

_MODULUS = 2**128


def fingerprint(blocks: Iterable[Sequence[Row]]) -> Content:
    """Count rows and return their fingerprint, 32 hexadecimal digits. Text is `str`, blobs are `bytes`."""
    rows, total = 0, 0
    blake2b, dumps, number = hashlib.blake2b, marshal.dumps, int.from_bytes
    for block in blocks:
        rows += len(block)
        total += sum([number(blake2b(dumps(row, 2), digest_size=16).digest(), "big") for row in block])
    return Content(rows, f"{total % _MODULUS:032x}")


def contents(snapshot: Snapshot, tables: Sequence[Table], *, sequences: bool = True) -> dict[str, Content]:
    """Return the content of each table whose rows a dump writes; with `sequences` AUTOINCREMENT's as well."""
    found = {table.name: fingerprint(snapshot.exact(table, columns)) for table, columns in with_rows(tables)}
    exists = Statement("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'")
    if sequences and list(snapshot.stream(exists)):
        found["sqlite_sequence"] = fingerprint(snapshot.exact(SEQUENCES, SEQUENCES.columns))
    return found


def schema_digest(schema: Iterable[SchemaObject]) -> str:
    """Return the digest of a schema, which the order of its objects and their spacing do not change."""
    lines = sorted(f"{item.type} {item.name} {item.table} {format_ddl(item.sql)}" for item in schema)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
