"""The `hoox` command: the runbook's lines as they stand in it, help, misuse, completion in three shells."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

import hoox_tasks
from tests.support.npm import quiet_environment

RUNBOOK = """\
hoox db apply
hoox db apply --remote
hoox db migrate status --remote
hoox db migrate --remote
hoox db list --remote
hoox db query "SELECT COUNT(*) FROM trades" --remote
hoox db query "SELECT created_at, symbol, action, price, quantity FROM trades ORDER BY created_at DESC LIMIT 5" --remote
hoox db query "SELECT symbol, side, size, entry_price FROM positions WHERE size > 0" --remote
hoox db export --remote
hoox db reset --confirm
hoox db reset --remote --confirm
""".splitlines()
TABLES = ("balances", "positions", "trade_signals", "trades")  # Migrations write to system_logs.


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `hoox` in it, as an installed package has it: for PATH."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "hoox"
    script.write_text(f"#!{sys.executable}\nfrom hoox_tasks.__main__ import main\nmain()\n")
    script.chmod(0o755)
    return folder


@pytest.fixture
def env(commands: Path) -> dict[str, str]:
    return quiet_environment({"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "TERM": "xterm"})


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def production(tmp_path: Path, env: dict[str, str]) -> Iterator[tuple[Path, dict[str, str]]]:
    """An empty ledger behind `hoox db serve`, and the variables that it tells a client to set."""
    path = tmp_path / "production.sqlite"
    sqlite3.connect(path).close()
    path.touch()
    process = subprocess.Popen(
        ["hoox", "db", "serve", "--path", str(path), "--port", "0"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        told = "".join(process.stdout.readline() for _ in range(4))
        variables = dict(re.findall(r"export (\w+)=(\S+)", told))
        database = re.search(r"\(([-0-9a-f]{36})\)", told)
        assert database, told
        yield path, {**env, **variables, "INVOKE_HOOX_DATABASE_ID": database.group(1)}
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def run(line: str, cwd: Path, env: dict[str, str], *, code: int = 0) -> str:
    """Run a line in a shell, as somebody types it; gives its standard output."""
    result = subprocess.run(line, shell=True, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)
    assert result.returncode == code, f"{line}: {result.stdout}{result.stderr}"
    assert "Traceback" not in result.stderr
    return result.stdout if code == 0 else result.stderr


def counts(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as connection:
        return {t: connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in TABLES}


def follow(lines: list[str], cwd: Path, env: dict[str, str], ledger: Path) -> None:
    """Run the runbook's lines on one ledger, and look after each at what it should have done."""
    seeded = None
    for line in lines:
        output = run(line, cwd, env)
        now = counts(ledger)
        if line.startswith(("hoox db apply", "hoox db migrate --remote", "hoox db migrate")):
            with closing(sqlite3.connect(ledger)) as connection:
                done = [name for (name,) in connection.execute("SELECT name FROM d1_migrations ORDER BY id")]
            assert done == ["0001_live_ledger.sql", "0002_runbook_columns.sql"]
        if "status" in line:
            assert len(re.findall(r"\bapplied\b", output)) >= 2
        elif " list" in line:
            assert dict(re.findall(r"^(\w+) +([\d,]+)$", output, re.MULTILINE)).items() >= {
                (name, f"{count:,}") for name, count in now.items()
            }
        elif "COUNT(*)" in line:
            assert str(now["trades"]) in output.split()
        elif "ORDER BY created_at" in line:
            with closing(sqlite3.connect(ledger)) as connection:
                query = re.search('"(.*)"', line)
                assert query
                rows = connection.execute(query.group(1)).fetchall()
            assert len(rows) == min(5, now["trades"])
            shown = [f"{datetime.fromtimestamp(row[0], UTC):%Y-%m-%d %H:%M:%S}" for row in rows]
            assert [time in output for time in shown] == [True] * len(rows)
            assert output.split()[:5] == ["created_at", "symbol", "action", "price", "quantity"]
        elif "WHERE size > 0" in line:
            assert output.split()[:4] == ["symbol", "side", "size", "entry_price"]
        elif "export" in line:
            (written,) = (cwd / "backups").glob("db-backup-????-??-??-??????.sql")
            with closing(sqlite3.connect(":memory:")) as copy:
                copy.executescript(written.read_text("utf-8"))
                assert copy.execute("SELECT count(*) FROM trades").fetchone() == (now["trades"],)
        elif "reset" in line:
            assert set(now.values()) == {0}
        seeded = seeded or now["trades"]
    assert seeded


