"""The prompt: in a terminal of its own, through a pipe, and its completion."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_tasks.server import create_app
from hoox_tasks.views import shell
from tests.support.d1_api import ACCOUNT, DATABASE, listening
from tests.support.ledgers import make_ledger
from tests.support.npm import quiet_environment

pexpect = pytest.importorskip("pexpect", reason="pexpect works on terminals of Unix only")

NAMES = {"trades": ["id", "symbol", "price"], "positions": ["id", "side"]}
PROMPT = r"[-.()\w ]+>\x1b"
SHELL = [str(Path(sys.executable).with_name("hoox")), "db", "shell"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    make_ledger(path, "quiet").close()
    return path


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    # Nobody here tells where the cursor is, and the prompt would wait for it.
    return quiet_environment(
        {"XDG_STATE_HOME": str(tmp_path / "state"), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **more}
    )


@contextmanager
def terminal(tmp_path: Path, *arguments: str, **env: str) -> Iterator[Any]:
    """The shell in a terminal of 120 columns; it is ended with the block, if it has not by itself."""
    child = pexpect.spawn(
        SHELL[0],
        [*SHELL[1:], *arguments],
        cwd=str(tmp_path),
        env=environment(tmp_path, **env),
        dimensions=(40, 120),
        encoding="utf-8",
        timeout=10,
    )
    try:
        child.expect(r"\.quit to leave")
        child.expect(PROMPT)
        yield child
    finally:
        child.close(force=True)


def piped(tmp_path: Path, text: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SHELL, *arguments],
        cwd=tmp_path,
        env=environment(tmp_path, **env),
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
    )


def leave(child: Any) -> int:
    child.send(".quit\r")
    child.expect(pexpect.EOF)
    child.wait()
    return int(child.exitstatus)


def test_a_statement_over_several_lines(tmp_path: Path, path: Path) -> None:
    """Enter goes to the next line until the statement is complete, and then runs it."""
    with terminal(tmp_path, "--path", str(path)) as child:
        child.send("SELECT 40 +\r")
        child.send("2 AS answer;\r")
        child.expect(r"answer\s+-+\s+42\s")
        child.expect("1 row")
        assert leave(child) == 0


def test_names_are_completed(tmp_path: Path, path: Path) -> None:
    """Tab completes a table behind FROM, and a column of it behind WHERE."""
    with terminal(tmp_path, "--path", str(path)) as child:
        child.send("SELECT count(*) AS n FROM trade_s\t")
        child.expect("ignals")
        child.send(" WHERE signal_t\t")
        child.expect("ype")
        child.send(" <> 'x';\r")
        with closing(sqlite3.connect(path)) as connection:
            ((count,),) = connection.execute("SELECT count(*) FROM trade_signals")
        child.expect(rf"n\s+-+\s+{count}\s")
        assert leave(child) == 0


def test_dot_commands(tmp_path: Path, path: Path) -> None:
    """.tables, .schema and .help show what they say; a command that is none is told."""
    with terminal(tmp_path, "--path", str(path)) as child:
        child.send(".tables\r")
        child.expect(r"trade_signals\s+\d+")
        child.send(".schema trades\r")
        child.expect("order_id TEXT")
        child.expect("CREATE INDEX idx_trades_timestamp")
        child.send(".schema nothing\r")
        child.expect("There is no table nothing")
        child.send(".nothing\r")
        child.expect(r"There is no command \.nothing")
        child.send(".help\r")
        child.expect("leave, as Ctrl-D does")
        child.expect(PROMPT)  # Before that, the terminal would take Ctrl-D for itself.
        child.sendeof()
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 0


def test_a_mistake_does_not_end_the_shell(tmp_path: Path, path: Path) -> None:
    """A statement that fails is told with its place, Ctrl-C drops a line, and the next one runs."""
    with terminal(tmp_path, "--path", str(path)) as child:
        child.send("SELEC 1;\r")
        child.expect("syntax error")
        child.expect(PROMPT)
        child.send("SELECT 1 +")
        child.sendintr()
        child.expect(PROMPT)
        child.send("SELECT 'still ' || 'here';\r")
        child.expect("still here")
        assert leave(child) == 0


def test_it_only_reads_unless_told_to_write(tmp_path: Path, path: Path) -> None:
    """A change is refused in a reading shell and made in a writing one, whose prompt says so."""
    delete = "DELETE FROM trades;\r"
    with terminal(tmp_path, "--path", str(path)) as child:
        child.send(delete)
        child.expect("it would delete from trades")
        assert leave(child) == 0
    assert _trades(path) > 0
    with terminal(tmp_path, "--path", str(path), "--write") as child:
        assert "(write)>" in child.after
        child.send(delete)
        child.expect("changed")
        assert leave(child) == 0
    assert _trades(path) == 0


def _trades(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM trades").fetchone()[0])


def test_what_was_typed_is_kept_for_its_owner(tmp_path: Path, path: Path) -> None:
    """The next shell knows what was typed in the last one; the file is for its owner alone."""
    with terminal(tmp_path, "--path", str(path)) as child:
        child.send("SELECT 'typed ' || 'before';\r")
        child.expect("typed before")
        leave(child)
    history = tmp_path / "state/hoox/history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    with terminal(tmp_path, "--path", str(path)) as child:
        child.send("\x1b[A")
        child.send("\x1b[A")
        child.expect("typed")
        child.send("\r")
        child.expect("typed before")
        assert leave(child) == 0


def test_no_color_is_respected(tmp_path: Path, path: Path) -> None:
    """With NO_COLOR what is typed stays uncoloured, without it SQL has colours."""
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
    for no_color, expected in (("1", False), ("", True)):
        with terminal(tmp_path, "--path", str(path), NO_COLOR=no_color) as child:
            child.send("SELECT 'x' AS y;\r")
            child.expect(r"1 row")
            assert bool(coloured.search(child.before)) == expected
            leave(child)


def test_a_remote_ledger_in_a_terminal(tmp_path: Path, path: Path) -> None:
    """With --remote the prompt asks D1's API, completion included."""
    with (
        closing(create_app(path, name="ledger", database_id=DATABASE, token="right")) as app,
        listening(app) as url,
        terminal(tmp_path, "--remote", **_remote(url)) as child,
    ):
        child.send("SELECT count(*) AS n FROM balan\t")
        child.expect("ces")
        child.send(";\r")
        child.expect(r"n\s+-+\s+5\s")
        child.expect("D1 read")
        assert leave(child) == 0


