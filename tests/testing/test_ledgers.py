"""Ledgers to order: whose they are, of what scope, from what; and that no wrong test passes on them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
import sqlite_utils  # noqa: F401

import hoox_tasks.server  # noqa: F401
from hoox_tasks.config.settings import bundled

# A suite that runs in this process forgets what it imported first; two copies of one class would not do.

pytest_plugins = ["pytester"]

QUIET = ("-p", "no:faker", "-p", "no:hypothesispytest", "-p", "no:benchmark")


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder for a suite of its own, in which warnings are errors."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\nfilterwarnings = error")
    return pytester


def run(suite: pytest.Pytester, source: str, *arguments: str, **outcomes: int) -> pytest.RunResult:
    """Run one module as a suite, and expect these outcomes."""
    suite.makepyfile(test_it=source)
    result = suite.runpytest_inprocess(*QUIET, *arguments)
    result.assert_outcomes(**outcomes)
    return result


# -- honest: counting -----------------------------------------------------------------------------


def test_a_file_is_counted_whoever_opens_it(suite: pytest.Pytester) -> None:
    """Statements on `hoox_db_url` count, of every connection, in every thread, and only in the block."""
    source = """
        import sqlite3, threading
        def work(path, times):
            connection = sqlite3.connect(path)
            for number in range(times):
                connection.execute("SELECT ?", [number]).fetchall()
            connection.close()
        def test_counted(hoox_db_url, hoox_queries):
            path = hoox_db_url.removeprefix("sqlite:///")
            work(path, 3)
            with hoox_queries(5) as queries:
                work(path, 2)
                thread = threading.Thread(target=work, args=(path, 3))
                thread.start()
                thread.join()
            assert queries.statements == [f"SELECT {n}" for n in (0, 1, 0, 1, 2)]
            work(path, 3)
        def test_too_many(hoox_db_url, hoox_queries):
            with hoox_queries(at_most=2):
                work(hoox_db_url.removeprefix("sqlite:///"), 100)
    """
    result = run(suite, source, passed=1, failed=1)
    result.stdout.fnmatch_lines(["*100 statements ran, more than 2:"])


def test_what_a_client_of_d1_sends_is_counted(suite: pytest.Pytester) -> None:
    """Each statement that a client posts to `hoox_d1` counts once, those of the API itself do not."""
    source = """
        def test_counted(hoox_d1, hoox_queries):
            with hoox_queries(3) as queries:
                for number in range(2):
                    hoox_d1.client.post("query", json={"sql": f"SELECT {number}"})
                hoox_d1.client.post("query", json={"sql": "DELETE FROM trades; SELECT 3"})
        def test_too_many(hoox_d1, hoox_queries):
            with hoox_queries(at_most=0):
                for number in range(10):
                    hoox_d1.client.post("query", json={"sql": f"SELECT {number}"})
    """
    result = run(suite, source, failed=2)
    result.stdout.fnmatch_lines(["*4 statements ran instead of 3:", "*10 statements ran, more than 0:"])


def test_counting_asks_which_ledger_is_meant(suite: pytest.Pytester) -> None:
    """With no ledger, with several, or where nobody opened the file, the test fails and says what to give."""
    source = """
        import sqlite3, subprocess, sys
        def test_none(hoox_queries):
            with hoox_queries(): pass
        def test_two(hoox_db, hoox_db_path, hoox_queries):
            with hoox_queries(): pass
        def test_not_opened(hoox_db_path, hoox_queries):
            with hoox_queries(at_most=5): pass
        def test_not_watched(hoox_db_path, hoox_queries):
            with hoox_queries(at_most=5):
                sqlite3.Connection(hoox_db_path).close()
        def test_named(hoox_db, hoox_db_path, hoox_queries):
            with hoox_queries(1, database=hoox_db):
                hoox_db.execute("SELECT 1").fetchall()
            own = sqlite3.connect(":memory:")
            with hoox_queries(1, database=own), hoox_queries(1, database=own):
                own.execute("SELECT 1").fetchall()
            own.close()
            with hoox_queries(1, database=hoox_db_path), hoox_queries(1, database=f"sqlite:///{hoox_db_path}"):
                connection = sqlite3.connect(hoox_db_path)
                connection.execute("SELECT 1").fetchall()
                connection.close()
    """
    result = run(suite, source, passed=1, failed=4)
    result.stdout.fnmatch_lines(
        [
            "*The test has 0 ledgers. Say a ledger of this test's: hoox_queries(database=...).",
            "*The test has 2 ledgers. Say which of them is meant: hoox_queries(database=...).",
            "*No connection of this process to the ledger's file was seen, so nothing was counted.*",
            "*A connection to the ledger's file was not made by sqlite3.connect*",
        ]
    )


def test_statements_of_triggers_do_not_count(suite: pytest.Pytester) -> None:
    """A statement counts once, whatever it fires; one that is run again counts again."""
    source = """
        import sqlite3
        SCHEMA = '''
            CREATE TABLE t (a PRIMARY KEY, b);
            CREATE TABLE child (a REFERENCES t ON DELETE CASCADE);
            CREATE TABLE audit (a);
            CREATE TRIGGER on_t AFTER UPDATE ON t BEGIN
                INSERT INTO audit VALUES (new.a); UPDATE audit SET a = a;
            END;
            CREATE VIRTUAL TABLE words USING fts5(text);
            INSERT INTO t VALUES (1, 1), (2, 2), (3, 3); INSERT INTO child VALUES (1), (1), (2);
        '''
        def exercise(connection, queries):
            connection.execute("PRAGMA foreign_keys = ON")
            with queries(1): connection.execute("UPDATE t SET b = b + 1")
            with queries(1): connection.execute("DELETE FROM t WHERE a < 3")
            with queries(1): connection.execute("INSERT INTO words VALUES ('a b')")
            with queries(2):
                connection.execute("UPDATE t SET b = 7")
                connection.execute("UPDATE t SET b = 7")
            with queries(3):
                for number in range(3): connection.execute("UPDATE t SET b = ?", [number])
            with queries(3):
                for number in range(3): connection.execute("SELECT 1").fetchall()
        def test_in_memory(hoox_db, hoox_queries):
            hoox_db.conn.executescript(SCHEMA)
            exercise(hoox_db.conn, hoox_queries)
        def test_in_a_file(hoox_db_path, hoox_queries):
            connection = sqlite3.connect(hoox_db_path, isolation_level=None)
            connection.executescript(SCHEMA)
            exercise(connection, hoox_queries)
            connection.close()
        def test_without_any_trigger(hoox_db, hoox_queries):
            hoox_db.conn.execute("CREATE TABLE plain (x)")
            with hoox_queries(3):
                for number in range(3): hoox_db.conn.execute("INSERT INTO plain VALUES (1)")
    """
    run(suite, source, passed=3)


# -- honest: differences --------------------------------------------------------------------------


def test_a_misspelt_table_is_an_error(suite: pytest.Pytester) -> None:
    """A difference knows all tables of the ledger; asked about another it names the one that is near."""
    source = """
        import pytest
        @pytest.mark.parametrize("ask", [
            lambda diff: diff["trade"], lambda diff: diff.get("trade"), lambda diff: "trade" in diff])
        def test_misspelt(hoox_db, hoox_db_diff, ask):
            with pytest.raises(KeyError, match="no table trade. Did you mean trades"):
                ask(hoox_db_diff())
        def test_right(hoox_db, hoox_db_diff):
            hoox_db["balances"].delete_where()
            diff = hoox_db_diff()
            assert list(diff) == ["balances"]
            assert not diff["trades"] and "trades" not in diff and diff.get("trades") is None
            assert "balances" in diff and diff.get("balances").removed
            with pytest.raises(KeyError, match="There are: balances, "):
                diff["quite another"]
    """
    run(suite, source, passed=4)


def test_a_difference_finds_every_change(suite: pytest.Pytester) -> None:
    """What is uncommitted, differs in letter case only, or is a row among equal ones is told exactly."""
    source = """
        def test_exact(hoox_db, hoox_db_diff):
            hoox_db.conn.execute("UPDATE trades SET symbol = lower(symbol) WHERE rowid = 1")
            hoox_db.conn.execute("DELETE FROM balances WHERE rowid = 2")
            hoox_db.conn.execute("INSERT INTO system_logs (id, timestamp, level, service, message)"
                                 " SELECT 'new', timestamp, level, service, message FROM system_logs LIMIT 1")
            assert hoox_db.conn.in_transaction
            assert str(hoox_db_diff()) == "balances +0 ~0 -1, system_logs +1 ~0 -0, trades +0 ~1 -0"
            hoox_db.conn.commit()
            hoox_db.conn.execute("VACUUM")
            assert str(hoox_db_diff()) == "balances +0 ~0 -1, system_logs +1 ~0 -0, trades +0 ~1 -0"
    """
    run(suite, source, passed=1)


# -- honest: files and arguments ------------------------------------------------------------------


def test_no_file_is_written_over(suite: pytest.Pytester) -> None:
    """`path=` refuses a file that is there, also one in WAL mode; `hoox_db_path` takes another name."""
    source = """
        import sqlite3
        from pathlib import Path
        import pytest
        @pytest.fixture
        def mine(tmp_path):
            path = tmp_path / "hoox-ledger.sqlite"
            connection = sqlite3.connect(path)
            connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE mine (x); INSERT INTO mine VALUES (1)")
            yield path
            assert connection.execute("SELECT x FROM mine").fetchall() == [(1,)]
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            connection.close()
        def test_refused(mine, hoox_db_factory):
            for make in (hoox_db_factory, hoox_db_factory.file):
                with pytest.raises(pytest.fail.Exception, match="There is a file .* already"):
                    make(path=mine)
        def test_another_name(mine, hoox_db_path):
            assert hoox_db_path != mine and hoox_db_path.parent == mine.parent
        def test_the_users_own_name(tmp_path, hoox_db_path):
            assert hoox_db_path != tmp_path / "ledger.sqlite"
    """
    run(suite, source, passed=3)


def test_arguments_are_checked_everywhere(suite: pytest.Pytester) -> None:
    """Factory, marker and knobs take the same values, ISO dates among them, and refuse the same others."""
    source = """
        import pytest
        WRONG = [
            ({"seed": -2}, "seed is -2, which is no whole number from 0 on"),
            ({"seed": True}, "seed is True, which is no whole number from 0 on"),
            ({"scale": "2"}, "scale is '2', which is no number above 0"),
            ({"scale": 0}, "scale is 0, which is no number above 0"),
            ({"start": "someday"}, "start is 'someday', which is no datetime"),
            ({"scenario": 3}, "scenario is 3, which is no text"),
            ({"now": 1}, "now is 1, which is neither True nor False"),
            ({"sede": 3}, "there is no sede, but there is seed"),
        ]
        @pytest.mark.parametrize(("choices", "words"), WRONG)
        def test_wrong(hoox_db_factory, hoox_ledgers, choices, words):
            for make in (hoox_db_factory, hoox_db_factory.file, hoox_ledgers):
                with pytest.raises(pytest.fail.Exception, match=words):
                    make(**choices)
        @pytest.mark.hoox(start="2027-01-01")
        def test_iso(hoox_db, hoox_db_factory):
            assert hoox_db.execute("SELECT min(timestamp) FROM trade_signals").fetchone()[0] >= 1798761600
            later = hoox_db_factory(start="2028-01-01T00:00:00+00:00")
            assert later.execute("SELECT min(timestamp) FROM trade_signals").fetchone()[0] >= 1830297600
        class TestKnob:
            @pytest.fixture
            def hoox_scale(self): return "2"
            def test_knob(self, hoox_db): pass
    """
    result = run(suite, source, passed=9, errors=1)
    result.stdout.fnmatch_lines(["*A fixture is wrong: hoox_scale is '2', which is no number above 0."])


def test_kept_ledgers_never_share_a_name(suite: pytest.Pytester) -> None:
    """Tests whose ids differ only in characters that no file name has leave a file each."""
    source = """
        import pytest
        @pytest.mark.parametrize("x", ["a/b", "a b", "a-b"])
        def test_fails(hoox_db, x): assert False
    """
    run(suite, source, "--hoox-keep", failed=3)
    assert len(list(suite.path.rglob("hoox-kept/*.sqlite"))) == 3


@pytest.mark.parametrize("folder", ["a%20b", "what?", "a b", "plain"])
def test_a_url_opens_whatever_is_in_the_path(suite: pytest.Pytester, folder: str) -> None:
    """The URL means the file also where its path has characters that mean something in a URL."""
    source = """
        import sqlite3
        def test_opens(hoox_db_url, hoox_db_path, hoox_queries):
            address, _, query = hoox_db_url.removeprefix("sqlite:///").partition("?")
            connection = sqlite3.connect(address, uri="uri=true" in query)
            assert connection.execute("SELECT count(*) FROM trades").fetchone()[0] > 0
            with hoox_queries(1, database=hoox_db_url):
                connection.execute("SELECT 1").fetchall()
            connection.close()
    """
    run(suite, source, f"--basetemp={suite.path / folder}", passed=1)


# -- any scope ------------------------------------------------------------------------------------


def test_ledgers_of_every_scope(suite: pytest.Pytester) -> None:
    """`hoox_ledgers` serves class, module and session fixtures, and closes each when its time has come."""
    source = """
        import sqlite3
        import pytest
        seen = []
        @pytest.fixture(scope="module")
        def shared(hoox_ledgers):
            with hoox_ledgers.open(seed=3) as db:
                yield db
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                db.execute("SELECT 1")
        @pytest.fixture(scope="session")
        def path(hoox_ledgers): return hoox_ledgers.file()
        @pytest.fixture(scope="class")
        def of_class(hoox_ledgers): return hoox_ledgers(scenario=None)
        def test_one(shared): shared["trades"].delete_where()
        def test_two(shared, path, hoox_db_diff, hoox_queries):
            assert shared["trades"].count == 0
            assert list(hoox_db_diff(shared)) == ["trades"]
            with hoox_queries(1, database=shared): shared.execute("SELECT 1").fetchall()
            with hoox_queries(1, database=path):
                connection = sqlite3.connect(path)
                connection.execute("SELECT 1").fetchall()
                connection.close()
        class TestClass:
            def test_empty(self, of_class): assert of_class["trades"].count == 0
    """
    run(suite, source, passed=3)


def test_a_ledger_for_each_example(suite: pytest.Pytester) -> None:
    """Under `@given` each example has a ledger of its own, and hypothesis has nothing to object."""
    source = """
        from hypothesis import given, settings, strategies as st
        def test_property(hoox_ledgers):
            @given(st.integers(0, 3))
            @settings(max_examples=10, database=None, deadline=None)
            def check(seed):
                with hoox_ledgers.open(seed=seed) as db:
                    assert db["trades"].count > 0
                    db["trades"].delete_where()
            check()
            assert hoox_ledgers.ledgers == []
        @given(number=st.integers(0, 3))
        @settings(max_examples=5, database=None, deadline=None)
        def test_given(hoox_ledgers, number):
            with hoox_ledgers.open() as db:
                assert db["trades"].count > 0
                db["trades"].delete_where()
    """
    run(suite, source, passed=2)


def test_other_threads_may_use_a_ledger(suite: pytest.Pytester) -> None:
    """A ledger in memory serves the threads of a pool, as of an application's test client."""
    source = """
        from concurrent.futures import ThreadPoolExecutor
        def test_threads(hoox_db):
            count = lambda _: hoox_db.execute("SELECT count(*) FROM trades").fetchone()[0]
            with ThreadPoolExecutor(4) as pool:
                assert len(set(pool.map(count, range(20)))) == 1
                pool.submit(hoox_db["trades"].delete_where).result()
            assert hoox_db["trades"].count == 0
    """
    run(suite, source, passed=1)


