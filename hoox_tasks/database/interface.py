"""The one interface to a ledger, wherever it lives: in a SQLite file or on Cloudflare D1.

Operations (migrations, backups, seeding) are written against `Database` and never ask which kind
they were given. When one of them would have to, this interface is missing something.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from hoox_tasks import sql
from hoox_tasks.values import Progress, Row, Value

if TYPE_CHECKING:
    from pathlib import Path


Batch: TypeAlias = tuple[str, Sequence[str], Sequence[Row]]
"""Rows to insert: the table, its columns, and rows in the order of the columns."""


# No dataclasses: they take ten times as long to be made as named tuples, and every command makes them.


class Statement(NamedTuple):
    """One SQL statement and the values bound to it."""

    sql: str
    params: Sequence[Value] = ()


class Meta(NamedTuple):
    """What the engine tells about a statement that it ran.

    `duration` is in seconds, inside the engine. `rows_read` and `rows_written` are what D1 bills; None
    where the engine does not count them. `changes` counts rows inserted, updated or deleted.
    """

    duration: float = 0.0
    changes: int = 0
    rows_read: int | None = None
    rows_written: int | None = None


class Rows:
    """The result of one statement: column names and the rows, which may still be streaming.

    `rows` can be consumed once. `meta` is complete when the last row has been taken; so is `approximate`,
    the number of values that may have been rounded on the way.
    """

    __slots__ = ("approximate", "columns", "meta", "rows")

    def __init__(
        self, columns: tuple[str, ...], rows: Iterable[Row], meta: Meta | None = None, approximate: int = 0
    ) -> None:
        self.columns = columns
        self.rows = rows
        self.meta = meta or Meta()
        self.approximate = approximate

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def blocks(self, size: int) -> Iterator[list[Row]]:
        """Yield the rows in lists of `size`, the last one shorter."""
        rows = iter(self.rows)
        while block := list(islice(rows, size)):
            yield block


SCHEMA_QUERY = (
    "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
    r" AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND tbl_name NOT LIKE '\_cf\_%' ESCAPE '\' ORDER BY rowid"
)
"""Asks for every object but the engine's own: SQLite's `sqlite_*`, D1's `_cf_*`, and automatic indexes."""


class SchemaObject(NamedTuple):
    """One table, index, view or trigger, as `sqlite_schema` has it; `sql` is its stored DDL."""

    type: str
    name: str
    table: str
    sql: str


class Table(NamedTuple):
    """A table as a dump sees it.

    `kind` is table, virtual or shadow. `columns` are those with values of their own (generated ones are
    not). `rowid` is a name by which its rowid can be asked for, empty for none. `parents` are the tables
    that its foreign keys refer to, `cascades` those of them whose deletions change this one. `untyped` are
    the columns that keep a whole REAL as such: those of no declared type, or BLOB.
    """

    name: str
    sql: str
    kind: str
    columns: tuple[str, ...]
    textual: frozenset[str]
    partial: bool
    rowid: str
    key: tuple[str, ...]
    parents: frozenset[str]
    cascades: frozenset[str] = frozenset()
    untyped: frozenset[str] = frozenset()

    @property
    def module(self) -> str:
        """The module of a virtual table, in lower case; empty for an ordinary one."""
        if self.kind != "virtual":
            return ""
        words = [token.text.lower() for token in sql.tokens(self.sql)]
        return words[words.index("using") + 1]


class Storage(NamedTuple):
    """What keeps a ledger: the engine with its version, and the bytes it takes (None where nobody tells)."""

    engine: str
    version: str
    bytes: int | None


class CountedTable(NamedTuple):
    """A table and its number of rows.

    `kind` is table, virtual or shadow, as SQLite's `pragma_table_list` has it, or internal for the engine's
    own (`sqlite_*`, D1's `_cf_*`). `rows` is None where the engine lets nobody count them.
    """

    name: str
    kind: str
    rows: int | None


class Reader(Protocol):
    """A ledger that is read by statements of ours, outside D1's rules.

    Text comes as its bytes in UTF-8, whether they are valid or not.
    """

    def map(self, statements: Iterable[Statement]) -> Iterator[list[Row] | None]:
        """Run statements, several at a time where the home allows, and yield their rows in order.

        `statements` is consumed as needed: only a few results are held at once. None stands for a result
        that is too large to be held; `stream` can give it in smaller pieces.
        """

    def stream(self, statement: Statement) -> Iterator[Row]:
        """Run one statement and yield its rows one by one, holding few of them at once."""


class Snapshot(Reader, Protocol):
    """One moment of a ledger: what is read through it is not touched by writes meanwhile.

    `bookmark` is D1's name of the moment; None where it has none. `one_moment` is false where somebody wrote
    while the rows were fetched: then each row is as it was at some time.
    """

    @property
    def bookmark(self) -> str | None: ...

    @property
    def one_moment(self) -> bool: ...

    def exact(
        self, table: Table, columns: Sequence[str], *, order: Sequence[str] = ()
    ) -> Iterator[list[Row]]:
        """Yield all rows of a table in blocks, with every value of `columns` exactly as it is stored.

        With `order` they are sorted by these columns: NULL, numbers, texts by their bytes, blobs.

        Text comes as `str`, bytes in it that are not UTF-8 as lone surrogates (`surrogateescape`).
        """


class Saved(NamedTuple):
    """A moment that was saved: the mark by which `Database.recover` finds it.

    For a local ledger it is the name of a copy, and `sha256` the copy's digest. For D1, which keeps its own
    moments, it is a bookmark.
    """

    mark: str
    sha256: str = ""


