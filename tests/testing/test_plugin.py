"""The pytest plugin, run on small suites as a user would write them, alone and under xdist."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import sqlite_utils  # noqa: F401

import hoox_tasks.server  # noqa: F401
from tests.support import ROOT
from tests.support.programs import program

# A suite that runs in this process forgets what it imported first; two copies of one class would not do.

pytest_plugins = ["pytester"]

QUIET = ("-p", "no:faker", "-p", "no:hypothesispytest", "-p", "no:benchmark")
"""Other plugins, which take longer to start than the suites do to run."""

SUITE = """
import os, sqlite3, subprocess, sys
from datetime import datetime, UTC
import httpx, pytest, sqlite_utils
from hoox_tasks.testing import LedgerDifference

def trades(db):
    return db.execute("SELECT * FROM trades ORDER BY id").fetchall()

@pytest.mark.parametrize("order", [1, 2])
def test_db_is_each_tests_own(hoox_db, order):
    assert isinstance(hoox_db, sqlite_utils.Database)
    assert type(hoox_db.conn) is sqlite3.Connection
    assert hoox_db["trades"].count > 0
    assert hoox_db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    hoox_db["trades"].drop()
    hoox_db["trade_signals"].delete_where()
    hoox_db.conn.commit()

@pytest.fixture
def after_teardown(request):
    # Set up before the ledger, so torn down after it.
    connections = []
    yield connections
    for connection in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")

def test_connections_are_closed_whatever_is_open(after_teardown, hoox_db, hoox_db_factory, tmp_path):
    for db in (hoox_db, hoox_db_factory(path=tmp_path / "l.sqlite")):
        after_teardown.append(db.conn)
        db.conn.execute("BEGIN")
        db.conn.execute("DELETE FROM trades")
        db.conn.execute("SELECT * FROM trade_signals")

def test_empty_db_has_tables_and_no_rows(hoox_empty_db, hoox_db):
    assert hoox_empty_db["trades"].count == 0
    assert sorted(hoox_empty_db.schema.split(';')) == sorted(hoox_db.schema.split(';'))
    assert hoox_db["trades"].count > 0

