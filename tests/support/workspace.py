"""A workspace in a temporary folder, and `inv` run in it as a user would."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import select
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from typing import Any

from tests.support import forked

INV = [sys.executable, "-m", "invoke"]
SECONDS = 60


@dataclass(frozen=True)
class Run:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it should be."""
        return json.loads(self.out)


class Workspace:
    """A folder with a `tasks.py`; `home` is beside it, and nothing of the user's settings is seen."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root = root
        self.home = home
        self.ledger = root / ".hoox" / "local.sqlite"
        root.mkdir(parents=True, exist_ok=True)
        home.mkdir(parents=True, exist_ok=True)
        (root / "tasks.py").write_text("from hoox_tasks import ns\n")

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a command: without variables that would change what it does, and with `env`."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CLOUDFLARE_", "CF_", "INVOKE_", "PYTHON", "CI"))
        }
        return kept | {"HOME": str(self.home), "COLUMNS": "80", "LINES": "24", "PAGER": ""} | dict(env or {})

    def start(
        self,
        *arguments: str | bytes,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        **how: Any,
    ) -> subprocess.Popen[bytes]:
        """Start `inv` and do not wait for it."""
        streams: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        } | how
        return subprocess.Popen(
            [*INV, *arguments], cwd=cwd or self.root, env=self.environment(env), **streams
        )

    def inv(
        self,
        *arguments: str | bytes,
        stdin: str | bytes | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        code: int | None = None,
        **how: Any,
    ) -> Run:
        """Run `inv` to its end; with `code`, fail if it ends with another."""
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        variables = self.environment(env)
        if not how and forked.can_run(arguments, variables):
            ended, out, err = forked.run(arguments, raw, cwd or self.root, variables, SECONDS)
        else:
            if raw is not None:
                how["stdin"] = subprocess.PIPE
            with self.start(*arguments, cwd=cwd, env=env, **how) as process:
                try:
                    out, err = process.communicate(raw, timeout=SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise
            ended = process.returncode
        run = Run(ended, (out or b"").decode(), (err or b"").decode())
        assert "Traceback" not in run.err, run.err
        if code is not None:
            assert run.code == code, run
        return run

    def ok(self, *arguments: str | bytes, **how: Any) -> Run:
        """Run `inv`, which must succeed."""
        return self.inv(*arguments, code=0, **how)

    def refused(self, *arguments: str | bytes, **how: Any) -> str:
        """Run `inv`, which must refuse (exit code 2) and print nothing, but for --json; returns what it says."""
        run = self.inv(*arguments, code=2, **how)
        if "--json" in arguments:
            assert (run.json["exit"], run.json["changed"]) == (2, False)
        else:
            assert run.out == "", run
        return run.err

    def terminal(
        self,
        *arguments: str,
        typed: str = "",
        columns: int = 80,
        env: Mapping[str, str] | None = None,
    ) -> Run:
        """Run `inv` on a terminal, where `typed` is typed; what it shows is all in `out`.

        There are neither bars nor other signs of life, which come or not as the machine is busy.
        """
        ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        try:
            environment = {"COLUMNS": str(columns), "TERM": "xterm", "TQDM_DISABLE": "1", **(env or {})}
            process = self.start(
                *arguments,
                env=environment,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            )
            os.close(theirs)
            os.write(ours, typed.encode())
            shown = b""
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                if not select.select([ours], [], [], 1)[0]:
                    continue
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # Linux says so when the other end is closed.
                    break
                if not piece:
                    break
                shown += piece
            code = process.wait(SECONDS)
        finally:
            os.close(ours)
        return Run(code, shown.decode().replace("\r\n", "\n"), "")

    def files(self) -> dict[str, str]:
        """The workspace's files with what is in them, but for what SQLite keeps beside an open ledger."""
        return {
            str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and not path.name.endswith(("-wal", "-shm"))
        }

    def sql(self, query: str, *params: Any, path: Path | None = None) -> list[Any]:
        """Run SQL on the ledger behind the tasks' back."""
        with closing(sqlite3.connect(path or self.ledger)) as connection:
            rows = connection.execute(query, params).fetchall()
            connection.commit()
            return rows

    def migration(self, name: str, text: str | bytes) -> Path:
        """Write a migration of the workspace's own."""
        path = self.root / "migrations" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path


MakeWorkspace = Callable[[], Workspace]
