"""Rows of files in a ledger: exactly what stands in the file, or a sentence with its line."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks import inserting
from hoox_tasks.database.interface import Database, Statement
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.database.remote.database import RemoteDatabase
from hoox_tasks.errors import HooxError, Refused, RemoteError
from hoox_tasks.inserting.cells import BadCell, Column, convert
from hoox_tasks.inserting.reading import Reading
from hoox_tasks.server import create_app
from tests.support.d1_api import DATABASE
from tests.support.remote import Counting, connect
from tests.support.strategies import examples

SCHEMA = (
    "CREATE TABLE fills (id TEXT PRIMARY KEY, symbol TEXT NOT NULL, price REAL, quantity REAL NOT NULL"
    " DEFAULT 0, leverage INTEGER CHECK (leverage < 1000), at INTEGER, order_id TEXT,"
    " cost REAL GENERATED ALWAYS AS (price * quantity))",
    "CREATE UNIQUE INDEX fills_order ON fills (symbol, order_id) WHERE order_id IS NOT NULL",
    "CREATE TABLE notes (number INTEGER PRIMARY KEY, text)",
    'CREATE TABLE "odd ""name" ("a b" TEXT, line INTEGER, "x""y" NUMERIC)',
    "CREATE TABLE pairs (a TEXT, b INTEGER, c REAL, PRIMARY KEY (a, b)) WITHOUT ROWID",
    "CREATE TABLE last_wins (id TEXT PRIMARY KEY ON CONFLICT REPLACE, a)",
    "CREATE VIEW seen AS SELECT * FROM fills",
)
Insert = Callable[..., inserting.Inserted]


@pytest.fixture(params=["file", "d1"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A ledger with some tables, in both homes."""
    path = tmp_path / "ledger.sqlite"
    with closing(LocalDatabase(path, create=True)) as local:
        local.batch([Statement(text) for text in SCHEMA])
        if request.param == "file":
            yield local
            return
    with (
        closing(create_app(path, name="ledger", database_id=DATABASE, token="right")) as app,
        closing(connect(Counting(app))) as remote,
    ):
        yield remote


def insert(
    database: Database,
    raw: bytes | str,
    name: str = "fills.csv",
    *,
    table: str = "fills",
    mapping: Mapping[str, str] | None = None,
    upsert: bool = False,
    whole_seconds: bool = False,
) -> inserting.Inserted:
    reading = Reading(name)
    stream = io.BytesIO(raw if isinstance(raw, bytes) else raw.encode())
    with inserting.staged(
        database.schema(),
        table,
        inserting.read(stream, reading),
        reading,
        times={"at"},
        mapping=mapping,
        whole_seconds=whole_seconds,
        upsert=upsert,
    ) as staging:
        return inserting.insert(database, staging, upsert=upsert)


def rows(database: Database, query: str = "SELECT * FROM fills ORDER BY id") -> list[tuple[Any, ...]]:
    return [tuple(row) for row in database.batch([Statement(query)], write=False)[0]]


# ------------------------------------------------------------------------------------------ what goes in


def test_rows_go_in_as_they_stand_there(database: Database) -> None:
    """BOM, CRLF, line ends in quotes, times and large integers: every cell is in the ledger, to its digit."""
    text = (
        "\ufeffid,symbol,price,at,leverage,order_id\r\n"
        'a,"BTC\r\n""USDT""",64000.5,2026-01-30T23:58:16Z,10.0,007\r\n'
        "b,ETHUSDT,,1769817496,1e2,12345678901234567890\r\n"
        "\r\n"
        "c,ÄØ☃,3618.684314285714,2026-01-31 01:58:16+02:00,,\r\n"
    )
    assert insert(database, text) == inserting.Inserted(3, 0)
    assert rows(database, "SELECT id, symbol, price, at, leverage, order_id, quantity FROM fills") == [
        ("a", 'BTC\r\n"USDT"', 64000.5, 1769817496, 10, "007", 0),
        ("b", "ETHUSDT", None, 1769817496, 100, "12345678901234567890", 0),
        ("c", "ÄØ☃", 3618.684314285714, 1769817496, None, None, 0),
    ]


