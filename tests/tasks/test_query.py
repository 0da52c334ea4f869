"""`inv db.query`: formats, pipes, parameters, and nothing but reading without --write."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hoox_tasks.console.separated import disarm
from hoox_tasks.database.interface import Rows
from tests.support.in_process import QuickWorkspace
from tests.support.programs import program
from tests.support.workspace import INV, Run, Workspace

HARD = (
    "SELECT NULL AS nil, 9223372036854775807 AS big, 9e999 AS inf, -9e999 AS minus, X'00FF' AS bytes,"
    " 'a,\"b\"' || char(13) AS text, char(27) || '[31mred' || char(155) || '2J' AS colour,"
    " 'x: Infinity' AS word, 1.5 AS number, '' AS empty"
)
VALUES: dict[str, Any] = {
    "nil": None,
    "big": 9223372036854775807,
    "inf": float("inf"),
    "minus": float("-inf"),
    "bytes": {"$base64": True, "encoded": "AP8="},
    "text": 'a,"b"\r',
    "colour": "\x1b[31mred\x9b2J",
    "word": "x: Infinity",
    "number": 1.5,
    "empty": "",
}


def test_json_keeps_every_value(seeded: Workspace) -> None:
    """Integers over all 64 bits, infinities, blobs and texts come back from JSON as they were."""
    assert seeded.ok("db.query", HARD, "--format", "json").json == [VALUES]
    assert seeded.ok("db.query", HARD, "--json").json == [VALUES]


def test_ndjson_is_one_object_for_each_line(seeded: Workspace) -> None:
    """Each row is a line of its own, and a line is a whole document."""
    lines = seeded.ok("db.query", f"{HARD} UNION ALL {HARD}", "--format", "ndjson").out.splitlines()
    assert [json.loads(line) for line in lines] == [VALUES, VALUES]


@pytest.mark.parametrize(("format", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_csv_and_tsv_are_read_back_by_the_standard_reader(
    seeded: Workspace, format: str, delimiter: str
) -> None:
    """Delimiters, quotes, line feeds and carriage returns in cells are quoted; NULL is empty."""
    query = f"{HARD}, 'two' || char(10) || 'lines' AS lines, char(9) AS tab"
    out = subprocess.run(
        [*INV, "db.query", query, "--format", format],
        cwd=seeded.root,
        env=seeded.environment(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    header, row = csv.reader(io.StringIO(out, newline=""), delimiter=delimiter)
    assert header == [*VALUES, "lines", "tab"]
    found = dict(zip(header, row, strict=True))
    assert found == {
        **{name: str(value) for name, value in VALUES.items()},
        "nil": "",
        "inf": "9e999",
        "minus": "-9e999",
        "bytes": "X'00FF'",
        "lines": "two\nlines",
        "tab": "\t",
    }


def test_markdown_is_a_table(seeded: Workspace) -> None:
    """Pipes and line ends in cells do not break it."""
    run = seeded.ok(
        "db.query", "SELECT 'a|b' AS x, 'two' || char(10) || 'lines' AS y", "--format", "markdown"
    )
    assert run.out.splitlines() == ["| x | y |", "| --- | --- |", "| a\\|b | two<br>lines |"]


def test_a_table_shows_controls_instead_of_obeying_them(seeded: Workspace) -> None:
    """No escape sequence of a cell or a column's name reaches the terminal, in any format."""
    query = HARD + ', 1 AS "\x1b[2Jname"'
    for format in ("table", "json", "csv", "tsv", "ndjson", "markdown"):
        shown = seeded.terminal("db.query", query, "--format", format).out
        assert not set(shown) & {"\x1b", "\x9b", "\r"}, (format, shown)
        assert "x1b" in shown or "u001b" in shown, format


def test_several_statements_give_several_results(seeded: Workspace) -> None:
    """Tables stand apart by an empty line, JSON holds an array of results."""
    sql = "SELECT 1 AS a; SELECT 2 AS b, 3 AS c; -- no more"
    assert seeded.ok("db.query", sql).out == "a\n-\n1\n\nb  c\n-  -\n2  3\n"
    assert seeded.ok("db.query", sql, "--json").json == [[{"a": 1}], [{"b": 2, "c": 3}]]
    assert seeded.ok("db.query", sql, "--format", "csv").out == "a\n1\n\nb,c\n2,3\n"


