"""The tasks of this repository. A workspace of yours needs one line: `from hoox_tasks import ns`."""

import sys

from invoke.collection import Collection
from invoke.context import Context
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
    c.run(f"{PYTHON} pytest -n {workers}")


@task
def bench(c: Context) -> None:
    """Run the benchmarks; each asserts a ratio to a named peer, measured in the same run."""
    c.run(f'{PYTHON} pytest tests/benchmarks -o addopts="--import-mode=importlib" -p no:xdist')


ns = Collection(db, lint, test, bench)
