"""The house is as CONTRIBUTING.md says: its floors, and what keeps a change in one place."""

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from tests.support import ROOT

FILES = {path.relative_to(ROOT).with_suffix("").parts: path for path in (ROOT / "hoox_tasks").rglob("*.py")}
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
LINES = 450
GENERATOR = ROOT / "hoox_tasks/seeding/generator.py"


@cache
def imported(path: Path, *, inside: bool = False) -> set[Path]:
    """The files of the package that a file imports: all of them, or those inside of a function alone."""
    tree = ast.parse(path.read_text("utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    nodes = (node for top in (functions if inside else [tree]) for node in ast.walk(top))
    found = set()
    for node in nodes:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        module = (node.module or "").split(".") if isinstance(node, ast.ImportFrom) else []
        for name in names:
            whole = (*module, *name.split("."))
            places = (whole, (*whole, "__init__"), whole[:-1], (*whole[:-1], "__init__"))
            found.update([FILES[place] for place in places if place in FILES][:1])
    return found - {path}


def test_each_room_imports_from_floors_below() -> None:
    """No file imports from a room on its own floor or above, by the list that CONTRIBUTING shows."""
    listed = re.findall(r"^- (\d): (.+)", CONTRIBUTING, re.M)
    floors = {room: int(floor) for floor, rooms in listed for room in re.findall(r"`(\w+)", rooms)}
    rooms = {
        path: path.relative_to(ROOT / "hoox_tasks").parts[0].removesuffix(".py") for path in FILES.values()
    }
    assert set(floors) == set(rooms.values())
    wrong = [
        f"{path} imports {other}"
        for path, room in rooms.items()
        for other in imported(path)
        if room != rooms[other] and floors[room] <= floors[rooms[other]]
    ]
    assert wrong == []


def test_no_files_import_each_other_in_a_circle() -> None:
    """The files can be put into an order in which each imports from those before it only."""
    TopologicalSorter({path: imported(path) for path in FILES.values()}).prepare()


def test_imports_of_our_own_stand_at_the_top() -> None:
    """Inside of functions only others' packages are imported; the public face alone waits for its tasks."""
    late = {str(path.relative_to(ROOT)): imported(path, inside=True) for path in FILES.values()}
    assert [name for name, found in late.items() if found] == ["hoox_tasks/__init__.py"]


def test_no_file_is_long() -> None:
    """Only the generator has more lines than can be held in mind."""
    lines = {path: path.read_text("utf-8").count("\n") for path in FILES.values() if path != GENERATOR}
    assert {str(path): count for path, count in lines.items() if count > LINES} == {}


def test_no_test_module_imports_another() -> None:
    """What tests share lies in tests/support."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        assert not re.findall(
            r"^ *(?:from|import) tests\.(?!support)[^\n]*", path.read_text("utf-8"), re.M
        ), path


SPEAKING = {
    "database/load_program.py": "sends to the process that started it",
    "database/local/copy_program.py": "sends to the process that started it",
    "files.py": "writes a dump",
    "program.py": "lists names of tasks for completion",
    "tasks/exits.py": "sets the streams up",
}
"""Files outside of the console that write to a standard stream themselves, and why."""


def test_what_people_read_goes_through_the_gate() -> None:
    """Outside of the console nothing is printed or written to a standard stream, but by those that say why."""
    found = set()
    for path in FILES.values():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called == "print" or re.match(r"sys\.(stdout|stderr)\.(buffer\.)?write", called):
                found.add(path.relative_to(ROOT / "hoox_tasks").as_posix())
    speaking = {name for name in found if not name.startswith("console/")}
    assert speaking <= set(SPEAKING)
    written = (ROOT / "hoox_tasks/console/gate.py").read_text("utf-8")
    assert written.count("sys.stdout.write(") == written.count("sys.stdout.write(shown(") == 1