def test_a_result_without_rows_shows_its_columns(seeded: Workspace) -> None:
    """An empty result looks like one, and is an empty array in JSON."""
    sql = "SELECT id, price FROM trades WHERE 0"
    assert seeded.ok("db.query", sql).out == "id  price\n--  -----\n"
    assert seeded.ok("db.query", sql).err.startswith("0 rows in ")
    assert seeded.ok("db.query", sql, "--json").json == []
    assert seeded.ok("db.query", sql, "--format", "csv").out == "id,price\n"


def test_columns_of_one_name_are_all_kept(seeded: Workspace) -> None:
    """A join's second `id` is not dropped."""
    assert seeded.ok("db.query", "SELECT 1 AS id, 2 AS id, 3 AS id_2", "--json").json == [
        {"id": 1, "id_3": 2, "id_2": 3}
    ]


def test_sql_comes_from_a_file_or_standard_input(seeded: Workspace) -> None:
    """`@FILE` and `-` stand where the SQL does; a byte order mark does not matter."""
    (seeded.root / "report.sql").write_bytes(b"\xef\xbb\xbfSELECT 'file' AS source")
    assert seeded.ok("db.query", "@report.sql", "--format", "csv").out == "source\nfile\n"
    run = seeded.ok("db.query", "-", "--format", "csv", stdin=b"\xef\xbb\xbfSELECT 'input' AS source\r\n")
    assert run.out == "source\ninput\n"


def test_params_are_bound_as_the_values_they_look_like(seeded: Workspace) -> None:
    """Numbers, NULL, quoted text, blobs and plain text keep their types; leading zeros are an id's."""
    given = ["42", "--1".removeprefix("-"), "1.5", "NULL", "'42'", "it's", "007", "1e5", "X'00ff'", ""]
    marks = ", ".join(f"typeof(?{n}) || ':' || quote(?{n}) AS c{n}" for n in range(1, len(given) + 1))
    flags = [f"--param={value}" for value in given]
    (row,) = seeded.ok("db.query", f"SELECT {marks}", *flags, "--json").json
    assert list(row.values()) == [
        "integer:42",
        "integer:-1",
        "real:1.5",
        "null:NULL",
        "text:'42'",
        "text:'it''s'",
        "text:'007'",
        "real:100000.0",
        "blob:X'00FF'",
        "text:''",
    ]
    one = seeded.ok("db.query", "SELECT ? AS x", "--param", "BTCUSDT", "--json").json
    assert one == [{"x": "BTCUSDT"}]


@pytest.mark.parametrize("number", ["1e4", ".5", "5.", "+5", "1e-8"])
def test_a_number_in_any_notation_finds_its_rows(seeded: Workspace, number: str) -> None:
    """As many trades as with the number in the SQL itself, and never none because it was text."""
    sql = "SELECT count(*) AS n FROM trades WHERE price * quantity > "
    expected = seeded.sql(f"{sql}{number}")
    assert expected != [(0,)]
    assert (
        seeded.ok("db.query", f"{sql}?", f"--param={number}", "--format", "csv").out
        == f"n\n{expected[0][0]}\n"
    )


def test_a_named_param_goes_to_its_name(seeded: Workspace) -> None:
    """`--param sym=BTCUSDT` is bound to `:sym`."""
    sql = "SELECT count(*) AS n FROM trades WHERE symbol = :sym"
    expected = seeded.sql("SELECT count(*) FROM trades WHERE symbol = 'BTCUSDT'")[0][0]
    assert expected
    assert seeded.ok("db.query", sql, "--param", "sym=BTCUSDT", "--json").json == [{"n": expected}]


def test_a_time_compared_with_a_date_is_explained(seeded: Workspace) -> None:
    """On standard error for a question; what would change every row is refused."""
    run = seeded.ok("db.query", "SELECT id FROM trades WHERE created_at > '2026-01-30'", "--format", "csv")
    assert run.out == "id\n"
    assert "trades.created_at holds Unix seconds" in run.err
    assert "Compare it with unixepoch('2026-01-30')." in run.err
    before = seeded.files()
    error = seeded.refused("db.query", "DELETE FROM trades WHERE created_at < '2026-01-30'", "--write")
    assert "every number is smaller than the text '2026-01-30'" in error
    assert seeded.files() == before