@pytest.mark.parametrize("order", [1, 2])
def test_path_is_a_file_of_ones_own(hoox_db_path, hoox_db, order):
    query = "connect(sys.argv[1]).execute('SELECT count(*) FROM trades').fetchone()[0]"
    program = f"import sqlite3, sys; print(sqlite3.{query})"
    done = subprocess.run([sys.executable, "-c", program, str(hoox_db_path)], capture_output=True, text=True)
    assert int(done.stdout) == hoox_db["trades"].count
    with sqlite3.connect(hoox_db_path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        connection.execute("DROP TABLE trades")
    connection.close()

def test_url_is_of_the_path(hoox_db_url, hoox_db_path):
    assert hoox_db_url == f"sqlite:///{hoox_db_path}"

def test_factory_makes_ledgers_to_order(hoox_db_factory, tmp_path):
    one, same, other = hoox_db_factory(), hoox_db_factory(), hoox_db_factory(seed=99)
    assert trades(one) == trades(same) != trades(other)
    triple = hoox_db_factory(scale=3)
    assert triple["trade_signals"].count == 3 * one["trade_signals"].count
    later = hoox_db_factory(start=datetime(2030, 1, 1, tzinfo=UTC))
    assert later.execute("SELECT min(timestamp) FROM trades").fetchone()[0] >= 1893456000
    assert hoox_db_factory(scenario="edge")["trades"].count != one["trades"].count
    old = hoox_db_factory(migrate_to="0001", path=tmp_path / "a" / "old.sqlite")
    assert "fee" in one["trades"].columns_dict and "fee" not in old["trades"].columns_dict
    assert old["trades"].count == one["trades"].count
    assert (tmp_path / "a" / "old.sqlite").is_file()

def test_d1_answers_over_http_and_in_process(hoox_d1, hoox_db):
    count = {"sql": "SELECT count(*) AS n FROM trades"}
    expected = [{"n": hoox_db["trades"].count}]
    assert hoox_d1.client.post("query", json=count).json()["result"][0]["results"] == expected
    assert hoox_d1.env["CLOUDFLARE_API_BASE_URL"] == hoox_d1.url
    assert hoox_d1.env["CLOUDFLARE_API_TOKEN"] == hoox_d1.token
    assert hoox_d1.env["CLOUDFLARE_ACCOUNT_ID"] == hoox_d1.account_id
    path = f"{hoox_d1.url}/accounts/{hoox_d1.account_id}/d1/database/{hoox_d1.database_id}/query"
    assert httpx.post(path, json=count).status_code in (400, 401, 403)
    headers = {"Authorization": f"Bearer {hoox_d1.token}"}
    with httpx.Client(transport=httpx.WSGITransport(hoox_d1.app), headers=headers) as client:
        assert client.post(path, json=count).json()["result"][0]["results"] == expected

def test_d1_is_over_the_tests_path(hoox_d1, hoox_db_path, hoox_db_diff):
    done = hoox_d1.client.post("query", json={"sql": "DELETE FROM trades"})
    assert done.json()["success"], done.text
    assert list(hoox_db_diff(hoox_db_path)) == ["trades"]

def test_template_cannot_be_written(hoox_template, hoox_db):
    assert trades(hoox_template) == trades(hoox_db)
    with pytest.raises(sqlite3.OperationalError):
        hoox_template.execute("DELETE FROM trades")

def test_diff_tells_rows(hoox_db, hoox_db_diff):
    assert hoox_db_diff() == {}
    ids = [row["id"] for row in hoox_db.query("SELECT id FROM trades ORDER BY id LIMIT 2")]
    hoox_db["trades"].delete(ids[0])
    hoox_db["trades"].update(ids[1], {"fee": 12.5})
    hoox_db["system_logs"].insert({"id": "x", "level": "INFO", "service": "s", "message": "m"}, pk="id")
    hoox_db.conn.row_factory = lambda cursor, row: dict(zip([c[0] for c in cursor.description], row))
    diff: LedgerDifference = hoox_db_diff()
    assert str(diff) == "system_logs +1 ~0 -0, trades +0 ~1 -1"
    assert [row["id"] for row in diff["trades"].removed] == [ids[0]]
    (before, after), = diff["trades"].changed
    assert before["id"] == after["id"] == ids[1] and after["fee"] == 12.5 != before["fee"]
    assert diff["system_logs"].added[0]["message"] == "m"
    assert not diff["positions"]

def test_diff_tells_tables_apart_that_come_and_go(hoox_db, hoox_db_diff):
    removed = hoox_db["balances"].count
    hoox_db["balances"].drop()
    hoox_db.execute("CREATE TABLE notes (text)")
    hoox_db.execute("INSERT INTO notes VALUES (NULL), (NULL)")
    assert str(hoox_db_diff()) == f"balances +0 ~0 -{removed}, notes +2 ~0 -0"

def test_queries_are_counted(hoox_db, hoox_queries, hoox_db_factory):
    with hoox_queries() as outer, hoox_queries(1) as inner:
        hoox_db.execute("SELECT 1 WHERE ? = 'x'", ["x"]).fetchall()
    assert inner.statements == outer.statements == ["SELECT 1 WHERE 'x' = 'x'"]
    with hoox_queries(at_most=2) as queries, hoox_db.conn:
        hoox_db.conn.execute("DELETE FROM trades")
    assert queries.count == 1
    other = hoox_db_factory()
    with hoox_queries(1, database=other):
        hoox_db.execute("SELECT 1").fetchall()
        other.execute("SELECT 2").fetchall()

@pytest.mark.xfail(raises=pytest.fail.Exception, strict=True)
def test_too_many_queries_fail(hoox_db, hoox_queries):
    with hoox_queries(1):
        hoox_db.execute("SELECT 1").fetchall()
        hoox_db.execute("SELECT 2").fetchall()

@pytest.mark.hoox(scenario="edge", seed=3)
class TestMarkers:
    def test_of_the_class(self, hoox_db, hoox_db_factory):
        assert trades(hoox_db) == trades(hoox_db_factory(scenario="edge", seed=3))

    @pytest.mark.hoox(seed=4, scale=2)
    def test_nearest_wins_argument_by_argument(self, hoox_db, hoox_db_factory):
        assert trades(hoox_db) == trades(hoox_db_factory(scenario="edge", seed=4, scale=2))
        assert trades(hoox_db) != trades(hoox_db_factory(scenario="edge", seed=3, scale=2))
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder for a suite of its own, in which warnings are errors."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\nfilterwarnings = error")
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return suite.runpytest_inprocess(*QUIET, *arguments)