def test_the_template_follows_marker_and_knobs(suite: pytest.Pytester) -> None:
    """`hoox_template` is what the test's other ledgers are copies of, and nobody can write to it."""
    source = """
        import sqlite3
        import pytest
        def rows(db): return db.execute("SELECT * FROM trades").fetchall()
        @pytest.mark.hoox(seed=5)
        def test_marker(hoox_db, hoox_template, hoox_db_factory):
            assert rows(hoox_template) == rows(hoox_db) == rows(hoox_db_factory(seed=5))
            with pytest.raises(sqlite3.OperationalError): hoox_template["trades"].delete_where()
        class TestKnob:
            @pytest.fixture
            def hoox_scenario(self): return "edge"
            def test_knob(self, hoox_template, hoox_db): assert rows(hoox_template) == rows(hoox_db)
    """
    run(suite, source, passed=2)


# -- from your own --------------------------------------------------------------------------------


def test_a_ledger_from_a_backup(suite: pytest.Pytester) -> None:
    """A backup becomes a template, anonymised before it is kept, and made anew when either changes."""
    backup = suite.path / "prod.sql"
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript((bundled("migrations") / "0001_live_ledger.sql").read_text())
        connection.execute(
            "INSERT INTO system_logs (id, timestamp, level, service, message)"
            " VALUES ('a', 1, 'INFO', 'mail', 'told jane.doe@example.org')"
        )
        backup.write_text("\n".join(connection.iterdump()))
    suite.makeconftest("""
        import pytest
        @pytest.fixture(scope="session")
        def hoox_anonymize():
            def hide(db): db.execute("UPDATE system_logs SET message = 'hidden'")
            return hide
    """)
    source = """
        def test_own(hoox_db_factory):
            db = hoox_db_factory(backup="prod.sql")
            assert [row["message"] for row in db["system_logs"].rows] == ["hidden"]
            assert "fee" in db["trades"].columns_dict  # It was migrated as well.
    """
    result = run(suite, source, passed=1)
    result.stdout.fnmatch_lines(["hoox: backup prod.sql, template built"])
    kept = [path for path in suite.path.joinpath(".pytest_cache/d/hoox").iterdir() if path.is_file()]
    assert not [path for path in kept if b"jane.doe" in path.read_bytes()]
    result = run(suite, source, passed=1)
    result.stdout.fnmatch_lines(["hoox: backup prod.sql, template reused"])
    conftest = suite.path / "conftest.py"
    conftest.write_text(conftest.read_text() + "\n# Another thought.\n")
    result = run(suite, source, passed=1)
    result.stdout.fnmatch_lines(["hoox: backup prod.sql, template rebuilt: anonymize changed"])