@pytest.mark.parametrize("name", ["fills.json", "fills.ndjson"])
def test_json_keeps_its_digits(database: Database, name: str) -> None:
    """Numbers keep all digits, also inside of objects; fields may be missing; blobs are as queries show them."""
    records = [
        '{"id": "a", "symbol": "X", "order_id": 12345678901234567890.10, "price": "1.5", "leverage": 9}',
        '{"id": "b", "symbol": {"n": [1.10, true, null, "ü"]}, "quantity": 2}',
        '{"id": "c", "symbol": {"$base64": true, "encoded": "AAE="}}',
    ]
    insert(database, f"[{', '.join(records)}]" if name.endswith(".json") else "\n".join(records), name)
    assert rows(database, "SELECT id, symbol, order_id, price, quantity, leverage FROM fills") == [
        ("a", "X", "12345678901234567890.10", 1.5, 0, 9),
        ("b", '{"n":[1.10,true,null,"ü"]}', None, None, 2, None),
        ("c", b"\0\1", None, None, 0, None),
    ]


def test_a_column_of_no_type_keeps_kinds(tmp_path: Path) -> None:
    """In it 1.0 stays a REAL, 1 an INTEGER, and a text a text; a value that D1 does not hold is refused."""
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as database:
        database.batch([Statement(definition) for definition in SCHEMA])
        insert(
            database, '[{"text": 1.0}, {"text": 1}, {"text": "1"}, {"text": -1e2}]', "x.json", table="notes"
        )
        kinds = rows(database, "SELECT typeof(text), text FROM notes")
        assert kinds == [("real", 1.0), ("integer", 1), ("text", "1"), ("real", -100.0)]
        with pytest.raises(Refused, match="it has 2,000,001 bytes, and D1 takes 2,000,000"):
            insert(database, json.dumps([{"text": "x" * 2_000_001}]), "x.json", table="notes")


def test_integers_beyond_a_double_are_exact(database: Database) -> None:
    """An INTEGER up to 2^63 goes in exactly, on D1 as well."""
    insert(database, "id,symbol,at\na,X,9007199254740993\nb,X,-9223372036854775808\n")
    assert rows(database, "SELECT CAST(at AS TEXT) FROM fills ORDER BY id") == [
        ("9007199254740993",),
        ("-9223372036854775808",),
    ]


def test_hostile_names(database: Database) -> None:
    """Quotes and spaces in the names of tables, columns and fields are names and nothing else."""
    text = 'a b,"x""y",line\n"\'); DROP TABLE fills; --",1.25,7\n'
    with pytest.raises(Refused, match="There is no table robert"):
        insert(database, text, table="robert'); DROP TABLE fills; --")
    insert(database, text, table='odd "name')
    assert rows(database, 'SELECT * FROM "odd ""name"') == [("'); DROP TABLE fills; --", 7, 1.25)]
    mapped = {"A=B": "a b", "1": "", "2": "line"}
    insert(database, "A=B,1,2\nx,y,8\n", table='odd "name', mapping=mapped)
    assert rows(database, 'SELECT "a b", line FROM "odd ""name" WHERE line = 8') == [("x", 8)]


def test_keys_that_sqlite_gives(database: Database) -> None:
    """Rows of a table that is numbered by itself need no number."""
    assert insert(database, "text\na\nb\n", table="notes").new == 2
    assert rows(database, "SELECT number, text FROM notes") == [(1, "a"), (2, "b")]


def test_nothing_to_insert(database: Database) -> None:
    """A header without rows, and an empty array, insert nothing; the header is looked at all the same."""
    assert insert(database, "id,symbol\n").new == 0
    assert insert(database, "[]", "fills.json").new == 0
    with pytest.raises(Refused, match="no column 'smbol'"):
        insert(database, "id,smbol\n")