def in_rows(suite: pytest.Pytester, assertion: str) -> None:
    """Make a suite of one test, about `rows` (of quiet under seed 7) and `own` (what it is given)."""
    suite.makepyfile(
        test_rows=f"""
        def test_rows(hoox_db, hoox_db_factory):
            read = lambda db: db.execute("SELECT * FROM trades").fetchall()
            own, rows = read(hoox_db), read(hoox_db_factory(scenario="quiet", seed=7))
            assert {assertion}
        """
    )


@pytest.mark.parametrize("workers", ["0", "4"])
def test_every_fixture(suite: pytest.Pytester, workers: str) -> None:
    """Every fixture and marker does what it promises, in one process and under four xdist workers."""
    suite.makepyfile(SUITE)
    result = suite.runpytest_subprocess(*QUIET, "-n", workers)
    result.assert_outcomes(passed=SUITE.count("def test_") - 1 + 2, xfailed=1)


# -- loading --------------------------------------------------------------------------------------


def test_it_is_found_by_its_entry_point() -> None:
    """Installing the package is all that it takes."""
    (found,) = entry_points(group="pytest11", name="hoox")
    assert found.value == "hoox_tasks.testing.plugin"


def test_loading_is_cheap(suite: pytest.Pytester) -> None:
    """A run that does not use the plugin pays a thirtieth of what pytest costs, and imports nothing for it."""
    suite.makepyfile("def test_nothing(): pass")
    environment = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPYCACHEPREFIX": str(suite.path / "bytecode"),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    parts = []
    for _ in range(4):
        command = program("plugin_cost")
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        said, part = done.stdout.splitlines()[-1].split(" part ")
        assert said == "imported [] status 0"
        parts.append(float(part))
    assert min(parts) < 1 / 30


# -- choosing -------------------------------------------------------------------------------------


def test_the_command_line_wins_over_the_ini_file(suite: pytest.Pytester) -> None:
    """--hoox-seed and --hoox-scenario win over the ini options, which win over faker_seed."""
    suite.makeini("[pytest]\nhoox_seed = 5\nhoox_scenario = edge")
    suite.makeconftest("""
        import pytest
        @pytest.fixture(scope="session", autouse=True)
        def faker_seed(): return 7
    """)
    in_rows(suite, "own == read(hoox_db_factory(scenario='edge', seed=5)) != rows")
    run(suite).assert_outcomes(passed=1)
    in_rows(suite, "own == rows")
    result = run(suite, "--hoox-scenario=quiet", "--hoox-seed=7")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["hoox: scenario quiet, seed 7*"])


def test_fakers_own_seed_is_honoured(suite: pytest.Pytester) -> None:
    """A suite that seeds Faker by `faker_seed` seeds its ledgers as well."""
    suite.makeconftest("""
        import pytest
        @pytest.fixture(autouse=True)
        def faker_seed(): return 7
    """)
    in_rows(suite, "own == rows")
    run(suite).assert_outcomes(passed=1)


