"""What `hoox_tasks` itself offers, to people and to type checkers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import hoox_tasks
from hoox_tasks import testing, version
from hoox_tasks.testing import plugin

REPOSITORY = Path(__file__).parents[1]
USERS = "from hoox_tasks import __version__, db, ns\nfrom hoox_tasks import typo\n"


def test_a_misspelt_import_is_an_error_of_the_type_checker(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """`mypy --strict` finds the names that there are, and no other, in a project of two lines."""
    (tmp_path / "tasks.py").write_text(USERS)
    assert pytestconfig.cache
    cache = pytestconfig.cache.mkdir("mypy-of-users")
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), "tasks.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.stdout.splitlines() == [
        'tasks.py:2: error: Module "hoox_tasks" has no attribute "typo"  [attr-defined]',
        "Found 1 error in 1 file (checked 1 source file)",
    ], run.stderr


def test_the_face_has_what_it_says_and_nothing_else() -> None:
    """Every name of `__all__` is there, and a misspelt one is an AttributeError."""
    assert sorted(hoox_tasks.__all__) == ["__version__", "db", "ns"]
    assert all(hasattr(hoox_tasks, name) for name in hoox_tasks.__all__)
    assert hoox_tasks.__version__ == version.__version__
    assert not hasattr(hoox_tasks, "typo")


def test_what_test_authors_are_told_of_is_what_there_is() -> None:
    """docs/testing.md names every type and every fixture that is handed out, and each that it names is there."""
    told = set(re.findall(r"`(\w+)[`(=]", (REPOSITORY / "docs/testing.md").read_text()))
    fixtures = {name for name in plugin.__all__ if name.startswith("hoox_")} | {"hoox_schema_file"}
    assert {name for name in told if name.startswith("hoox_")} - {"hoox_tasks"} == fixtures
    assert set(testing.__all__) <= told
    assert all(hasattr(testing, name) for name in testing.__all__)