# ----------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "fills.csv is empty."),
        ("id,symbol\na\n", "line 2: it has 1 cells, and the header has 2."),
        ("id,symbol\na,b,c\n", "line 2: it has 3 cells"),
        ("id,id\na,b\n", "line 1: two columns are called id."),
        ("id,,symbol\na,b,c\n", "line 1: column 2 has no name."),
        ("id,ID,symbol\na,b,c\n", "line 1: two fields are for the column id."),
        ("id;symbol\na;b\n", "semicolons"),
        ("id,symbl\na,b\n", "line 1: fills has no column 'symbl'. Nothing was changed. Did you mean symbol?"),
        ("id,symbol,cost\na,b,1\n", "line 1: cost is computed by the ledger."),
        ("symbol\nb\n", "line 1: it has no field for id, which is the key of fills."),
        ("id,symbol\na,b\n,c\n", "line 3, id: it is empty, and there has to be a value."),
        ("id,symbol\na,\n", "line 2, symbol: it is empty"),
        ("id,quantity\na,1\n", "line 2: it has no symbol, and fills needs one."),
        ('id,symbol\na,"b\nc', "line 2: a quote is opened in it and never closed."),
        ('id,symbol\na,"b"c\n', "line 2: ',' expected after"),
        ("id,symbol\na,x\0y\n", "line 2: it holds a NUL"),
        ('id,symbol,price\na,"x\ny",1\nb,x,"64,000.5"\n', "line 4, price: '64,000.5' has separators in it"),
        ("id,symbol,price\na,x,64.000.5\n", "has separators in it"),
        ("id,symbol,price\na,x,n/a\n", "line 2, price: 'n/a' is not a number."),
        ("id,symbol,price\na,x,NaN\n", "'NaN' is not a number."),
        ("id,symbol,price\na,x,inf\n", "'inf' is not a number."),
        ("id,symbol,price\na,x,1_000\n", "has separators"),
        ("id,symbol,price\na,x,٣\n", "is not a number."),
        ("id,symbol,price\na,x,1e400\n", "1e400 is beyond what a REAL holds."),
        ("id,symbol,price\na,x,0.12345678901234567\n", "more digits than a REAL keeps: it would become 0.123456789012345"),
        ("id,symbol,price\na,x,9007199254740993\n", "more digits than a REAL keeps"),
        ("id,symbol,leverage\na,x,1.5\n", "line 2, leverage: 1.5 is not a whole number."),
        ("id,symbol,leverage\na,x,2000\n", "line 2: fills does not take it: CHECK constraint failed"),
        ("id,symbol,at\na,x,9223372036854775808\n", "is beyond 2^63"),
        ("id,symbol,at\na,x,1e999999999\n", "is beyond 2^63"),
        ("id,symbol,price\na,x,1e-99999999999999999999\n", "the exponent of 1e-99999999999999999999 is too large."),
        ("id,symbol,at\na,x,1e99999999999999999999\n", "the exponent of"),
        ("id,symbol,at\na,x,31/01/2026\n", "line 2, at: '31/01/2026' is neither a time"),
        ("id,symbol,at\na,x,2026-02-30\n", "2026-02-30 is no time"),
        ("id,symbol,at\na,x,20260130\n", "20260130 looks like a day; write it as 2026-01-30."),
        ("id,symbol,at\na,x,2026-01-30T23:58:16.5Z\n", "parts of a second"),
        ("id,symbol\na,x\nb,y\na,z\n", "line 4: its id a is that of line 2."),
        ("id,symbol,order_id\na,x,1\nb,x,1\n", "line 3: its symbol and order_id x, 1 is that of line 2."),
    ],
)  # fmt: skip
def test_a_csv_that_does_not_fit_names_its_line(tmp_path: Path, text: str, says: str) -> None:
    """Whatever is wrong with a cell, a row or the header: line and column are told, and nothing goes in."""
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as database:
        database.batch([Statement(definition) for definition in SCHEMA])
        with pytest.raises(Refused) as refused:
            insert(database, text)
        assert says in str(refused.value)
        assert rows(database) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("  ", "fills.json is empty."),
        ('[{"id": "a", "symbol": "x"}', "line 1: it ends too early: the array is not closed."),
        ('[{"id": "a", "symbol": "x"},]', "a record has to be an object"),
        ('[{"id": "a", "symbol": "x"} {"id": "b"}]', "a comma is missing"),
        ('[{"id": "a", "symbol": "x"}] 1', "there is more behind the end of the array."),
        ("[1]", "a record has to be an object"),
        (
            '{"id": "a", "symbol": "x"}\n{"id": "b", "symbol": }\n',
            "line 2: it is not JSON (Expecting value).",
        ),
        ('[{"id": "a",\n"symbol": "x", "price": NaN}]', "NaN is no number."),
        ('[{"id": "a", "symbol": "x", "id": "b"}]', "id is there twice."),
        ('[{"id": "a", "symbol": "\\ud800"}]', "symbol: half of a character stands alone"),
        ('[{"id": "a", "symbol": "x", "price": true}]', "price: true is not a number."),
        ('[{"id": "a", "symbol": "x", "price": [1]}]', "the column takes a number."),
        ('[{"id": "a", "symbol": "x", "price": ""}]', "price: '' is not a number."),
        ('{"id": "a", "symbol": ' + "[" * 50_000, "it is nested too deeply."),
    ],
    ids=range(14),
)
def test_json_that_does_not_fit_names_its_line(tmp_path: Path, text: str, says: str) -> None:
    """Broken JSON, records that are none, and values that a column does not take are refused."""
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as database:
        database.batch([Statement(definition) for definition in SCHEMA])
        with pytest.raises(Refused) as refused:
            insert(database, text, "fills.json")
        assert says in str(refused.value)
        assert rows(database) == []


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("id,symbol\na,é\n".encode("latin-1"), "is not UTF-8"),
        ("id,symbol\n".encode("utf-16"), "is text in UTF-16"),
        (b"PK\x03\x04 and so on", "a spreadsheet"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, raw: bytes, says: str) -> None:
    """Another encoding, and files of other kinds, are called what they are."""
    path = tmp_path / "fills.csv"
    path.write_bytes(raw)
    with path.open("rb") as file, pytest.raises(Refused, match=says):
        list(inserting.read(file, Reading("fills.csv")))