def test_dates_in_a_column_of_texts_are_no_mistake(workspace: Workspace) -> None:
    """Another project's `trades.created_at` may well hold a date as text."""
    workspace.migration("0001_trades.sql", "CREATE TABLE trades (created_at TEXT);")
    workspace.ok("db.apply")
    run = workspace.ok("db.query", "SELECT * FROM trades WHERE created_at > '2026-01-30'")
    assert run.err.startswith("0 rows in")


def test_times_are_shown_as_times_but_for_raw(seeded: Workspace) -> None:
    """A person reads 2026-01-30 23:31:32, a program and --raw the seconds."""
    sql = "SELECT created_at FROM trades ORDER BY created_at DESC LIMIT 1"
    ((seconds,),) = seeded.sql(sql)
    ((time,),) = seeded.sql(f"SELECT datetime({seconds}, 'unixepoch')")
    assert seeded.ok("db.query", sql).out.splitlines()[2] == time
    assert seeded.ok("db.query", sql, "--format", "markdown").out.splitlines()[2] == f"| {time} |"
    assert seeded.ok("db.query", sql, "--raw").out.splitlines()[2] == f"{seconds}"
    assert seeded.ok("db.query", sql, "--format", "csv").out == f"created_at\n{seconds}\n"
    shell = seeded.ok("db.shell", stdin=f"{sql};")
    assert shell.out.splitlines()[2] == time


def test_wrong_numbers_of_params_are_refused(seeded: Workspace) -> None:
    """A placeholder without a value, and a value without a placeholder, are said to be that."""
    for arguments in (["SELECT ?"], ["SELECT 1", "--param", "1"]):
        assert "placeholder" in seeded.refused("db.query", *arguments)
    assert "one statement" in seeded.refused("db.query", "SELECT ?; SELECT ?", "--param", "1")


READING = [
    "SELECT replace(symbol, 'USDT', '') FROM trades LIMIT 1",
    'SELECT 1 AS "update"',
    "WITH x AS (SELECT 1 AS n) SELECT n FROM x",
    "PRAGMA table_info(trades)",
    "EXPLAIN QUERY PLAN SELECT 1",
]
WRITING = [
    "WITH x AS (SELECT id FROM trades) DELETE FROM trades WHERE id IN x",
    "DELETE FROM trades",
    "DROP TABLE trades",
    "CREATE TEMP TABLE t AS SELECT 1",
    "ATTACH 'other.sqlite' AS other",
    "VACUUM INTO 'other.sqlite'",
    "PRAGMA user_version = 3",
    "PRAGMA writable_schema = ON",
    "SELECT 1; UPDATE trades SET price = 0",
    "BEGIN",
]


@pytest.mark.parametrize("sql", READING)
def test_reading_is_let_through_whatever_its_words(seeded: Workspace, sql: str) -> None:
    """It is what a statement does that counts, not the words in it."""
    assert seeded.ok("db.query", sql).out


@pytest.mark.parametrize("sql", WRITING)
def test_writing_is_refused_without_write(seeded: Workspace, sql: str) -> None:
    """Whatever way a statement would change something, it does not, and the exit code is 2."""
    before = seeded.files()
    seeded.inv("db.query", sql, code=2)
    assert seeded.files() == before


def test_write_is_all_or_nothing(seeded: Workspace) -> None:
    """With --write several statements are one transaction, and the receipt counts the changed rows."""
    run = seeded.ok("db.query", "DELETE FROM balances; UPDATE trades SET fee = 0", "--write")
    trades = seeded.sql("SELECT count(*) FROM trades")[0][0]
    assert run.out == ""
    assert "changed in" in run.err
    assert seeded.sql("SELECT count(*) FROM balances") == [(0,)]
    sql = "DELETE FROM trades; INSERT INTO positions (id) VALUES ('x')"
    error = seeded.inv("db.query", sql, "--write", code=1).err
    assert "It changed nothing." in error
    assert "NOT NULL constraint failed: positions.exchange" in error
    assert seeded.sql("SELECT count(*) FROM trades")[0][0] == trades