class Moment(Protocol):
    """The moment of a ledger from which a change is made, for as long as the block that holds it.

    Ask it before anything is changed: it shows the ledger as it was when the block began.
    """

    @property
    def tables(self) -> Mapping[str, int]:
        """Rows of every table at this very moment; the engine's own and shadow tables are left out."""

    def save(self, folder: Path, name: str) -> Saved:
        """Save this moment: a local ledger is copied to a file `name` in `folder`.

        Raises `HooxError` where the copy cannot be written.
        """

    def snapshot(self, *, progress: Progress | None = None) -> AbstractContextManager[Snapshot]:
        """Read exactly this moment, for as long as a `with` block inside the one that holds it."""

    def when_ended(self, tell: Callable[[bool], None]) -> None:
        """Have `tell(changed)` called once, when the block that holds the moment has ended.

        `changed` is false where the ledger is certainly as it was: the block was undone, or changed nothing.
        On D1 it is true where an answer was lost.
        """


class Database(Protocol):
    """A ledger that can be asked and changed, the same in both of its homes.

    Every method raises `StatementError` where the engine refuses a statement, and `RemoteError` where a
    remote ledger cannot be reached.
    """

    before_first_change: Callable[[Moment], None] | None
    """Called before the ledger is changed, with the moment from which it is; prevents it by raising.

    It is called inside the critical section of the change, and again for each further one until `changes` is
    not 0: a change that was undone, or changed nothing, does not count.
    """

    @property
    def settles_late(self) -> bool:
        """Whether a change that nobody waited for, as after an interruption, may still happen."""

    @property
    def changes(self) -> int:
        """How many transactions of this object have changed the ledger, as far as is known."""

    @property
    def identity(self) -> str:
        """Which ledger this is, for programs: the same name for the same ledger, whatever people call it.

        `d1:<account id>/<database id>`; `file:<path>`, relative to the workspace's folder for a file in it,
        so that a workspace may be moved, else absolute.
        """

    def identity_in(self, folder: Path) -> str:
        """What files in a folder call this ledger: `identity`, but a file by its absolute path wherever the
        folder lies outside of the ledger's workspace, since others may use it too.
        """

    @property
    def name(self) -> str:
        """What people call it, and what they type to confirm: a file's or a database's name."""

    @property
    def label(self) -> str:
        """Which ledger this is, in a sentence: a path, or a database's name."""

    @property
    def address(self) -> str:
        """Which ledger this is, beyond doubt: the path; or name, id and account."""

    @property
    def mode(self) -> int:
        """Who may read the ledger's file: its mode, which no copy goes beyond; or all rights."""

    def query(
        self, sql: str, params: Sequence[Value] = (), *, write: bool = False, timeout: float | None = None
    ) -> Rows:
        """Run one statement under D1's rules; only reading is let through unless `write`.

        Raises `Refused` when the statement would change anything and `write` is false; nothing has
        been run (or sent) then. Raises `HooxError` where the engine worked for `timeout` seconds on it and
        was not done, and has undone it; D1 has a limit of its own, of 30 seconds.
        """

    def batch(
        self, statements: Iterable[Statement], *, write: bool = True, timeout: float | None = None
    ) -> list[Rows]:
        """Run statements of ours in one transaction: all of them happen, or none does.

        Without `write` they only read, all of one moment, and need no right to write. `timeout` is for all
        of them together, as that of `query`.
        """

    def answers(self, statements: Sequence[Statement]) -> bool:
        """Whether a batch of these statements answers rows: some are imported by D1, which does not."""

    def insert(self, batches: Iterable[Batch], *, key: Sequence[str] = ()) -> dict[str, int]:
        """Insert rows into tables, all or none; returns how many went into each.

        With `key`, which has to be unique, a row whose key is there already changes the values of that row.
        """

    def holding(self) -> AbstractContextManager[Moment]:
        """Hold a moment for a block: what the block changes is changed as of that moment, or not at all.

        A local ledger lets nobody else write meanwhile. On D1 the first change in the block is refused where
        somebody else changed the ledger since: raises `ChangedMeanwhile` then, and nothing was changed.
        """

    def snapshot(
        self, *, online: bool = False, progress: Progress | None = None
    ) -> AbstractContextManager[Snapshot]:
        """Read one moment of the ledger for the length of a `with` block.

        With `online` nobody is kept from the ledger meanwhile, even where only that makes one moment of
        it: then the snapshot's `one_moment` tells whether it is one.
        """

    def schema(self) -> list[SchemaObject]:
        """All objects but the engine's own (`_cf_*`, `sqlite_*`), in the order they were made."""

    def list_tables(self) -> list[CountedTable]:
        """All tables with their numbers of rows, by name; the engine's own as well."""

    def storage(self) -> Storage:
        """What keeps the ledger, and how large it is."""

    def replace(self, copy: Path, tables: Collection[str] = ()) -> None:
        """Make the ledger what a SQLite file is, all or nothing; the engine's own tables stay.

        With `tables`, only the rows of those are replaced, and each keeps the definition that it has.
        """

    def beside(self, name: str) -> Database:
        """Make a new, empty ledger: a file, from the current folder, or a database of the same account.

        Raises `Refused` where there is one of that name.
        """

    def remove(self) -> None:
        """Delete the ledger itself, and close it."""

    def recover(self, folder: Path, mark: str) -> None:
        """Bring the ledger back to the moment of a mark, all or nothing."""

    def close(self) -> None:
        """Let go of files and connections."""
