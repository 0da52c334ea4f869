"""`inv db.insert` as a user types it, locally and on the local D1 API."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.support.in_process import QuickWorkspace
from tests.support.served import served

FILLS = (
    "Order Id,Exec Time,exchange,symbol,action,status,Exec Price,quantity,Note\n"
    "9007199254740993,2026-01-30T23:58:16Z,bybit,BTCUSDT,LONG,EXECUTED,64000.5,0.028,first\n"
    "9007199254740994,2026-01-30 23:59:00,bybit,BTCUSDT,CLOSE_LONG,EXECUTED,64001,0.028,\n"
)
MAP = [
    word
    for pair in ("Order Id=id", "Exec Time=timestamp", "Exec Price=price", "Note=")
    for word in ("--map", pair)
]
ROWS = "SELECT id, timestamp, price FROM trades WHERE length(id) = 16 ORDER BY id"
EXPECTED = [("9007199254740993", 1769817496, 64000.5), ("9007199254740994", 1769817540, 64001.0)]


def test_an_exchange_s_fills(quick_seeded: QuickWorkspace) -> None:
    """They are shown with --dry, go in with a recovery point, are refused again, and can be taken back."""
    (quick_seeded.root / "fills.csv").write_text(FILLS)
    before = quick_seeded.files()
    shown = quick_seeded.ok("db.insert", "trades", "fills.csv", *MAP, "--dry").out
    assert "Would insert 2 rows into trades of .hoox/local.sqlite" in shown
    assert "64000.5" in shown
    assert quick_seeded.files() == before
    done = quick_seeded.ok("db.insert", "TRADES", "fills.csv", *MAP).out
    assert done.startswith("Inserted 2 rows into trades of .hoox/local.sqlite (")
    assert quick_seeded.sql(ROWS) == EXPECTED
    again = quick_seeded.refused("db.insert", "trades", "fills.csv", *MAP)
    assert "fills.csv, line 2: its id 9007199254740993 is in trades already. Nothing was changed." in again
    upsert = quick_seeded.ok("db.insert", "trades", "fills.csv", *MAP, "--upsert", "--json").json
    assert (upsert["rows"], upsert["inserted"], upsert["updated"]) == (2, 0, 2)
    way_back = done.split("`")[1]
    quick_seeded.ok(*shlex.split(way_back)[1:], "--confirm")
    assert quick_seeded.sql(ROWS) == []


def test_rows_from_a_pipe(quick_seeded: QuickWorkspace) -> None:
    """Standard input is a file as well; a last line without an end is told of."""
    text = '{"id": "p", "level": "INFO", "service": "x", "message": "from a pipe"}'
    run = quick_seeded.ok("db.insert", "system_logs", "-", "--format", "ndjson", stdin=text)
    assert "Inserted 1 row into system_logs" in run.out
    cut = quick_seeded.ok("db.insert", "system_logs", "-", stdin="id,level,service,message\nq,INFO,x,y")
    assert "The last line has no end" in cut.err
    assert quick_seeded.sql("SELECT count(*) FROM system_logs WHERE id IN ('p', 'q')") == [(2,)]


def test_a_file_or_table_that_is_not_there(quick_seeded: QuickWorkspace) -> None:
    """Both are named, a misspelt table with the one that may be meant."""
    assert "nowhere.csv cannot be read: No such file" in quick_seeded.refused(
        "db.insert", "trades", "nowhere.csv"
    )
    (quick_seeded.root / "fills.csv").write_text(FILLS)
    assert "There is no table trade. Did you mean trades?" in quick_seeded.refused(
        "db.insert", "trade", "fills.csv"
    )
    for name in ("d1_migrations", "D1_Migrations", "hoox_checksums"):
        refused = quick_seeded.refused("db.insert", name, "fills.csv")
        assert f"{name} is the migrations' own table." in refused
    assert "--map 'price' does not say" in quick_seeded.refused(
        "db.insert", "trades", "fills.csv", "--map", "price"
    )


def test_the_same_on_d1(quick: QuickWorkspace, applied: Path) -> None:
    """With --remote the same rows go in, or none; `db.diff` sees them, and `db.info` counts them."""
    remote = quick.root.parent / "remote.sqlite"
    remote.write_bytes(applied.read_bytes())
    (quick.root / "fills.csv").write_text(FILLS)
    with served(quick, remote) as env:
        backup = quick.ok("db.export", "--remote", "--json", env=env).json["path"]
        quick.ok("db.diff", backup, "--remote", env=env)
        done = quick.ok("db.insert", "trades", "fills.csv", *MAP, "--remote", "--json", env=env).json
        assert done["inserted"] == 2
        assert done["recovery_point"]
        assert quick.sql(ROWS, path=remote) == EXPECTED
        assert (
            "is in trades already"
            in quick.inv("db.insert", "trades", "fills.csv", *MAP, "--remote", env=env, code=2).err
        )
        found = quick.inv("db.diff", backup, "--remote", "--format", "csv", env=env, code=1)
        assert found.out == (
            "table,key,difference,column,a,b\n"
            "trades,9007199254740993,only in b,,,\n"
            "trades,9007199254740994,only in b,,,\n"
        )
        info = quick.ok("db.info", "--remote", "--json", "--max-backup-age", "1h", env=env).json
        assert info["rows"] == found_rows(quick, remote)
        assert (info["engine"], info["backup"]["path"]) == ("Cloudflare D1", backup)


def found_rows(quick: QuickWorkspace, path: Path) -> int:
    tables = ("balances", "positions", "system_logs", "trade_signals", "trades")
    return sum(quick.sql(f"SELECT count(*) FROM {table}", path=path)[0][0] for table in tables)


def test_a_row_that_is_there_already_is_a_failure_on_d1_too(quick: QuickWorkspace, applied: Path) -> None:
    """A UNIQUE violation with --remote: refused before anything is sent, or tried and undone, and never half."""
    remote = quick.root.parent / "remote.sqlite"
    remote.write_bytes(applied.read_bytes())
    (name,) = quick.sql("SELECT id FROM trades LIMIT 1", path=remote)[0]
    before = quick.sql("SELECT count(*) FROM trades", path=remote)
    header = "id,timestamp,exchange,symbol,action,status"
    (quick.root / "two.csv").write_text(f"{header}\nnew,1,e,s,BUY,OK\n{name},1,e,s,BUY,OK\n")
    statement = (
        f"INSERT INTO trades ({header}) VALUES ('new',1,'e','s','BUY','OK'), ('{name}',1,'e','s','BUY','OK')"
    )
    with served(quick, remote) as env:
        refused = quick.inv("db.insert", "trades", "two.csv", "--remote", env=env, code=2).err
        assert f"two.csv, line 3: its id {name} is in trades already. Nothing was changed." in refused
        failed = quick.inv("db.query", statement, "--write", "--remote", env=env, code=1).err
        assert "UNIQUE constraint failed: trades.id" in failed
        assert "It changed nothing." in failed
    assert quick.sql("SELECT count(*) FROM trades", path=remote) == before