def test_a_syntax_error_shows_where(seeded: Workspace) -> None:
    """The statement is shown with a caret below the place at which SQLite stumbled."""
    error = seeded.refused("db.query", "SELECT id\nFROM trades\nWHRE price > 1")
    lines = error.splitlines()
    caret = next(line for line in lines if line.strip() == "^")
    assert lines[lines.index(caret) - 1][caret.index("^") :].startswith("price")
    assert 'near "price": syntax error' in error


@pytest.mark.parametrize("sql", ["SELECT 1.5", "SELECT * FROM trades ORDER BY id LIMIT 40"])
def test_a_closed_pipe_ends_it_silently(seeded: Workspace, sql: str) -> None:
    """`| head -1` gets its line; nothing is said about the closed pipe."""
    command = " ".join([sys.executable, "-m", "invoke", "db.query", f'"{sql}"'])
    run = subprocess.run(
        ["bash", "-c", f"{command} 2>errors | head -1; echo ${{PIPESTATUS[0]}}"],
        cwd=seeded.root,
        env=seeded.environment(),
        capture_output=True,
        text=True,
    )
    assert run.stdout.splitlines()[1] in {"0", "141"}
    assert not (seeded.root / "errors").read_text().replace("\n", "").strip("0123456789 rowsinm")


def test_a_long_result_ends_with_the_pipe(seeded: Workspace) -> None:
    """An endless result stops when nobody reads on, with the code a shell knows for that."""
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    with seeded.start("db.query", sql, "--format", "csv") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"i\n"
        process.stdout.close()
        assert process.wait(20) == 141
        assert process.stderr.read().strip() == b""


def width(line: str) -> int:
    from wcwidth import wcswidth

    return wcswidth(line)


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_result_fits_its_terminal_and_every_number_is_whole(seeded: Workspace, columns: int) -> None:
    """Numbers and times are never cut; texts are, and records are laid out where that does not do."""
    sql = (
        "SELECT id, symbol, action, price, quantity, fee, realized_pnl, created_at FROM trades"
        " WHERE realized_pnl IS NOT NULL ORDER BY created_at LIMIT 2"
    )
    narrow = "SELECT raw_response, price FROM trades WHERE price IS NOT NULL ORDER BY id LIMIT 2"
    shown = seeded.terminal("db.query", f"{sql}; {narrow}", columns=columns, env={"LINES": "99"}).out
    lines = shown.splitlines()
    result = lines[: next(at for at, line in enumerate(lines) if "4 rows" in line)]
    assert max(map(width, result)) <= columns
    words = set(" ".join(result).split())
    for row in seeded.sql(sql):
        assert {str(value) for value in row[3:7]} <= words
        assert str(seeded.sql("SELECT datetime(?, 'unixepoch')", row[7])[0][0]) in shown
    assert all(str(price) in words for _, price in seeded.sql(narrow))
    assert ("-- row 1" in shown) == (columns <= 80)
    assert ("…" in shown) == ("--full shows them" in shown) == (columns < 200)


def test_full_shows_every_text_and_a_pipe_is_whole(seeded: Workspace) -> None:
    """With --full a long text goes on over the next lines; a pipe gets every cell in full anyway."""
    sql = "SELECT raw_response FROM trades WHERE raw_response IS NOT NULL ORDER BY id LIMIT 1"
    ((response,),) = seeded.sql(sql)
    shown = seeded.terminal("db.query", sql, "--full").out
    assert "…" not in shown
    assert response in "".join(
        line.removeprefix("raw_response  ").removeprefix(" " * 14) for line in shown.splitlines()
    )
    assert response in seeded.ok("db.query", sql).out