def test_knobs_are_overridden_by_name(suite: pytest.Pytester) -> None:
    """A suite that defines a knob's fixture decides for its tests; folders of its own are used."""
    suite.mkdir("scenarios").joinpath("mine.toml").write_text('description = "No trades."\n')
    suite.mkdir("sql").joinpath("0001_notes.sql").write_text("CREATE TABLE notes (text TEXT);")
    suite.makeconftest("""
        from pathlib import Path
        import pytest
        @pytest.fixture(scope="session")
        def hoox_scenario(): return "mine"
        @pytest.fixture(scope="session")
        def hoox_fixtures_dir(): return Path("scenarios")
        @pytest.fixture(scope="session")
        def hoox_migrations_dir(): return Path("sql")
    """)
    suite.makepyfile("""
        import pytest
        def test_own(hoox_db, hoox_template):
            assert "notes" in hoox_db.table_names() == hoox_template.table_names()
            assert "trades" not in hoox_db.table_names()
        class TestNearer:
            @pytest.fixture
            def hoox_scenario(self): return "quiet"
            def test_bundled_scenarios_stay(self, hoox_db): assert hoox_db["notes"].count == 0
    """)
    run(suite).assert_outcomes(passed=2)


def test_folders_come_from_the_ini_file_or_the_wrangler_config(suite: pytest.Pytester) -> None:
    """Migrations and scenarios are found from rootdir as the tasks find them, or where ini options say."""
    for folder in ("one", "two"):
        suite.mkdir(folder).joinpath("0001_x.sql").write_text(f"CREATE TABLE {folder} (x);")
    suite.mkdir("fixtures").joinpath("mine.toml").write_text('description = "No trades."\n')
    binding = '{"binding": "DB", "database_name": "l", "database_id": "1", "migrations_dir": "one"}'
    suite.path.joinpath("wrangler.jsonc").write_text(f'{{ /* mine */ "d1_databases": [{binding}] }}')
    suite.makepyfile("""
        import pytest
        @pytest.mark.hoox(scenario="mine")
        def test_tables(hoox_db, pytestconfig):
            expected = pytestconfig.getini("hoox_migrations_dir") or "one"
            assert expected in hoox_db.table_names()
    """)
    run(suite).assert_outcomes(passed=1)
    suite.makeini("[pytest]\nhoox_migrations_dir = two\nhoox_fixtures_dir = fixtures")
    run(suite).assert_outcomes(passed=1)


# -- what is said at the end ----------------------------------------------------------------------


def test_the_report_says_what_became_of_the_template(suite: pytest.Pytester) -> None:
    """The report has scenario and seed; template reused, or which file made it rebuilt."""
    folder = suite.mkdir("migrations")
    folder.joinpath("0001_first.sql").write_text("CREATE TABLE one (x);")
    fees = folder / "0004_add_fees.sql"
    fees.write_text("ALTER TABLE one ADD COLUMN fee;")
    suite.makeini("[pytest]\nfilterwarnings = error\nhoox_migrations_dir = migrations")
    suite.makepyfile("def test_one(hoox_db): pass")

    def told() -> str:
        result = run(suite, "--hoox-seed=3")
        result.assert_outcomes(passed=1)
        return next(line for line in result.outlines if line.startswith("hoox: "))

    plain = "hoox: scenario quiet, seed 3"
    assert told() == f"{plain}, template built"
    assert told() == f"{plain}, template reused"
    fees.write_text("ALTER TABLE one ADD COLUMN charge;")
    assert told() == f"{plain}, template rebuilt: 0004_add_fees.sql changed"
    assert told() == f"{plain}, template reused"
    (template,) = [
        path
        for path in suite.path.joinpath(".pytest_cache/d/hoox").glob("*.sqlite")
        if b"charge" in path.read_bytes()
    ]
    template.write_bytes(template.read_bytes()[:-1])
    assert told() == f"{plain}, template rebuilt: it was damaged"