def test_a_ledger_that_ends_now(suite: pytest.Pytester) -> None:
    """With `now` the newest row is of this run, all others as far before it, and nothing more is kept."""
    source = """
        import pytest
        from hoox_tasks.testing.templates import BEGAN  # When the process that runs this began.
        def newest(db): return db.execute("SELECT max(max(timestamp), max(created_at)) FROM trades").fetchone()[0]
        @pytest.mark.hoox(now=True)
        def test_now(hoox_db, hoox_db_path, hoox_db_factory):
            then = hoox_db_factory(now=False)
            columns = {"trades": ["timestamp", "created_at"], "positions": ["updated_at"],
                       "trade_signals": ["timestamp", "processed_at"], "balances": ["timestamp"],
                       "system_logs": ["timestamp"]}
            moments = lambda db, t, c: [row[0] for row in db.execute(f"SELECT {c} FROM {t} ORDER BY rowid")]
            pairs = [pair for t, cs in columns.items() for c in cs
                     for pair in zip(moments(then, t, c), moments(hoox_db, t, c))]
            assert len({after - before for before, after in pairs if before}) == 1
            assert abs(max(after for _, after in pairs if after) - BEGAN) < 600
            assert hoox_db.execute("SELECT symbol FROM trades").fetchall() == then.execute(
                "SELECT symbol FROM trades").fetchall()
    """
    run(suite, source, passed=1)
    kept = suite.path / ".pytest_cache/d/hoox"
    assert len(list(kept.glob("*.sqlite"))) == 1