def test_a_long_result_goes_through_the_pager_on_a_terminal_only(seeded: Workspace) -> None:
    """$PAGER gets what is longer than the screen; --no-pager, a pipe and a short result need none."""
    pager = seeded.root / "pager"
    pager.write_text("#!/bin/sh\nexec sed 's/^/paged: /'\n")
    pager.chmod(0o755)
    env = {"PAGER": f"{pager} -x", "LINES": "10"}
    sql = "SELECT id FROM trades LIMIT "
    paged = seeded.terminal("db.query", f"{sql}50", env=env).out
    assert paged.count("paged: ") == 52
    assert "50 rows in" in paged
    assert "paged: " not in seeded.terminal("db.query", f"{sql}5", env=env).out
    assert "paged: " not in seeded.terminal("db.query", f"{sql}50", "--no-pager", env=env).out
    assert "paged: " not in seeded.ok("db.query", f"{sql}50", env=env).out


def test_a_reader_may_leave_the_pager(seeded: Workspace) -> None:
    """What was not read is not missed: the exit code is 0, and nothing is said about a pipe."""
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    run = seeded.terminal("db.query", sql, env={"PAGER": "head -n 3"})
    assert run.code == 0
    assert run.out.startswith("   i\n")
    assert "The reader left before the end" in run.out


def test_wide_characters_are_aligned(seeded: Workspace) -> None:
    """A column that holds Chinese characters and accents stands as straight as any other."""
    sql = "SELECT '日本' AS name, 1 AS n UNION ALL SELECT 'e' || char(769) || 'té', 22"
    for run in (seeded.ok("db.query", sql), seeded.terminal("db.query", sql)):
        lines = run.out.splitlines()[:4]
        assert {width(line) for line in lines} == {8}, lines


def peak(command: list[str], workspace: Workspace) -> tuple[Run, int]:
    """Run a command with its output into a file; gives its peak of memory in bytes as well."""
    done = subprocess.run(
        [*program("peak_of"), "result", *command],
        cwd=workspace.root,
        env=workspace.environment(),
        capture_output=True,
        text=True,
    )
    return Run(done.returncode, "", done.stderr), int(done.stdout)


def test_a_million_rows_stream_in_little_memory(seeded: Workspace) -> None:
    """A result of 1,000,000 rows is written as CSV while it is read, below 100 MB."""
    sql = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)"
        " SELECT i, 'BTCUSDT' AS symbol, i * 1.5 AS price, hex(i) AS id FROM n"
    )
    run, memory = peak([*INV, "db.query", sql, "--format", "csv"], seeded)
    assert run.code == 0
    assert "1,000,000 rows" in run.err
    with (seeded.root / "result").open() as file:
        assert sum(1 for _ in file) == 1_000_001
    assert memory < 100_000_000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["SELECT 1", "--format", "xml"], "There is no format xml. Choose one of: table, json"),
        (["@nowhere.sql"], "nowhere.sql cannot be read: No such file or directory."),
        (["@."], "cannot be read: Is a directory."),
        (["   -- nothing"], "There is no SQL in it."),
        ([b"SELECT '\xff'"], "The SQL is not UTF-8 (byte 8)."),
        (["SELECT * FROM nowhere"], "no such table: nowhere"),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_sentence(
    seeded: Workspace, arguments: list[str | bytes], says: str
) -> None:
    """Exit code 2, nothing on standard output, and a sentence that names the thing."""
    assert says in seeded.refused("db.query", *arguments)


def test_input_that_is_not_utf8_is_refused(seeded: Workspace) -> None:
    """A file or standard input in another encoding is named, not guessed at."""
    Path(seeded.root / "latin.sql").write_bytes("SELECT 'é'".encode("latin-1"))
    assert "latin.sql is not UTF-8" in seeded.refused("db.query", "@latin.sql")
    assert "Standard input is not UTF-8" in seeded.refused("db.query", "-", stdin=b"SELECT '\xff'")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")  # noqa: PTH110
def test_a_full_disk_behind_standard_output_is_told(seeded: Workspace) -> None:
    """What could not be written is not passed over in silence."""
    with Path("/dev/full").open("wb") as full:
        for command in (["db.query", "SELECT 1"], ["db.export", "--output", "-"]):
            run = seeded.inv(*command, stdout=full)
            assert run.code == 2
            assert "No space left on device" in run.err