# -- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ini", "arguments", "words"),
    [
        ("hoox_seed = some", (), "hoox_seed is 'some'. Give a whole number, 0 or more."),
        ("", ("--hoox-seed=-1",), "--hoox-seed is '-1'. Give a whole number, 0 or more."),
        (
            "hoox_scenario = quite",
            (),
            "There is no scenario 'quite'. Did you mean quiet? Choose one of: quiet, *",
        ),
        ("", ("--hoox-scenario=nope",), "There is no scenario 'nope'. Choose one of: *"),
        ("hoox_migrations_dir = gone", (), "hoox_migrations_dir is gone, but there is no folder *gone."),
        ("hoox_fixtures_dir = gone", (), "hoox_fixtures_dir is gone, but there is no folder *gone."),
        ("", ("--deselect=nothing",), "The hoox marker of *test_one is wrong: it got an unexpected *'sede'*"),
    ],
)
def test_mistakes_are_usage_errors(
    suite: pytest.Pytester, ini: str, arguments: tuple[str, ...], words: str
) -> None:
    """What cannot be right is refused before any test runs, in one sentence, with pytest's exit code 4."""
    suite.makeini(f"[pytest]\n{ini}")
    suite.makepyfile("""
        import pytest
        @pytest.mark.hoox(sede=3)
        def test_one(hoox_db): pass
    """)
    result = run(suite, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {words}"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_missing_folder_of_the_wrangler_config_is_a_usage_error(suite: pytest.Pytester) -> None:
    """A migrations_dir that is not there is refused, but only where a test needs a ledger."""
    binding = '{"binding": "DB", "migrations_dir": "gone"}'
    suite.path.joinpath("wrangler.json").write_text(f'{{"d1_databases": [{binding}]}}')
    suite.makepyfile("def test_one(): pass")
    run(suite).assert_outcomes(passed=1)
    suite.makepyfile("def test_one(hoox_db): pass")
    result = run(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: There is no migrations folder *gone*"])


def test_mistakes_of_one_test_fail_that_test_without_a_traceback(suite: pytest.Pytester) -> None:
    """Under xdist, and where only a fixture can tell, the test itself fails with the sentence."""
    suite.makepyfile("""
        import pytest
        @pytest.mark.hoox(seed="seven")
        def test_marker(hoox_db): pass
        @pytest.mark.hoox(scenario="nope")
        def test_scenario(hoox_db): pass
        def test_factory(hoox_db_factory): hoox_db_factory(scenario="nope")
        def test_no_seed(faker_seed, hoox_db): pass
        def test_fine(hoox_db): pass
        @pytest.fixture
        def faker_seed(): return "seven"
    """)
    result = suite.runpytest_subprocess(*QUIET, "-n1")
    result.assert_outcomes(errors=3, failed=1, passed=1)
    text = result.stdout.str()
    result.stdout.fnmatch_lines(["The hoox marker of test_*seed is 'seven'*"])
    result.stdout.fnmatch_lines(["There is no scenario 'nope'. Choose one of: *"])
    result.stdout.fnmatch_lines(["faker_seed is 'seven', and a ledger needs a whole number*"])
    assert "pytest_fixtures.py" not in text
    assert "testing.py" not in text


# -- failed tests ---------------------------------------------------------------------------------


def test_ledgers_of_failed_tests_are_kept(suite: pytest.Pytester) -> None:
    """--hoox-keep leaves each ledger of a failed test as a file, and prints a line that asks it."""
    suite.makepyfile("""
        def test_fails(hoox_db, hoox_db_path):
            hoox_db.conn.execute("BEGIN")
            hoox_db.conn.execute("UPDATE trades SET symbol = 'MINE'")
            assert False
        def test_passes(hoox_db): pass
    """)
    suite.path.joinpath("tasks.py").write_text("from hoox_tasks import ns")
    result = run(suite, "--hoox-seed=7")
    result.stdout.fnmatch_lines(["*hoox ledgers*", "scenario quiet, seed 7", "--hoox-keep leaves it *"])
    assert not list(suite.path.rglob("hoox-kept/*"))
    result = run(suite, "--hoox-seed=7", "--hoox-keep")
    result.assert_outcomes(passed=1, failed=1)
    kept = [line.removeprefix("kept: ") for line in result.outlines if line.startswith("kept: ")]
    assert sorted(kept) == sorted(map(str, suite.path.rglob("hoox-kept/*.sqlite")))
    assert len(kept) == 2
    line = next(line for line in result.outlines if line.startswith("inv db.query"))
    command = f"{Path(sys.executable).parent / 'inv'}{line.removeprefix('inv')}"
    done = subprocess.run(command, shell=True, cwd=suite.path, capture_output=True, text=True, check=True)
    assert "MINE" in done.stdout


def test_a_locked_or_closed_ledger_is_not_waited_for(suite: pytest.Pytester) -> None:
    """What cannot be kept is said to be so; the run goes on."""
    suite.makepyfile("""
        import sqlite3
        def test_fails(hoox_db, hoox_db_path):
            connection = sqlite3.connect(hoox_db_path, isolation_level=None)
            connection.execute("BEGIN EXCLUSIVE")
            hoox_db.conn.close()
            assert False
    """)
    result = run(suite, "--hoox-keep")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["It could not be kept: Cannot operate on a closed*", "It could not be kept: database is locked"],
        consecutive=False,
    )


def test_it_does_without_a_cache(suite: pytest.Pytester) -> None:
    """Without pytest's cache, templates and kept ledgers are in temporary folders."""
    suite.makepyfile("def test_fails(hoox_db): assert not hoox_db.table_names()")
    result = run(suite, "--hoox-keep", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    kept = next(line.removeprefix("kept: ") for line in result.outlines if line.startswith("kept: "))
    assert Path(kept).is_file()
    assert suite.path not in Path(kept).parents


# -- migration tests ------------------------------------------------------------------------------

RULES = ("test_numbering", "test_rules", "test_upgrade", "test_second_run", "test_schema_file")


@pytest.mark.parametrize("switch", ["option", "conftest"])
def test_ready_made_migration_tests_run(suite: pytest.Pytester, switch: str) -> None:
    """One option or one line in conftest.py adds the tests of the migrations, and sound ones pass."""
    if switch == "conftest":
        suite.makeconftest("pytest_plugins = ['hoox_tasks.testing.migration_tests']")
    suite.makepyfile("def test_own(): pass")
    arguments = ["--hoox-test-migrations"] if switch == "option" else []
    result = suite.runpytest_subprocess(*QUIET, "-rA", *arguments)
    result.assert_outcomes(passed=len(RULES), skipped=1)
    for name in RULES[:-1]:
        result.stdout.fnmatch_lines([f"PASSED migrations::{name}"])
    none = run(suite, "-k", "numbering", "--hoox-test-migrations")
    none.assert_outcomes(passed=1, deselected=len(RULES))


def test_migration_tests_are_of_the_whole_suite(suite: pytest.Pytester) -> None:
    """They run where the whole suite is asked for, or one by its id, and fail again under --lf."""
    folder = suite.mkdir("migrations")
    for file in sorted((ROOT / "migrations").glob("*.sql")):
        folder.joinpath(file.name).write_bytes(file.read_bytes())
    (folder / "0004_gap.sql").write_text("SELECT 1")
    suite.mkdir("tests").joinpath("test_own.py").write_text(
        "def test_own(): pass\ndef test_fails(): assert False"
    )
    every = {"passed": len(RULES) - 1, "skipped": 1, "failed": 2}
    for arguments, outcomes in (
        ((), every),
        (("tests",), every),
        (("tests/test_own.py",), {"passed": 1, "failed": 1}),
        (("tests/test_own.py::test_own",), {"passed": 1}),
        (("migrations::test_rules",), {"passed": 1}),
        (("migrations::test_numbering", "tests/test_own.py::test_own"), {"passed": 1, "failed": 1}),
    ):
        run(suite, "--hoox-test-migrations", *arguments).assert_outcomes(**outcomes)
    run(suite, "--hoox-test-migrations")
    run(suite, "--hoox-test-migrations", "--lf").assert_outcomes(failed=2)
    result = run(suite, "--hoox-test-migrations", "migrations::test_nothing")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: not found: migrations::test_nothing"])


def test_a_seed_that_is_drawn_for_every_test_makes_few_ledgers(suite: pytest.Pytester) -> None:
    """With pytest-randomly's seed, another for each test and run, a few templates serve all of them."""
    suite.makepyfile(
        randomly="""
        import zlib, pytest
        @pytest.fixture(autouse=True)
        def faker_seed(request): return zlib.crc32(request.node.nodeid.encode())
        """,
        test_many="""
        import pytest
        @pytest.mark.parametrize("number", range(40))
        def test_one(hoox_db, number): assert hoox_db["trades"].count > 0
        """,
    )
    suite.syspathinsert()
    run(suite, "-p", "randomly").assert_outcomes(passed=40)
    assert len(list(suite.path.joinpath(".pytest_cache/d/hoox").glob("*.sqlite"))) <= 8
    result = run(suite, "-p", "randomly")
    assert not any("built" in line for line in result.outlines if line.startswith("hoox: "))


def test_a_run_that_does_not_use_it_says_nothing(suite: pytest.Pytester) -> None:
    """Only a run in which a test had a ledger speaks of ledgers; under xdist it is what the workers did."""
    suite.makepyfile(test_a="def test_a(): pass", test_b="def test_b(hoox_db): pass")
    assert not [line for line in run(suite, "test_a.py").outlines if "hoox:" in line]
    result = suite.runpytest_subprocess(*QUIET, "-n2")
    result.stdout.fnmatch_lines(["hoox: scenario quiet, template built"])
    assert not [line for line in run(suite, "test_a.py").outlines if "hoox:" in line]


def test_numpy_is_not_imported_for_nothing(suite: pytest.Pytester) -> None:
    """A ledger brings no numpy; a test that does is understood by sqlite-utils as ever."""
    suite.makepyfile("""
        import sys
        def test_without(hoox_db): assert "numpy" not in sys.modules
        def test_with(hoox_db_factory):
            import numpy
            db = hoox_db_factory()
            db["n"].insert({"a": numpy.int64(3), "b": numpy.float32(0.5)})
            assert db["n"].columns_dict == {"a": int, "b": float}
    """)
    suite.runpytest_subprocess(*QUIET).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("name", "sql", "failing", "words"),
    [
        (
            "0004_gap.sql",
            "SELECT 1",
            "test_numbering",
            "There is no migration 0003, though there is 0004_gap*",
        ),
        ("gap.sql", "SELECT 1", "test_numbering", "gap.sql should begin with a number*"),
        ("0002_twice.sql", "SELECT 1", "test_numbering", "Migrations 0002_* and 0002_* have one number.*"),
        ("0003_attach.sql", "SELECT 1; ATTACH ':memory:' AS m", "test_rules", "D1 would not run it.*line 1*"),
        ("0003_loss.sql", "DELETE FROM trades", "test_upgrade", "Migration 0003_loss.sql would lose rows*"),
        (
            "0003_null.sql",
            "UPDATE trades SET id = NULL; ALTER TABLE x ADD y",
            "test_upgrade",
            "*no such table*",
        ),
        ("0003_more.sql", "ALTER TABLE trades ADD COLUMN note", "test_schema_file", "*not what the migr*"),
    ],
)
def test_ready_made_migration_tests_find(
    suite: pytest.Pytester, name: str, sql: str, failing: str, words: str
) -> None:
    """Each kind of mistake in a migration fails its test, with a sentence about the file."""
    bundled = ROOT / "migrations"
    folder = suite.mkdir("migrations")
    schema = ""
    for file in sorted(bundled.glob("*.sql")):
        folder.joinpath(file.name).write_bytes(file.read_bytes())
        schema += file.read_text()
    suite.path.joinpath("schema.sql").write_text(schema)
    folder.joinpath(name).write_text(sql)
    result = run(suite, "--hoox-test-migrations", "-rfE")
    lines = [line for line in result.outlines if line.startswith(("FAILED", "ERROR"))]
    if failing != "all":
        assert any(f"migrations::{failing}" in line for line in lines)
    result.stdout.fnmatch_lines([f"*{words}"])
    assert "migration_tests.py:" not in result.stdout.str()