def _remote(url: str) -> dict[str, str]:
    return {
        "CLOUDFLARE_API_BASE_URL": url,
        "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
        "CLOUDFLARE_API_TOKEN": "right",
        "INVOKE_HOOX_DATABASE_ID": DATABASE,
    }


def test_a_pipe_is_read_to_its_end(tmp_path: Path, path: Path) -> None:
    """Statements and commands from a pipe give their results on standard output, and no prompt."""
    text = ".tables\nSELECT 1\n  AS one;\n\nSELECT 2 AS two; SELECT 3 AS three"
    result = piped(tmp_path, text, "--path", str(path))
    assert result.returncode == 0, result.stderr
    assert re.search(r"trades\s+11\n", result.stdout)
    assert [line for line in result.stdout.split() if line in {"one", "1", "two", "2", "three", "3"}] == [
        "one", "1", "two", "2", "three", "3"
    ]  # fmt: skip
    assert ">" not in result.stdout


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("SELECT 'first'; \nSELEC 2;\nSELECT 'third';", 2, "syntax error"),
        ("SELECT 'first';\nDELETE FROM trades;\nSELECT 'third';", 2, "--write"),
        ("SELECT 'first';\n.nothing\nSELECT 'third';", 2, "no command .nothing"),
    ],
)
def test_a_pipe_ends_at_the_first_failure(
    tmp_path: Path, path: Path, text: str, code: int, words: str
) -> None:
    """What fails in a pipe ends it with its sentence and its exit code; what came before was shown."""
    result = piped(tmp_path, text, "--path", str(path))
    assert result.returncode == code
    assert words in result.stderr
    assert "first" in result.stdout
    assert "third" not in result.stdout


@pytest.mark.parametrize(
    ("text", "word", "found"),
    [
        ("SELECT * FROM t", "t", ["trades"]),
        ("SELECT * FROM ", "", ["positions", "trades"]),
        ("SELECT id FROM trades WHERE pri", "pri", ["price", "PRIMARY"]),
        ("SELECT pri| FROM trades", "pri", ["price", "PRIMARY"]),
        ("SELECT sy| FROM positions; SELECT 1 FROM trades", "sy", []),
        ("SELECT t. FROM trades t WHERE t.s", "s", ["symbol"]),
        ("SELECT x.s| FROM positions AS x", "s", ["side"]),
        ("SELECT 'it''s; FROM t", "", []),
        ("DELETE FROM trades; SELECT si", "si", ["side"]),
        (".sch", ".sch", [".schema"]),
        (".schema pos", "pos", ["positions"]),
        ("SELEC", "SELEC", ["SELECT"]),
    ],
)
def test_completions(text: str, word: str, found: list[str]) -> None:
    """What is offered depends on the word before, on the tables that are named, and on their aliases."""
    before, _, after = text.partition("|")
    assert shell.completions(before, NAMES, after) == (word, found)


@given(st.text(st.sampled_from("ab.;'\"`[ \n(") | st.characters(codec="utf-8"), max_size=30))
def test_completion_takes_any_text(text: str) -> None:
    """Whatever was typed, what is offered begins with the word that it would replace, which ends the text."""
    word, found = shell.completions(text, NAMES)
    assert text.endswith(word)
    assert all(name.lower().startswith(word.lower()) for name in found)


@given(st.lists(st.sampled_from(["SELECT 1;", "SELECT\n 'a;\nb';", ".tables", "SELECT 2 -- ;\n;"])))
def test_inputs_come_back_one_by_one(texts: list[str]) -> None:
    """Lines are put together to the statements and commands that they were."""
    lines = [f"{line}\n" for text in texts for line in text.split("\n")]
    assert list(shell.read_inputs(lines)) == texts


def test_history_goes_where_it_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without XDG_STATE_HOME the history lies below the home folder."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert shell.history_path() == tmp_path / ".local/state/hoox/history"
    assert os.sep in str(shell.history_path())