def test_a_table_that_takes_no_rows_is_refused(tmp_path: Path) -> None:
    """A view, and a table whose definition would drop one of two equal rows, take none."""
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as database:
        database.batch([Statement(definition) for definition in SCHEMA])
        with pytest.raises(Refused, match="seen is a view"):
            insert(database, "id\na\n", table="seen")
        with pytest.raises(Refused, match="Of 2 rows last_wins would keep 1"):
            insert(database, "id,a\nx,1\nx,2\n", table="last_wins")
        assert rows(database, "SELECT * FROM last_wins") == []


# ------------------------------------------------------------------------------- rows that are there already


def test_a_repeated_run_is_refused(database: Database) -> None:
    """The same file again changes nothing, and the line of the first row that is there is told."""
    insert(database, "id,symbol,order_id\na,x,1\nb,x,2\n")
    before = rows(database)
    with pytest.raises(Refused, match="line 3: its id b is in fills already"):
        insert(database, "id,symbol\nc,x\nb,x\n")
    # What the exchange gives once is there once, whatever id it has here.
    for upsert in (False, True):
        with pytest.raises(Refused, match="line 2: its symbol and order_id x, 1 is in fills already"):
            insert(database, "id,symbol,order_id\nz,x,1\n", upsert=upsert)
    assert rows(database) == before


def test_upsert_changes_what_the_file_has(database: Database) -> None:
    """With --upsert a row that is there gets the file's values and keeps the others; again, nothing is new."""
    insert(database, "id,symbol,price,order_id\na,x,1,1\n")
    text = "id,symbol,price\na,x,2.5\nb,y,3\n"
    assert insert(database, text, upsert=True) == inserting.Inserted(1, 1)
    once = rows(database)
    assert [(*row[:3], row[6]) for row in once] == [("a", "x", 2.5, "1"), ("b", "y", 3, None)]
    assert insert(database, text, upsert=True) == inserting.Inserted(0, 2)
    assert rows(database) == once


def test_upsert_by_a_key_of_several_columns(database: Database) -> None:
    """All columns of the key have to agree."""
    insert(database, "a,b,c\nx,1,0.5\nx,2,0.5\n", table="pairs")
    assert insert(database, "a,b,c\nx,2,7\ny,2,8\n", table="pairs", upsert=True) == inserting.Inserted(1, 1)
    assert rows(database, "SELECT * FROM pairs ORDER BY a, b") == [("x", 1, 0.5), ("x", 2, 7), ("y", 2, 8)]


def test_upsert_needs_a_key_and_the_same_fields(tmp_path: Path) -> None:
    """A table without a key, and records of which one lacks a field, would change what nobody meant."""
    with closing(LocalDatabase(tmp_path / "ledger.sqlite", create=True)) as database:
        database.batch([Statement(definition) for definition in SCHEMA])
        with pytest.raises(Refused, match="cannot be told by a key"):
            insert(database, "line\n1\n", table='odd "name', upsert=True)
        text = '{"id": "a", "symbol": "x", "price": 1}\n{"id": "b", "symbol": "x"}\n'
        with pytest.raises(Refused, match="line 2: it has other fields"):
            insert(database, text, "fills.ndjson", upsert=True)


# ----------------------------------------------------------------------------------------- all or nothing


def test_what_the_engine_refuses_leaves_nothing(database: Database) -> None:
    """A trigger of the ledger's that refuses the last row undoes all of them, and that is a failure."""
    database.batch(
        [
            Statement(
                "CREATE TRIGGER dear BEFORE INSERT ON fills WHEN new.price > 100"
                " BEGIN SELECT RAISE(ABORT, 'too dear'); END"
            )
        ]
    )
    with pytest.raises(HooxError, match="did not take the rows: too dear") as failed:
        insert(database, "id,symbol,price\na,x,1\nb,x,101\n")
    assert failed.value.exit_code == 1
    assert rows(database) == []