def test_an_old_ledger_can_be_migrated_on(suite: pytest.Pytester) -> None:
    """`migrate` applies what a ledger lacks, in memory or in a file, and what it holds stays."""
    source = """
        import sqlite3
        import pytest
        def test_on(hoox_db_factory, tmp_path):
            old = hoox_db_factory(migrate_to="0001")
            old["trades"].delete_where("rowid = 1")
            count = old["trades"].count
            assert "fee" not in old["trades"].columns_dict
            assert hoox_db_factory.migrate(old) == ["0002_runbook_columns.sql"]
            assert "fee" in old["trades"].columns_dict and old["trades"].count == count
            assert old.execute("PRAGMA foreign_keys").fetchone() == (1,)
            assert hoox_db_factory.migrate(old) == []
        def test_file(hoox_db_factory):
            path = hoox_db_factory.file(migrate_to="0001")
            assert hoox_db_factory.migrate(path, to="0002") == ["0002_runbook_columns.sql"]
            connection = sqlite3.connect(path)
            connection.execute("SELECT fee FROM trades")
            connection.close()
        def test_uncommitted(hoox_db_factory):
            old = hoox_db_factory(migrate_to="0001")
            old.conn.execute("DELETE FROM trades")
            with pytest.raises(pytest.fail.Exception, match="not committed"): hoox_db_factory.migrate(old)
    """
    run(suite, source, passed=3)


