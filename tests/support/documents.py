"""The documents' examples, run: what stands below a command is what the command prints.

`python -m tests.support.documents` writes the outputs anew; `tests/test_documents.py` compares them. Blocks of
`console` run one after the other, in one workspace for each document; behind `<!-- remote -->` they run against
`inv db.serve`, and behind `<!-- not run: why -->` not at all. Python runs under pytest, YAML is held against the
workflow and the action, Mermaid is parsed, and the lines behind `<!-- quickstart -->` and `<!-- tests -->` are what
`.ci/run` begins with.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import ROOT

README = ROOT / "README.md"
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
SECONDS = 120

_BLOCK = re.compile(
    r"(?:<!-- (?P<directive>[^\n]*?) -->\n)?^(?P<fence>```+)(?P<language>\w+)\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_MASKS = (
    (re.compile(r"\b\d+(\.\d+)? (ms|s)\b"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d"), "MOMENT"),
    (re.compile(r"\d{4}-\d\d-\d\d-\d{6}(-\d+)?"), "STAMP"),
    (re.compile(r"\d{8}T?-?\d{6}\w*(-[0-9a-f]+)?"), "STAMP"),
    (re.compile(r"[\d,]+ (bytes|KB|MB)\b"), "SIZE"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{32}"), "BOOKMARK"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "SHA256"),
    (re.compile(r"\b127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r"-{3,}"), "---"),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, what stands in it and where, and the comment right before it."""

    language: str
    directive: str
    text: str
    start: int
    end: int

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The commands of a console block, each with the output that stands below it."""
        found: list[tuple[str, str]] = []
        for line in self.text.splitlines(keepends=True):
            if line.startswith("$ "):
                found.append((line[2:].rstrip("\n"), ""))
            elif found:
                found[-1] = (found[-1][0], found[-1][1] + line)
        return found


def blocks(text: str) -> list[Block]:
    """Give the fenced blocks of a document."""
    return [
        Block(
            match["language"], match["directive"] or "", match["text"], match.start("text"), match.end("text")
        )
        for match in _BLOCK.finditer(text)
    ]


def prose(text: str) -> str:
    """Give a document without its fenced blocks."""
    return _BLOCK.sub("", text)


def masked(output: str) -> str:
    """Leave out of an output what differs from run to run: times, sizes, and the spaces they move."""
    for pattern, word in _MASKS:
        output = pattern.sub(word, output)
    return "\n".join(line.rstrip() for line in output.strip().splitlines())


class Session:
    """A workspace with a terminal of 80 columns, in which the document's commands run in turn."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "tasks.py").write_text("from hoox_tasks import ns\n")
        keep = {key: value for key, value in os.environ.items() if not key.startswith(("CLOUDFLARE_", "CF_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**keep, "PATH": path, "COLUMNS": "80", "HOME": str(folder)}
        self._server: subprocess.Popen[str] | None = None

    def run(self, command: str, *, remote: bool = False) -> str:
        """Run a command line and give all that it prints, both streams together."""
        environment = dict(self._environment)
        if remote:
            environment |= self._served()
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        return done.stdout.replace(f"{self._folder}/", "")

    def _served(self) -> dict[str, str]:
        if self._server is None:
            self._server = subprocess.Popen(
                ["inv", "db.serve", "--port", "0"],
                cwd=self._folder,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert self._server.stdout is not None
            self._told = dict(
                line.split("export ", 1)[1].strip().split("=", 1)
                for line in (self._server.stdout.readline() for _ in range(5))
                if "export " in line
            )
        return self._told

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.terminate()
            self._server.communicate(timeout=SECONDS)


@contextmanager
def session() -> Iterator[Session]:
    """Give a new workspace for a block."""
    with tempfile.TemporaryDirectory(prefix="hoox-readme-") as folder:
        found = Session(Path(folder))
        try:
            yield found
        finally:
            found.close()


def tried(block: Block) -> bool:
    """Tell whether a test tries what stands in a block, or CI itself does."""
    if block.directive in {"quickstart", "tests"}:
        return block.language == "sh"
    if block.directive == "remote":
        return block.language == "console"
    return not block.directive and block.language in {"console", "python", "yaml", "mermaid"}


def runnable(text: str) -> list[Block]:
    """Give the console blocks that are to be run."""
    return [
        block
        for block in blocks(text)
        if block.language == "console" and not block.directive.startswith("not run")
    ]


def rewritten(text: str) -> str:
    """Give the document with every output as it is now."""
    parts, position = [], 0
    with session() as workspace:
        for block in runnable(text):
            parts.append(text[position : block.start])
            for command, _ in block.commands:
                output = workspace.run(command, remote=block.directive == "remote").strip("\n")
                parts.append(f"$ {command}\n" + (f"{output}\n" if output else ""))
            position = block.end
    return "".join([*parts, text[position:]])


if __name__ == "__main__":
    for document in [ROOT / name for name in sys.argv[1:]] or DOCUMENTS:
        if runnable(found := document.read_text("utf-8")):
            document.write_text(rewritten(found), "utf-8")