class Lost(RemoteDatabase):
    """A ledger whose answer to an insert is lost, after or before it happened."""

    happened = True

    def insert(self, batches: Any, *, key: Any = ()) -> dict[str, int]:
        if self.happened:
            super().insert(batches, key=key)
        raise RemoteError("The answer was lost.", ambiguous=True)


@pytest.mark.parametrize("happened", [True, False])
def test_a_lost_answer_is_looked_for(tmp_path: Path, happened: bool) -> None:
    """Whether the rows went in is seen by the first of them, and never guessed."""
    path = tmp_path / "ledger.sqlite"
    with closing(LocalDatabase(path, create=True)) as local:
        local.batch([Statement(text) for text in SCHEMA])
    with (
        closing(create_app(path, name="ledger", database_id=DATABASE, token="right")) as app,
        closing(connect(Counting(app))) as plain,
    ):
        database = Lost(plain.client, "ledger")
        database.happened = happened
        text = "id,symbol\na,x\nb,x\n"
        if happened:
            assert insert(database, text).new == 2
            assert len(rows(plain)) == 2
            return
        with pytest.raises(RemoteError, match="nothing shows that the rows were inserted") as failed:
            insert(database, text)
        assert failed.value.ambiguous
        assert rows(plain) == []


def test_many_rows_are_few_requests(tmp_path: Path) -> None:
    """12,000 rows on a ledger that holds rows are asked for in blocks, and go in whole."""
    path = tmp_path / "ledger.sqlite"
    with closing(LocalDatabase(path, create=True)) as local:
        local.batch([Statement(text) for text in SCHEMA])
        insert(local, "id,symbol\nthere,x\n")
    with closing(create_app(path, name="ledger", database_id=DATABASE, token="right")) as app:
        wire = Counting(app)
        with closing(connect(wire)) as database:
            lines = [f"fill-{number:012},BTCUSDT,{number / 8}" for number in range(12_000)]
            insert(database, "\n".join(["id,symbol,price", *lines]))
            assert rows(database, "SELECT count(*), sum(price) FROM fills") == [
                (12_001, sum(range(12_000)) / 8)
            ]
        assert len(wire.asked) < 15


# --------------------------------------------------------------------------------------------- properties


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.integers().map(str),
    st.from_regex(r"\A[+-]?[0-9]{1,25}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?\Z"),
)


@given(NUMBERS)
@examples(50)
def test_a_number_is_kept_or_refused(text: str) -> None:
    """Whatever decimal stands in a file: a column has exactly that number afterwards, or refuses it."""
    for affinity in ("INTEGER", "REAL", "NUMERIC"):
        try:
            value = convert(Column("c", affinity), text)
        except BadCell:
            continue
        assert isinstance(value, int | float)
        assert Decimal(repr(value)) == Decimal(text)


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=12), st.sampled_from([",", "\t"]), st.integers())
@examples(40)
def test_csv_of_any_text_comes_back(pairs: list[tuple[str, str]], delimiter: str, seed: int) -> None:
    """Whatever Python's csv writes is read as it was, with the line that each row begins on."""
    text = io.StringIO()
    ends = random.Random(seed).choice(["\n", "\r\n"])
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ends, quoting=csv.QUOTE_ALL)
    writer.writerow(("a", "b"))
    lines = []
    for pair in pairs:
        lines.append(len(io.StringIO(text.getvalue(), newline="").readlines()) + 1)
        writer.writerow(pair)
    raw = io.BytesIO(text.getvalue().encode())
    found = list(inserting.read(raw, Reading("x.csv" if delimiter == "," else "x.tsv")))
    assert [record.cells for record in found] == [(a or None, b or None) for a, b in pairs]
    assert [record.line for record in found] == lines


@given(
    st.lists(st.dictionaries(CELLS, st.one_of(st.none(), st.booleans(), CELLS), max_size=4), max_size=8),
    st.integers(1, 20),
    st.booleans(),
)
@examples(40)
def test_json_in_pieces_is_json(records: list[dict[str, Any]], size: int, array: bool) -> None:
    """However the text is cut into pieces, the records are those that Python's json reads."""
    indent = size % 3 or None
    text = json.dumps(records, indent=indent) if array else "\n".join(map(json.dumps, records))

    class Slow(io.RawIOBase):
        """Gives a few bytes at a time."""

        left = text.encode()

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            piece, self.left = self.left[:size], self.left[size:]
            buffer[: len(piece)] = piece
            return len(piece)

    if not array and not records:
        return
    found = list(inserting.read(Slow(), Reading("x.json")))  # type: ignore[arg-type]
    assert [dict(zip(record.names, record.cells, strict=True)) for record in found] == records
