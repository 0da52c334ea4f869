"""A corpus of migrations on a ledger with trades: what each of them loses or changes, and what it may."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hoox_tasks.migrations import Migration, Migrations

START = """
CREATE TABLE accounts (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE trades (
  id TEXT PRIMARY KEY, account INTEGER REFERENCES accounts(id), symbol TEXT NOT NULL, price REAL,
  quantity REAL, fee REAL NOT NULL DEFAULT 0, order_id TEXT, note TEXT
);
CREATE TABLE fills (
  id INTEGER PRIMARY KEY, trade TEXT REFERENCES trades(id) ON DELETE CASCADE, size REAL
);
CREATE TABLE alerts (id INTEGER PRIMARY KEY, trade TEXT REFERENCES trades(id) ON DELETE SET NULL);
CREATE TABLE events (at INTEGER, word TEXT);
CREATE TABLE rates (pair TEXT, day INTEGER, rate REAL, PRIMARY KEY (pair, day)) WITHOUT ROWID;
CREATE TABLE retired (id INTEGER PRIMARY KEY, x);
CREATE TABLE empty (x);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT);
CREATE VIRTUAL TABLE notes USING fts5(body);
CREATE VIRTUAL TABLE words USING fts5(note, content='trades', content_rowid='rowid');
CREATE VIRTUAL TABLE found USING fts5(symbol);
CREATE TRIGGER trades_found AFTER INSERT ON accounts BEGIN INSERT INTO found VALUES (new.name); END;
INSERT INTO accounts VALUES (1, 'main'), (2, 'hedge');
INSERT INTO trades (id, account, symbol, price, quantity, fee, order_id, note) VALUES
  ('t1', 1, 'BTCUSDT', 64000.25, 0.5, 1.5, 'o1', NULL), ('t2', 1, 'BTCUSDT', 64001.75, 0.25, 1.0, 'o2', 'x'),
  ('t3', 2, 'ETHUSDT', 3100.5, 2.0, 0.5, 'o3', NULL), ('t4', 2, 'ETHUSDT', NULL, NULL, 0.0, NULL, 'late'),
  ('t5', 1, 'SOLUSDT', 150.125, 10.0, 0.25, 'o5', NULL);