def test_one_more_row_like_these(suite: pytest.Pytester) -> None:
    """A row that is asked for fits the ledger: newest, at its prices, with its signal, the rest as given."""
    source = """
        import json
        import pytest
        def test_trade(hoox_db, hoox_rows, hoox_db_diff):
            last = next(hoox_db.query("SELECT * FROM trades WHERE symbol = 'ETHUSDT' AND price > 0 ORDER BY timestamp DESC"))
            newest = hoox_db.execute("SELECT max(timestamp) FROM trades").fetchone()[0]
            row = hoox_rows.trade(symbol="ETHUSDT", quantity=2.0, action="LONG")
            assert (row["symbol"], row["quantity"], row["price"]) == ("ETHUSDT", 2.0, last["price"])
            assert row["timestamp"] > newest and row["realized_pnl"] is None
            assert row["fee"] == pytest.approx(last["fee"] / last["quantity"] * 2.0)
            assert json.loads(row["raw_response"])["orderId"] == row["order_id"]
            signal = hoox_db["trade_signals"].get(row["signal_id"])
            assert (signal["symbol"], signal["signal_type"]) == ("ETHUSDT", "LONG")
            assert str(hoox_db_diff()) == "trade_signals +1 ~0 -0, trades +1 ~0 -0"
            assert hoox_rows.trade()["id"] != row["id"]
        def test_others(hoox_db, hoox_rows, hoox_empty_db, hoox_db_diff):
            assert hoox_rows.position(side="SHORT", size=3)["size"] == 3
            balance = hoox_rows.balance(free=10.0, used=5.0)
            assert (balance["total"], balance["free"]) == (15.0, 10.0)
            assert hoox_rows.system_log(level="ERROR")["level"] == "ERROR"
            assert str(hoox_db_diff(hoox_db)) == "balances +1 ~0 -0, positions +1 ~0 -0, system_logs +1 ~0 -0"
            assert hoox_rows(hoox_empty_db).trade(symbol="MINE")["symbol"] == "MINE"
            with pytest.raises(pytest.fail.Exception, match="no column symbl. Did you mean symbol"):
                hoox_rows.trade(symbl="x")
        def test_old_schema(hoox_db_factory, hoox_rows):
            old = hoox_db_factory(migrate_to="0001")
            assert "fee" not in hoox_rows(old).trade()
    """
    run(suite, source, passed=3)


# -- strangers ------------------------------------------------------------------------------------


def test_a_folder_of_another_tool_is_passed_over(suite: pytest.Pytester) -> None:
    """A `migrations/` without migrations, as Flask-Migrate has one, leaves the ledger with our schema."""
    suite.mkdir("migrations").joinpath("env.py").write_text("# Alembic")
    run(suite, "def test_ours(hoox_db): assert hoox_db['trades'].count > 0", passed=1)


def test_migrations_of_another_domain_are_refused(suite: pytest.Pytester) -> None:
    """A `migrations/` that makes no trade ledger is refused with the name of the setting."""
    folder = suite.mkdir("migrations")
    folder.joinpath("V1__init.sql").write_text("CREATE TABLE customers (id INTEGER PRIMARY KEY);")
    result = run(suite, "def test_it(hoox_db): pass\ndef test_empty(hoox_empty_db): pass", errors=2)
    result.stdout.fnmatch_lines(["The migrations in *migrations make no table of a trade ledger.*hoox_migr*"])
    suite.makeini("[pytest]\nhoox_migrations_dir = migrations")
    run(suite, "def test_it(hoox_db): assert 'customers' in hoox_db.table_names()", passed=1)
