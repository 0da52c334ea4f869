"""The tasks of this repository. A workspace of yours needs one line: `from hoox_tasks import ns`."""

import re
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from hoox_tasks import db

PYTHON = f'"{sys.executable}" -m'


@task(help={"fix": "Correct what can be corrected."})
def lint(c: Context, fix: bool = False) -> None:
    """Check style, types and the workflows."""
    c.run(f"{PYTHON} ruff check {'--fix ' if fix else ''}.")
    c.run(f"{PYTHON} ruff format {'' if fix else '--check '}.")
    c.run(f"{PYTHON} mypy")


@task(help={"workers": "How many processes run the tests."})
def test(c: Context, workers: str = "auto") -> None:  # noqa: PT028  (a task, no test)
    """Run the whole test suite."""
    # Nothing that they write has to outlive a power cut; to wait for the disk takes a third of the time.
    unwaiting = "eatmydata " if shutil.which("eatmydata") else ""
    c.run(f"{unwaiting}{PYTHON} pytest -n {workers}")


@task(help={"minutes": "How long, in all."})
def fuzz(c: Context, minutes: float = 5) -> None:
    """Give anything at all to what reads text from outside, for some minutes."""
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        c.run(f"{PYTHON} pytest -q tests/fuzz -n 2", env={"HOOX_FUZZ_EXAMPLES": "500"})


@task(help={"report": "Measure whole commands only, and write docs/benchmarks.md."})
def bench(c: Context, report: bool = False) -> None:
    """Run the benchmarks; each asserts a ratio to a named peer, measured in the same run."""
    run = f'{PYTHON} pytest -o addopts="--import-mode=importlib" -p no:xdist'
    if not report:
        c.run(f"{run} tests/benchmarks")
        return
    from tests.support.benchmark_page import write_page
    from tests.support.measuring import FOUND

    with TemporaryDirectory() as folder:
        found = Path(folder) / "found.jsonl"
        files = "tests/benchmarks/test_commands.py tests/benchmarks/test_points.py"
        c.run(f"{run} -s {files}", env={FOUND: str(found)}, warn=True)
        write_page(found, Path(__file__).parent / "docs/benchmarks.md")


@task(help={"check": "Change nothing; fail where a document is stale."})
def docs(c: Context, check: bool = False) -> None:
    """Write what is made from the sources: docs/schema.md, docs/tasks.md and fixtures/counts.json."""
    from hoox_tasks.config.dictionary import read_dictionary
    from hoox_tasks.migrations import discover
    from hoox_tasks.seeding import kept_counts
    from hoox_tasks.tasks.decorator import SHARED
    from hoox_tasks.views.reference import write_reference
    from hoox_tasks.views.task_reference import write_task_reference

    root = Path(__file__).parent
    try:
        schema = write_reference(discover(root / "migrations"), read_dictionary(root / "migrations"))
    except KeyError as error:
        raise Exit(f"{error.args[0]} has no description. Add it to migrations/dictionary.toml.", 1) from None
    typed = {min([name, *others], key=len): name for name, others in ns.task_names.items()}
    tasks = {name: ns[typed[name]] for name in sorted(typed) if name.startswith("db.")}
    made = {
        "docs/schema.md": schema,
        "docs/tasks.md": write_task_reference(tasks, list(SHARED)),
        f"fixtures/{kept_counts.NAME}": kept_counts.write(root / "fixtures"),
    }
    for name, text in made.items():
        path = root / name
        if not check:
            path.write_text(text, "utf-8", newline="\n")
        elif not path.is_file() or path.read_text("utf-8") != text:
            raise Exit(f"{name} is stale. Run `inv docs`, and commit it.", 1)


LOCKS = {
    ".github/actions/install/requirements.txt": "pyproject.toml --extra age --group build",
    ".github/publish-requirements.txt": "--group publish",
}
"""Locks of dependencies with their hashes, by what they lock."""


@task(help={"upgrade": "Take newer versions where there are some."})
def lock(c: Context, upgrade: bool = False) -> None:
    """Write the locks that the workflows install from, for every system and Python."""
    for path, what in LOCKS.items():
        c.run(
            f"{PYTHON} uv pip compile --quiet --universal --python-version 3.11 --generate-hashes"
            f" --no-emit-index-url --no-annotate {'--upgrade ' if upgrade else ''}{what} -o {path}",
            env={"UV_CUSTOM_COMPILE_COMMAND": "inv lock"},
        )


@task(help={"repository": "Its name on GitHub, such as hoox/tasks."})
def address(c: Context, repository: str) -> None:
    """Write where this repository is into pyproject.toml, documents and workflows."""
    root = Path(__file__).parent
    text = (root / "pyproject.toml").read_text("utf-8")
    former = text.partition('Repository = "https://github.com/')[2].partition('"')[0]
    for folder in (".", "docs", ".github"):
        for path in (root / folder).glob("*" if folder == "." else "**/*"):
            if path.suffix in {".md", ".toml", ".yml"}:
                text = path.read_text("utf-8")
                if former in text:
                    path.write_text(text.replace(former, repository), "utf-8")


@task
def site(c: Context) -> None:
    """Build the documentation site in build/docs/site, from README.md and docs/; fails on any warning."""
    root = Path(__file__).parent
    build = root / "build/docs"
    shutil.rmtree(build, ignore_errors=True)
    shutil.copytree(root / "docs", build / "pages")
    (build / "pages/mkdocs.yml").rename(build / "mkdocs.yml")
    for path in (root / "README.md", *(root / "docs").glob("*.md")):
        name = "index.md" if path.name == "README.md" else path.name
        (build / "pages" / name).write_text(as_page(path), "utf-8", newline="\n")
    c.run(f"{PYTHON} zensical build --strict --clean --config-file {build / 'mkdocs.yml'}")


def as_page(path: Path) -> str:
    """Give a document as a page of the site: what it links to outside docs/ stands in the repository.

    Raises `Exit` for a link to a file that is not there; the generator looks at links to pages only.
    """
    root = Path(__file__).parent
    address = re.search(r'^Repository = "(.*)"', (root / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert address

    def lead(match: re.Match[str]) -> str:
        name, mark, place = match[1].partition("#")
        target = (path.parent / name).resolve()
        if not target.exists():
            raise Exit(f"{path.name} links to {name}, which is not there. Correct it.", 1)
        inside = target.is_relative_to(root / "docs")
        where = target.relative_to(root / "docs" if inside else root).as_posix()
        return f"]({'' if inside else f'{address[1]}/blob/main/'}{where}{mark}{place})"

    return re.sub(r"\]\((?!\w+:|#)([^)\s]+)\)", lead, path.read_text("utf-8"))


@task
def market(c: Context) -> None:
    """Draw the pictures of docs/market.md anew, from the rows of the scenarios."""
    from hoox_tasks.seeding import load_scenario
    from hoox_tasks.seeding.pictures import draw_market

    root = Path(__file__).parent
    folder = root / "docs/market"
    folder.mkdir(exist_ok=True)
    for name in ("demo", "busy", "liquidation"):
        draw_market(load_scenario(name, [root / "fixtures"]), folder / f"{name}.svg")


ns = Collection(db, lint, test, fuzz, bench, docs, site, lock, address, market)
