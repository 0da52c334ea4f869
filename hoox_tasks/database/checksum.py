"""A checksum of a table's rows that SQL computes where they are: a request or two tell whether D1 has them.

Tables with different rows have different checksums, except with a probability that is stated here. It holds
whoever chose the rows, as long as they did not know the key; that is drawn anew in each process.

SQLite has no hash function, and D1 takes no functions of ours. So this is arithmetic modulo the prime
p = 2^31 - 1, because products of two numbers below p fit SQLite's integers. All of it is done twice, with
independent keys:

1. A row is a string. Each cell is the letter G, a digit for its kind, and its value: an INTEGER in decimal
   digits, a text or blob as its bytes in hexadecimal, a REAL as its whole part and its fraction times 2^60,
   both of them exact. `hex()` of the string has decimal digits only. Every 16 of them are a number, which is
   never 0; so different rows have different sequences of numbers.
2. The numbers become one below p. Both halves of each, below 10^8, are multiplied by a random key of their
   place and added up; what is beyond the first 1,536 digits is folded, 256 at a time, by a polynomial in a
   random key (J. L. Carter and M. N. Wegman, "Universal classes of hash functions", 1979). A text or blob of
   more than 1,000 bytes is folded by itself, times a random key of its column: in its row's string stands its
   length. So the results for two rows are different polynomials in the keys, of a degree of at most
   b + 2, where b is the number of 256 digits (64 bytes of text) in the longest string or value. By the
   lemma of Schwartz and Zippel they are equal with a probability of at most (b + 2) / p, both times with its
   square.
3. The rows become one sum, whatever their order. Both results together have 62 bits. A row adds the product,
   modulo p, of the random keys of those bits that are 1. Different results are different products of keys,
   so sums over different rows are different polynomials of degree 62 at most, however many rows differ. They
   are equal with a probability of at most 62 / p, both times with its square.

Together, where d rows are only on one side or the other, the checksums are equal with a probability of at
most d (b + 2)^2 / p^2 + 62^2 / p^2. That is below 10^-14 for a cell of up to 4,000 bytes that changed, and
below 10^-9 for 200,000 such rows that were chosen to deceive.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache

from hoox_tasks import sql
from hoox_tasks.database.interface import Database, Statement, Table
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.schema import with_rows
from hoox_tasks.errors import HooxError
from hoox_tasks.files import scratch_folder
from hoox_tasks.rules.limits import COLUMNS
from hoox_tasks.rules.messages import is_overload

_PRIME = 2**31 - 1
_LOW, _HIGH = f"& {_PRIME}", ">> 31"
"""Take apart two numbers below p that are packed into one integer, because a subquery gives one value."""
_BITS = 62
"""Bits of two such numbers."""
_DIGITS = 16
"""Digits that become one number."""
_HALF = 10**8
_NUMBERS = 16
"""Numbers in a block."""
_BLOCK = _DIGITS * _NUMBERS
"""Digits of a block."""
_BLOCKS = 6
"""Blocks of a row whose numbers have keys of their own; few rows have more."""
_SHORT = 1_000
"""Bytes of the longest text or blob that stands in its row's string."""
_SCALE = 2**60
_STEPS = 20
"""How often a REAL is scaled at most; only an infinity needs as many."""
_FEW = 50
"""Columns of a table beyond which its statement must be shorter: one block of its rows has keys of its own,
and numbers below 1/256 are folded by themselves."""
_ROWS = 25_000
"""Rows that one request is about: D1 ends it after 30 seconds; its engine took 0.4 ms for a trade."""
_FEWER = 8
"""How many times fewer rows are asked for when D1 did not finish with as many."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """How many rows a table has, and two sums over them."""

    rows: int
    sums: tuple[int, int]


PROCESS_KEY = secrets.token_bytes(32)
"""The key of this process."""


def checksums(
    database: Database, tables: Sequence[Table], *, key: bytes = PROCESS_KEY
) -> dict[str, Checksum]:
    """Ask a ledger for the checksums of its tables that keep rows, all in one request where none is large.

    `tables` may be all that there are; which of them keep rows is `database.schema.with_rows`. Only
    checksums of the same `key` can be compared: give one where the two sides are not asked by the same
    process, and keep it from whoever writes rows.
    """
    asked = [_Question(table.name, table, columns) for table, columns in with_rows(tables)]
    totals = {question.name: [0, 0, 0] for question in asked}
    most = _ROWS
    while asked:
        size = max(1, most // len(asked))
        try:
            results = database.batch([Statement(question.sql(key, size)) for question in asked], write=False)
        except HooxError as error:
            if size == 1 or not is_overload(error.problem):
                raise
            most //= _FEWER
            continue
        following = []
        for question, result in zip(asked, results, strict=True):
            ((rows, first, second, last, width),) = result
            if width != 1:
                return _in_utf8(database, tables, key)
            for place, found in enumerate((rows, first, second)):
                totals[question.name][place] += int(str(found))
            if rows == size:
                following.append(question.behind(size, str(last)))
        asked = following
    return {
        name: Checksum(rows, (first % _PRIME, second % _PRIME))
        for name, (rows, first, second) in totals.items()
    }


def _in_utf8(database: Database, tables: Sequence[Table], key: bytes) -> dict[str, Checksum]:
    """Copy rows to where texts are in UTF-8, as they are on D1, for a file that has them in UTF-16."""
    found: dict[str, Checksum] = {}
    with scratch_folder() as folder, database.snapshot() as snapshot:
        for number, (table, columns) in enumerate(with_rows(tables)):
            names = tuple(f"c{place}" for place in range(len(columns)))
            plain = Table(table.name, "", "table", names, frozenset(), False, "rowid", (), frozenset())
            with closing(LocalDatabase(folder / f"{number}.sqlite", create=True, strict=False)) as copy:
                copy.batch([Statement(f"CREATE TABLE {sql.quote_name(table.name)} ({', '.join(names)})")])
                copy.insert((table.name, names, rows) for rows in snapshot.exact(table, columns))
                found |= checksums(copy, [plain], key=key)
    return found


@dataclass(frozen=True, slots=True)
class _Question:
    """A query about the rows of a table behind the first `done`, the last of which has the rowid `after`."""

    name: str
    table: Table
    columns: tuple[str, ...]
    done: int = 0
    after: str = ""

    def behind(self, rows: int, last: str) -> _Question:
        """Ask for what follows some rows, the last of which has a rowid, if any has."""
        return replace(self, done=self.done + rows, after=last if self._rowid else "")

    def sql(self, key: bytes, size: int) -> str:
        """The query for the number of the next `size` rows, the two sums, the last rowid, and how many bytes
        a letter has.

        What JSON could round is text.
        """
        rowid = self._rowid
        source = f"FROM main.{sql.quote_name(self.name)}"
        source += f" WHERE {rowid} > {self.after}" if self.after else ""
        if rowid:
            source += f" ORDER BY {rowid} LIMIT {size}"
        else:
            # Without ORDER BY a table is read by its rowids; an index of all these columns there is not.
            key_columns = "" if self.table.rowid else ", ".join(map(sql.quote_name, self.table.key))
            source += f" ORDER BY {key_columns}" if key_columns else ""
            source += f" LIMIT {size} OFFSET {self.done}"
        return _statement(_keys(key), rowid, [sql.quote_name(name) for name in self.columns], source)

    @property
    def _rowid(self) -> str:
        """The rowid, if there is place for it beside the columns."""
        return self.table.rowid if len(self.columns) < COLUMNS else ""


class _Keys:
    """Random numbers below p, as many as are asked for, of a key."""

    def __init__(self, key: bytes) -> None:
        self._bytes = hashlib.shake_256(key).digest(8 * 2 * (2 * _NUMBERS * _BLOCKS + 2 + _BITS + COLUMNS))
        self._used = 0
        self.numbers = [self._pair() for _ in range(2 * _NUMBERS * _BLOCKS)]
        self.row_point, self.cell_point = self._pair(), self._pair()
        self.bits = [self._pair() for _ in range(_BITS)]
        self.columns = [self._pair() for _ in range(COLUMNS)]

    def _pair(self) -> tuple[int, int]:
        return self._number(), self._number()

    def _number(self) -> int:
        self._used += 8
        return int.from_bytes(self._bytes[self._used - 8 : self._used], "big") % _PRIME


_keys = cache(_Keys)


def _statement(keys: _Keys, rowid: str, names: Sequence[str], source: str) -> str:
    # Each level has names for what the next one uses more than once; a LIMIT keeps SQLite from merging two
    # levels, which would compute such a value anew for each use.
    cells = [f"c{place}" for place in range(len(names))]
    columns = ", ".join(f"{name} AS {cell}" for name, cell in zip(names, cells, strict=True))
    wide = len(names) > _FEW
    string = _tree([_digits(cell, wide=wide) for cell in cells], "({} || {})".format)
    packed = [f"v{place}" for place in range(1 if wide else _BLOCKS)]
    named = ", ".join(
        f"CASE WHEN n > {_BLOCK * at} THEN {_block(keys, f'substr(s, {_BLOCK * at + 1}, {_BLOCK})', at)}"
        f" ELSE 0 END AS {name}"
        for at, name in enumerate(packed)
    )
    start = _BLOCK * len(packed)
    block = _block(keys, f"substr(s, {start + 1} + i * {_BLOCK}, {_BLOCK})")
    rest = _folded(block, f"{start} + i * {_BLOCK} < n", keys.row_point)
    lanes = [_sum([f"({name} {half})" for name in [*packed, "w", "o"]]) for half in (_LOW, _HIGH)]
    # A level may have 100 columns, as many as a table.
    long = _long_cells(keys, cells, wide=wide)
    early, late = f"{long} AS o", "o"
    if not wide:
        early, late = ", ".join(cells), f"CASE WHEN instr(g, 'G8') THEN {long} ELSE 0 END AS o"
    levels = [
        f"cells AS (SELECT {f'{rowid} AS r, ' if rowid else ''}{columns} {source})",
        f"strings AS (SELECT {'r' if rowid else 'NULL AS r'}, {string} AS g, {early} FROM cells LIMIT -1)",
        f"digits AS (SELECT r, CAST(hex(g) AS BLOB) AS s, {late} FROM strings LIMIT -1)",
        "measured AS (SELECT r, s, length(s) AS n, o FROM digits LIMIT -1)",
        f"blocks AS (SELECT r, {named}, CASE WHEN n > {start} THEN {rest} ELSE 0 END AS w, o"
        " FROM measured LIMIT -1)",
        f"hashes AS (SELECT r, {_packed(*lanes)} AS u FROM blocks LIMIT -1)",
    ]
    products = [
        _tree(
            [f"CASE WHEN u & {1 << bit} THEN {pair[lane]} ELSE 1 END" for bit, pair in enumerate(keys.bits)],
            f"({{}} * {{}} % {_PRIME})".format,
        )
        for lane in (0, 1)
    ]
    totals = ", ".join(f"CAST(coalesce(sum({product}), 0) AS TEXT)" for product in products)
    return (
        f"WITH {', '.join(levels)} SELECT count(*), {totals}, CAST(max(r) AS TEXT),"
        " length(CAST('a' AS BLOB)) FROM hashes"
    )


def _digits(cell: str, *, wide: bool) -> str:
    """Write a cell as a string of its own kind; G8 stands for one that `_long_cells` looks at."""
    size, length = f"abs({cell})", f"length(CAST({cell} AS BLOB))"
    tiny = f" WHEN {_is_tiny(size)} THEN 'G6' || ({cell} < 0) || {_halves(f'({size} * {_SCALE})')}"
    return (
        f"CASE typeof({cell}) WHEN 'null' THEN 'G0'"
        f" WHEN 'integer' THEN CASE WHEN {cell} < 0 THEN 'G2' || (-1 - {cell}) ELSE 'G1' || {cell} END"
        f" WHEN 'real' THEN CASE WHEN {_is_near(size)} THEN 'G5' || ({cell} < 0) || {_halves(size)}"
        f"{'' if wide else tiny}"
        f" WHEN {cell} = 0 THEN 'G7' || (atan2({cell}, -1) < 0) ELSE 'G8' || ({cell} < 0) END"
        f" ELSE iif(typeof({cell}) = 'text', 'G3', 'G4')"
        f" || iif({length} > {_SHORT}, 'G8' || {length}, hex({cell})) END"
    )


def _is_near(size: str) -> str:
    """Whether `_halves` is all of a number; said so that no version of SQLite rounds a literal."""
    return f"{size} * 256 >= 1 AND {size} <= {2**53}"


def _is_tiny(size: str) -> str:
    """Whether `_halves` is all of 2^60 times a number below 1."""
    return f"{size} < 1 AND {size} * {_SCALE} * 256 >= 1"


def _halves(size: str) -> str:
    """Write the whole part of a REAL, and its fraction times 2^60: no double here has bits below that."""
    whole = f"CAST({size} AS INTEGER)"
    return f"{whole} || 'A' || CAST(({size} - {whole}) * {_SCALE} AS INTEGER)"


def _long_cells(keys: _Keys, cells: Sequence[str], *, wide: bool) -> str:
    """Fold each long text and blob of a row, and each far number, and add up, each times its column's key.

    A number is scaled by 2^60 as often as it takes to write it.
    """
    choice = " ".join(f"WHEN {place} THEN {cell}" for place, cell in enumerate(cells))
    weights = ", ".join(f"({place}, {a}, {b})" for place, (a, b) in enumerate(keys.columns[: len(cells)]))
    scaled = (
        "(WITH RECURSIVE t(z, k) AS (SELECT abs(x), 0 UNION ALL"
        f" SELECT CASE WHEN z < 1 THEN z * {_SCALE} ELSE z / {_SCALE} END, k + iif(z < 1, -1, 1) FROM t"
        f" WHERE NOT ({_is_near('z')}) AND k < {_STEPS})"
        f" SELECT ({_STEPS} + k) || 'A' || {_halves('z')} FROM t ORDER BY abs(k) DESC LIMIT 1)"
    )
    written = _is_near("abs(x)") if wide else f"{_is_near('abs(x)')} OR {_is_tiny('abs(x)')}"
    length = _BLOCK // 4
    piece = f"CAST(hex(hex(substr(y, i * {length} + 1, {length}))) AS BLOB)"
    folded = _folded(_block(keys, f"coalesce(e, {piece})"), f"i * {length} < m", keys.cell_point)
    odd = (
        f"CASE typeof(x) WHEN 'text' THEN length(y) > {_SHORT} WHEN 'blob' THEN length(y) > {_SHORT}"
        f" WHEN 'real' THEN x <> 0 AND NOT ({written}) ELSE 0 END"
    )
    lanes = [
        f"coalesce(sum((q {half}) * {weight} % {_PRIME}), 0)" for half, weight in ((_LOW, "a"), (_HIGH, "b"))
    ]
    return (
        f"(WITH weights(j, a, b) AS (VALUES {weights}),"
        f" each AS (SELECT a, b, CASE j {choice} END AS x FROM weights LIMIT -1),"
        f" bytes AS (SELECT a, b, x, CAST(x AS BLOB) AS y FROM each LIMIT -1),"
        f" long AS (SELECT a, b, x, y, CASE typeof(x) WHEN 'real' THEN 1 ELSE length(y) END AS m FROM bytes"
        f" WHERE {odd} LIMIT -1),"
        f" scaled AS (SELECT a, b, y, m, CASE typeof(x) WHEN 'real' THEN CAST(hex({scaled}) AS BLOB) END AS e"
        " FROM long LIMIT -1),"
        f" folded AS (SELECT a, b, {folded} AS q FROM scaled LIMIT -1)"
        f" SELECT {_packed(*lanes)} FROM folded)"
    )


def _block(keys: _Keys, source: str, place: int = 0) -> str:
    """Multiply the numbers in a block of digits by keys, and pack the two sums."""
    chosen = keys.numbers[2 * _NUMBERS * place :]
    numbers = ", ".join(
        f"CAST(substr(h, {_DIGITS * at + 1}, {_DIGITS}) AS INTEGER) AS d{at}" for at in range(_NUMBERS)
    )
    lanes = []
    for lane in (0, 1):
        terms = [
            f"d{at} / {_HALF} * {chosen[2 * at][lane]} + d{at} % {_HALF} * {chosen[2 * at + 1][lane]}"
            for at in range(_NUMBERS)
        ]
        # In fours: neither the depth of an expression nor the stack of SQLite's parser goes beyond 100.
        fours = [" + ".join(terms[at : at + 4]) for at in range(0, _NUMBERS, 4)]
        lanes.append(f"({') + ('.join(fours)})")
    return (
        f"(WITH h AS (SELECT {source} AS h LIMIT 1), d AS (SELECT {numbers} FROM h LIMIT 1)"
        f" SELECT {_packed(*lanes)} FROM d)"
    )


def _folded(block: str, more: str, point: tuple[int, int]) -> str:
    """Fold packed blocks by a polynomial, while there are `more`; `i` counts those before `block`."""
    return (
        "(WITH RECURSIVE b(i, v, f, l) AS (SELECT 0, 0, 0, 0 UNION ALL"
        f" SELECT i + 1, CASE WHEN {more} THEN {block} END, (f * {point[0]} + (v {_LOW})) % {_PRIME},"
        f" (l * {point[1]} + (v {_HIGH})) % {_PRIME} FROM b WHERE v IS NOT NULL)"
        f" SELECT {_packed(f'f * {point[0]}', f'l * {point[1]}')} FROM b WHERE v IS NULL)"
    )


def _packed(first: str, second: str) -> str:
    return f"({first}) % {_PRIME} | (({second}) % {_PRIME} << 31)"


def _sum(parts: Sequence[str]) -> str:
    return _tree(parts, "({} + {})".format)


def _tree(parts: Sequence[str], join: Callable[[str, str], str]) -> str:
    """Join terms in pairs: an expression may be 100 levels deep."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return join(_tree(parts[:half], join), _tree(parts[half:], join))