def test_the_runbook_on_a_local_ledger(workspace: Path, env: dict[str, str]) -> None:
    """Every line of the runbook works on the local ledger, which `hoox db apply` makes and seeds."""
    local = [line.replace(" --remote", "") for line in RUNBOOK]
    follow(local, workspace, env, workspace / ".hoox/local.sqlite")


def test_the_runbook_as_it_stands(workspace: Path, production: tuple[Path, dict[str, str]]) -> None:
    """Every line of the runbook works as it stands there, --remote on a D1 API, the others locally."""
    path, env = production
    remote = [line for line in RUNBOOK if "--remote" in line]
    local = [line for line in RUNBOOK if "--remote" not in line]
    assert len(remote) + len(local) == 11
    run(remote[0], workspace, env)
    assert set(counts(path).values()) == {0}  # Nobody wants made-up trades in production.
    run("hoox db seed --remote --scenario quiet --confirm", workspace, env)
    follow(remote, workspace, env, path)
    for line in local:
        run(line, workspace, env)
    assert set(counts(workspace / ".hoox/local.sqlite").values()) == {0}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hoox db nothing", "'db.nothing'"),
        ("hoox db list --nothing", "--nothing"),
        ("hoox nothing", "nothing"),
        ("hoox --nothing", "--nothing"),
        ("hoox db query", "sql"),
    ],
)
def test_misuse_exits_with_2(workspace: Path, env: dict[str, str], line: str, words: str) -> None:
    """What is no command, no flag, or lacks an argument is told, with exit code 2."""
    assert words in run(line, workspace, env, code=2)


def test_help_and_version(workspace: Path, env: dict[str, str]) -> None:
    """--version tells the version; --help works for the command, a group and a task, with spaces."""
    assert run("hoox --version", workspace, env).split() == ["hoox", hoox_tasks.__version__]
    assert "--help" in run("hoox --help", workspace, env)
    assert ".migrate" in run("hoox db --help", workspace, env)
    assert "--allow-out-of-order" in run("hoox db migrate --help", workspace, env)
    text = run("hoox db migrate status --help", workspace, env)
    assert text == run("hoox --help=db.migrate.status", workspace, env)
    assert "--remote" in text


def test_flags_before_the_task(workspace: Path, env: dict[str, str]) -> None:
    """Invoke's own flags may stand before the task, with their values, and a configuration file is read."""
    (workspace / "own.yaml").write_text("hoox:\n  path: other.sqlite\n")
    run("hoox --config own.yaml db apply --no-seed", workspace, env)
    assert (workspace / "other.sqlite").exists()
    assert "other.sqlite" in run("hoox --dry -f own.yaml db reset --confirm", workspace, env)
    (workspace / "invoke.yaml").write_text("hoox:\n  path: third.sqlite\n")
    run("hoox db apply --no-seed", workspace, env)
    assert (workspace / "third.sqlite").exists()


def test_nothing_of_the_folder_is_executed(workspace: Path, env: dict[str, str]) -> None:
    """An `invoke.py` of the workspace is told of and left alone, unless it is asked for; `invoke.yaml` is data."""
    (workspace / "invoke.py").write_text("open('executed', 'w').close()\nhoox = {'path': 'other.sqlite'}\n")
    (workspace / "tasks.py").write_text("raise SystemExit('executed')\n")
    done = subprocess.run(
        ["hoox", "--dry", "db", "apply"], cwd=workspace, env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, (workspace / "executed").exists()) == (0, False)
    assert "invoke.py is not executed" in done.stderr
    run("hoox --config invoke.py --dry db apply", workspace, env)
    assert (workspace / "executed").exists()


def test_dots_work_as_well(workspace: Path, env: dict[str, str]) -> None:
    """Invoke's own spelling names the same tasks."""
    run("hoox db.apply --no-seed", workspace, env)
    assert run("hoox db.migrate.status", workspace, env) == run("hoox db migrate status", workspace, env)