@pytest.mark.parametrize("write", [(), ("--write",)], ids=["reading", "writing"])
def test_sql_that_never_ends_is_ended(seeded: Workspace, write: tuple[str, ...]) -> None:
    """After --timeout, or hoox.query_timeout, seconds SQL ends with a sentence, and nothing was changed."""
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
    work = (
        f"{endless} DELETE FROM trades WHERE id IN (SELECT x FROM c)"
        if write
        else f"{endless} SELECT max(x) FROM c"
    )
    before = seeded.sql("SELECT count(*) FROM trades")
    for how, env in ((["--timeout", "0.2"], {}), ([], {"INVOKE_HOOX_QUERY_TIMEOUT": "0.2"})):
        run = seeded.inv("db.query", work, *write, *how, env=env, code=1)
        assert run.err.startswith("The SQL did not end in 0.2 seconds. Let it do less")
        assert "--timeout" in run.err
    assert seeded.sql("SELECT count(*) FROM trades") == before


@pytest.mark.parametrize("seconds", ["soon", "-1", "nan", "inf"])
def test_a_timeout_is_a_number_of_seconds(seeded: Workspace, seconds: str) -> None:
    """Anything else is refused."""
    assert "--timeout is" in seeded.refused("db.query", "SELECT 1", f"--timeout={seconds}")


def test_csv_is_exact_and_safe_csv_is_no_formula(seeded: Workspace) -> None:
    """Only --safe-csv changes texts that a spreadsheet would run; numbers are numbers in both."""
    cells = ["=1+1", "+1", "-1", "@a", "\t=1", " =1", "\uff1d1", "'=1", "a=1", ""]
    values = ", ".join("('" + cell.replace("'", "''") + "')" for cell in cells)
    query = f'WITH t(a) AS (VALUES {values}) SELECT a AS "=n", -1.5 AS b FROM t'
    exact = list(csv.reader(io.StringIO(seeded.ok("db.query", query, "--format", "csv").out)))
    assert exact == [["=n", "b"], *([cell, "-1.5"] for cell in cells)]
    safe = list(csv.reader(io.StringIO(seeded.ok("db.query", query, "--safe-csv").out)))
    assert safe == [
        ["'=n", "b"],
        *([f"'{cell}", "-1.5"] for cell in cells[:8]),
        ["a=1", "-1.5"],
        ["", "-1.5"],
    ]
    assert "goes with csv" in seeded.refused("db.query", query, "--safe-csv", "--json")


@pytest.mark.parametrize(
    "before", [*" \t\v\f\r\x85\xa0\xad", *map(chr, (8195, 8203, 8206, 8239, 12288, 65279))]
)
def test_nothing_that_cannot_be_seen_hides_a_formula(before: str) -> None:
    """Spreadsheets leave out spaces, control and format characters at the start of a cell."""
    result = disarm(Rows(("a",), [(f"{before}=1+1",), (f"{before}{before}'{before}@x",), (f"a{before}=1",)]))
    assert [row[0][0] for row in result if isinstance(row[0], str)] == ["'", "'", "a"]


def test_markdown_shows_html_and_links_as_they_stand(seeded: Workspace) -> None:
    """A cell is no markup: no tag, no link, no image, no code, no entity."""
    query = "SELECT '<img src=x> [a](b) ![c](d) `e` *f* &lt; https://x.test www.x.test' AS a, 'order_id' AS b"
    line = seeded.ok("db.query", query, "--format", "markdown").out.splitlines()[2]
    assert line == (
        r"| \<img src=x\> \[a\](b) !\[c\](d) \`e\` \*f\* \&lt; https\://x.test www\.x.test | order_id |"
    )


@pytest.mark.parametrize("format", ["json", "ndjson", "csv", "table"])
def test_a_result_that_ends_early_is_not_taken_for_whole(quick_seeded: QuickWorkspace, format: str) -> None:
    """Where a query fails among its rows, an array stays open, and the failure says so."""
    query = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
        " SELECT i, json(iif(i = 2999, '{', '1')) FROM n"
    )
    run = quick_seeded.inv("db.query", query, "--format", format, code=2)
    assert "malformed JSON" in run.err
    assert "The result is not whole." in run.err
    assert not run.out.rstrip().endswith("]")