INSERT INTO fills (trade, size) VALUES ('t1', 0.5), ('t2', 0.25), ('t3', 2.0);
INSERT INTO alerts (trade) VALUES ('t1'), ('t5'), (NULL);
INSERT INTO events VALUES (1, 'up'), (2, 'down'), (2, 'down'), (9, NULL);
INSERT INTO rates VALUES ('EUR', 1, 1.08), ('EUR', 2, 1.09), ('GBP', 1, 1.27);
INSERT INTO retired VALUES (1, 'a'), (2, 'b');
INSERT INTO settings VALUES ('mode', 'live'), ('limit', '5');
INSERT INTO notes VALUES ('kept by hand');
INSERT INTO words (rowid, note) SELECT rowid, note FROM trades;
"""

AMOUNTS = ("trades.price", "trades.quantity", "trades.fee", "fills.size")

_TRADES = (
    "id TEXT PRIMARY KEY, account INTEGER REFERENCES accounts(id), symbol TEXT NOT NULL, price REAL,"
    " quantity REAL, fee REAL NOT NULL DEFAULT 0, order_id TEXT, note TEXT"
)
_ASIDE = "CREATE TABLE fills_aside AS SELECT * FROM fills; CREATE TABLE alerts_aside AS SELECT * FROM alerts;"
_BACK = (
    "INSERT OR REPLACE INTO fills SELECT * FROM fills_aside; DROP TABLE fills_aside;"
    "INSERT OR REPLACE INTO alerts SELECT * FROM alerts_aside; DROP TABLE alerts_aside;"
)


def _rebuild(columns: str, copied: str) -> str:
    return (
        f"PRAGMA defer_foreign_keys = ON; {_ASIDE} CREATE TABLE trades_new ({columns}); {copied};"
        f" DROP TABLE trades; ALTER TABLE trades_new RENAME TO trades; {_BACK}"
    )


def files(*texts: str) -> Migrations:
    """Give migrations of these texts."""
    names = [f"{number:04d}_step.sql" for number in range(1, len(texts) + 1)]
    return Migrations([Migration(name, Path(name), text) for name, text in zip(names, texts, strict=True)])


@dataclass(frozen=True)
class Case:
    """A migration, what is told of it, and the flag that lets it pass where it is refused."""

    text: str
    told: tuple[str, ...] = ()
    flag: str = ""


REFUSED = {
    "deleted rows": Case("DELETE FROM events WHERE at = 2;", ("events: 2 rows gone",), "loss events"),
    # Others may have written to it as well: it may be the only copy.
    "a search table that triggers fill": Case(
        "DROP TRIGGER trades_found; DROP TABLE found;", ("found: 2 rows gone",), "loss found"
    ),
    "rows of a search table whose name a trigger mentions": Case(
        "DELETE FROM found; -- TRIGGER trades_found fills it", ("found: 2 rows gone",), "loss found"
    ),
    "a table with rows dropped": Case("DROP TABLE retired;", ("retired: 2 rows gone",), "loss retired"),
    "five deleted and five made": Case(
        "DELETE FROM fills; INSERT INTO fills VALUES (11, 't1', 1), (12, 't2', 1), (13, 't3', 1);",
        ("fills: 3 rows gone",),
        "loss fills",
    ),
    "rows deleted, and others made under their keys": Case(
        "DELETE FROM retired; INSERT INTO retired (x) VALUES ('p'), ('q');",
        ("retired.x: 2 rows changed",),
        "loss retired",
    ),
    "rows without a key deleted, and others made": Case(
        "DELETE FROM events; INSERT INTO events VALUES (5, 'a'), (6, 'b'), (7, 'c'), (8, 'd');",
        ("events: 4 rows gone or changed",),
        "loss events",
    ),
    "two of a key of two columns": Case(
        "DELETE FROM rates WHERE pair = 'EUR';", ("rates: 2 rows gone",), "loss rates"
    ),
    "renamed aside, made anew, a part copied back": Case(
        f"ALTER TABLE trades RENAME TO trades_old; CREATE TABLE trades ({_TRADES});"
        " INSERT INTO trades SELECT * FROM trades_old WHERE symbol = 'BTCUSDT';",
        ("trades: 3 rows gone",),
        "loss trades",
    ),
    "a rebuild that forgets columns": Case(
        _rebuild(
            _TRADES,
            "INSERT INTO trades_new (id, account, symbol, price, quantity, note)"
            " SELECT id, account, symbol, price, quantity, note FROM trades",
        ),
        ("trades.fee: 4 rows changed", "trades.order_id: 4 rows emptied"),
        "loss trades",
    ),
    "a rebuild without two columns": Case(
        _rebuild(
            "id TEXT PRIMARY KEY, account INTEGER, symbol TEXT, price REAL, quantity REAL, note TEXT",
            "INSERT INTO trades_new SELECT id, account, symbol, price, quantity, note FROM trades",
        ),
        ("trades.fee: 5 rows emptied", "trades.order_id: 4 rows emptied"),
        "loss trades",
    ),
    "a rebuild with columns in another order": Case(
        _rebuild(
            "id TEXT PRIMARY KEY, account INTEGER, symbol TEXT, quantity REAL, price REAL, fee REAL,"
            " order_id TEXT, note TEXT",
            "INSERT INTO trades_new SELECT * FROM trades",
        ),
        ("trades.price: 4 rows changed", "trades.quantity: 4 rows changed"),
        "loss trades",
    ),
    "prices cast to integers": Case(
        "CREATE TABLE n AS SELECT id, trade, CAST(size AS INTEGER) AS size FROM fills; DROP TABLE fills;"
        " ALTER TABLE n RENAME TO fills;",
        ("fills.size: 2 rows changed",),
        "loss fills",
    ),
    "rows doubled by a join": Case(
        "CREATE TABLE events_new (at INTEGER, word TEXT); INSERT INTO events_new SELECT e.* FROM events e"
        " JOIN accounts; DROP TABLE events; ALTER TABLE events_new RENAME TO events;",
        ("events: 4 rows too many",),
        "loss events",
    ),
    "a rebuild without a key that loses a row": Case(
        "CREATE TABLE n (at INTEGER, word TEXT); INSERT INTO n SELECT DISTINCT * FROM events;"
        " DROP TABLE events; ALTER TABLE n RENAME TO events;",
        ("events: 1 row gone or changed",),
        "loss events",
    ),
    "a rebuild that cascades": Case(
        "PRAGMA defer_foreign_keys = ON;"
        f" CREATE TABLE n ({_TRADES}); INSERT INTO n SELECT * FROM trades; DROP TABLE trades;"
        " ALTER TABLE n RENAME TO trades;",
        ("fills: 3 rows gone", "alerts.trade: 2 rows emptied"),
        "loss fills,alerts",
    ),
    "a replacement that forgets a column": Case(
        "INSERT OR REPLACE INTO trades (id, account, symbol, price) VALUES ('t2', 1, 'BTCUSDT', 64001.75);",
        ("trades.quantity: 1 row emptied", "trades.order_id: 1 row emptied", "trades.note: 1 row emptied"),
        "loss trades,fills changes trades",
    ),
    "a part moved, the rest forgotten": Case(
        "CREATE TABLE archive (id INTEGER PRIMARY KEY, x); INSERT INTO archive SELECT * FROM retired"
        " WHERE id = 1; DROP TABLE retired;",
        ("retired: 1 row gone",),
        "loss retired",
    ),
    "moved without a column": Case(
        "CREATE TABLE archive (id INTEGER PRIMARY KEY); INSERT INTO archive SELECT id FROM retired;"
        " DROP TABLE retired;",
        ("retired.x: 2 rows emptied",),
        "loss retired",
    ),
    "a search table with rows of its own": Case("DROP TABLE notes;", ("notes: 1 row gone",), "loss notes"),
    "a key given to other rows": Case(
        "CREATE TABLE n (id INTEGER PRIMARY KEY, x); INSERT INTO n SELECT 3 - id, x FROM retired;"
        " DROP TABLE retired; ALTER TABLE n RENAME TO retired;",
        ("retired.x: 2 rows changed",),
        "loss retired",
    ),
    "prices of nothing": Case(
        "UPDATE trades SET price = 0;", ("trades.price: 5 rows changed",), "changes trades.price"
    ),
    "prices of one symbol": Case(
        "UPDATE trades SET price = price * 2 WHERE symbol = 'ETHUSDT' AND price IS NOT NULL;",
        ("trades.price: 1 row changed",),
        "changes trades",
    ),
    "a column of money dropped": Case(
        "ALTER TABLE trades DROP COLUMN fee;", ("trades.fee: 5 rows dropped",), "changes trades.fee"
    ),
    "prices set before a rebuild": Case(
        "UPDATE fills SET size = round(size); CREATE TABLE n (id INTEGER PRIMARY KEY, trade TEXT, size REAL);"
        " INSERT INTO n SELECT * FROM fills; DROP TABLE fills; ALTER TABLE n RENAME TO fills;",
        ("fills.size: 2 rows changed",),
        "changes fills.size",
    ),
    "a trigger that changes an amount": Case(
        "CREATE TRIGGER t AFTER INSERT ON settings BEGIN UPDATE fills SET size = 0 WHERE id = 1; END;"
        " INSERT INTO settings VALUES ('more', '1'); DROP TRIGGER t;",
        ("fills.size: 1 row changed",),
        "changes fills.size",
    ),
}
"""Undone, unless that is allowed: `loss` and `changes` are what the flags name."""

HARMLESS = {
    "more columns, indexes, views, rows": Case(
        "ALTER TABLE trades ADD COLUMN venue TEXT DEFAULT 'x'; CREATE INDEX i ON trades (symbol);"
        " CREATE VIEW v AS SELECT * FROM trades; INSERT INTO accounts VALUES (3, 'new');"
    ),
    "an empty table dropped": Case("DROP TABLE empty;"),
    "rows moved to a new table": Case("CREATE TABLE archive AS SELECT * FROM retired; DROP TABLE retired;"),
    "a part moved to a new table": Case(
        "CREATE TABLE archive (id INTEGER PRIMARY KEY, x); INSERT INTO archive SELECT * FROM retired WHERE id = 2;"
        " DELETE FROM retired WHERE id = 2;"
    ),
    "rows divided among two tables": Case(
        "CREATE TABLE odd (id INTEGER PRIMARY KEY, x); CREATE TABLE even (id INTEGER PRIMARY KEY, x);"
        " INSERT INTO odd SELECT * FROM retired WHERE id % 2; INSERT INTO even SELECT * FROM retired"
        " WHERE NOT id % 2; DROP TABLE retired;"
    ),
    "moved without a key": Case("CREATE TABLE n AS SELECT at, word FROM events; DROP TABLE events;"),
    "a rebuild": Case(_rebuild(_TRADES, "INSERT INTO trades_new SELECT * FROM trades")),
    "a rebuild by way of a copy": Case(
        "CREATE TABLE bak AS SELECT * FROM retired; DROP TABLE retired; CREATE TABLE retired (id INTEGER PRIMARY"
        " KEY, x TEXT NOT NULL); INSERT INTO retired SELECT * FROM bak; DROP TABLE bak;"
    ),
    "a rebuild that renames a column": Case(
        "CREATE TABLE n (id INTEGER PRIMARY KEY, trade TEXT REFERENCES trades(id) ON DELETE CASCADE,"
        " filled REAL); INSERT INTO n SELECT id, trade, size FROM fills; DROP TABLE fills;"
        " ALTER TABLE n RENAME TO fills;"
    ),
    "a rebuild in other types": Case(
        "CREATE TABLE n (name TEXT PRIMARY KEY, value ANY); INSERT INTO n SELECT name, value FROM settings;"
        " DROP TABLE settings; ALTER TABLE n RENAME TO settings;"
        " CREATE TABLE m (id TEXT PRIMARY KEY, x); INSERT INTO m SELECT * FROM retired; DROP TABLE retired;"
        " ALTER TABLE m RENAME TO retired;"
    ),
    "a rebuild with new rows beside": Case(
        "CREATE TABLE n (id INTEGER PRIMARY KEY, x); INSERT INTO n SELECT * FROM retired; INSERT INTO n VALUES"
        " (9, 'z'); DROP TABLE retired; ALTER TABLE n RENAME TO retired;"
    ),
    "two tables made one": Case(
        "CREATE TABLE one (id INTEGER PRIMARY KEY, x); INSERT INTO one SELECT * FROM retired;"
        " INSERT INTO one SELECT id + 100, name FROM accounts WHERE 0; DROP TABLE retired;"
    ),
    "names changed": Case(
        "ALTER TABLE trades RENAME TO orders; ALTER TABLE orders RENAME COLUMN price TO paid;"
        " ALTER TABLE orders RENAME TO Trades;"
    ),
    "values of no amount": Case(
        "UPDATE trades SET note = lower(note), symbol = symbol || '.P' WHERE symbol = 'SOLUSDT';",
        ("trades.symbol: 1 row changed",),
    ),
    "a setting replaced": Case(
        "INSERT OR REPLACE INTO settings VALUES ('mode', 'test');", ("settings.value: 1 row changed",)
    ),
    "a setting of one's own": Case(
        "INSERT INTO settings VALUES ('mode', 'x') ON CONFLICT (name) DO UPDATE SET value = 'paper';",
        ("settings.value: 1 row changed",),
    ),
    "amounts set to what they are": Case("UPDATE trades SET price = price, fee = fee + 0;"),
    "a column without money dropped": Case(
        "ALTER TABLE trades DROP COLUMN order_id;", ("trades.order_id: 4 rows dropped",)
    ),
    "a search table of another's rows": Case("DROP TABLE words;"),
    "a search table filled from trades that change": Case(
        "CREATE VIRTUAL TABLE more USING fts5(note); INSERT INTO more SELECT note FROM trades;"
        " UPDATE trades SET note = 'y' WHERE id = 't1'; DELETE FROM trades WHERE id = 'none';",
        ("trades.note: 1 row changed",),
    ),
    "deletions of nothing": Case("DELETE FROM trades WHERE id = 'none'; DELETE FROM accounts WHERE id = 77;"),
}
"""Applied without being asked, with what is told of them."""