def test_a_reader_that_leaves(workspace: Path, env: dict[str, str]) -> None:
    """A pipe that is closed early ends it without a word of complaint."""
    run("hoox db apply", workspace, env)
    result = subprocess.run(
        'hoox db query "SELECT * FROM system_logs" --format csv | head -n 1',
        shell=True, cwd=workspace, env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.stdout.startswith("id,timestamp")
    assert "Broken" not in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "offered", "not_offered"),
    [
        ("hoox ", {"db"}, {"apply"}),
        ("hoox db ", {"apply", "migrate", "query", "report", "shell"}, {"status", "db.apply"}),
        ("hoox db migrate ", {"status", "new"}, {"apply.status", "query"}),
        ("hoox db query --", {"--format", "--remote", "--write"}, {"--seed"}),
        ("hoox db migrate status --", {"--remote", "--json"}, {"--write"}),
    ],
)
def test_what_is_offered(
    workspace: Path, env: dict[str, str], words: str, offered: set[str], not_offered: set[str]
) -> None:
    """Completion offers one word at a time: groups, tasks, and a task's flags."""
    found = set(run(f"hoox --complete -- {words}", workspace, env).split())
    assert offered <= found
    assert not found & not_offered


def test_nothing_is_offered_in_a_quotation(workspace: Path, env: dict[str, str]) -> None:
    """In the middle of SQL there is nothing to complete, and nothing to complain about."""
    assert run("""hoox --complete -- hoox db query "'SELECT" """, workspace, env) == ""


def needs(shell: str) -> str:
    found = shutil.which(shell)
    if not found:
        pytest.skip(f"{shell} is not installed")
    return found


def test_completion_in_bash(workspace: Path, env: dict[str, str]) -> None:
    """bash completes a task's name and its flags with the script that is printed for it."""
    script = """
source <(hoox --print-completion-script bash)
COMP_WORDS=(hoox db migrate st); COMP_CWORD=3; _complete_hoox hoox st migrate; echo "${COMPREPLY[@]}"
COMP_WORDS=(hoox db export --g); COMP_CWORD=3; _complete_hoox hoox --g export; echo "${COMPREPLY[@]}"
complete -p hoox
"""
    result = subprocess.run(
        [needs("bash"), "-c", script], cwd=workspace, env=env, capture_output=True, text=True, timeout=60
    )
    assert result.stdout.splitlines()[:2] == ["status", "--gzip"], result.stderr
    assert "-F _complete_hoox" in result.stdout


def test_completion_in_fish(workspace: Path, env: dict[str, str]) -> None:
    """fish completes a task's name and its flags with the script that is printed for it."""
    script = """
hoox --print-completion-script fish | source
complete -C 'hoox db migrate st'
complete -C 'hoox db export --g'
"""
    env = {**env, "HOME": str(workspace), "XDG_CONFIG_HOME": str(workspace), "XDG_DATA_HOME": str(workspace)}
    result = subprocess.run(
        [needs("fish"), "--private", "-c", script],
        cwd=workspace, env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.stdout.split() == ["status", "--gzip"], result.stderr


def test_completion_in_zsh(workspace: Path, env: dict[str, str]) -> None:
    """zsh completes a line as it is typed with the script that is printed for it."""
    pexpect = pytest.importorskip("pexpect")
    child = pexpect.spawn(
        needs("zsh"), ["-f", "-i"], cwd=str(workspace), env=env, encoding="utf-8", timeout=20,
        dimensions=(40, 200),
    )  # fmt: skip
    try:
        # Like nearly every zsh: the words of the line are told by its newer completion only.
        child.sendline(
            "autoload -U compinit && compinit -u -D; PS1='ready> ';"
            " source <(hoox --print-completion-script zsh)"
        )
        child.expect("ready> ")
        child.expect("ready> ")
        child.send("hoox db migrate sta\t")
        child.expect("tus")
        child.sendintr()
        child.send("hoox db export --gz\t")
        child.expect("ip")
    finally:
        child.close(force=True)


@pytest.mark.parametrize(
    "content", ["hoox: [1]", "run: 5", "x: [", 'x: !!python/object/apply:os.system ["false"]']
)
def test_a_configuration_that_is_none_gets_a_sentence(
    workspace: Path, env: dict[str, str], content: str
) -> None:
    """Whatever stands in invoke.yaml, it ends in no traceback."""
    (workspace / "invoke.yaml").write_text(content)
    said = run("hoox db list", workspace, env, code=2)
    assert said.startswith("The configuration of Invoke cannot be used (")
