"""Own modules that are executed only when they are first used.

    with lazy_imports():
        from hoox_tasks import backups, migrations

Every task's module is imported to read one command line. What a task needs beyond its flags is imported in
such a block at the top of its file: where everybody looks for imports and every tool understands them, at no
cost until the task runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

_PACKAGE = __name__.rpartition(".")[0]


@contextmanager
def lazy_imports() -> Iterator[None]:
    """Put off the modules of this package that a block imports until one of their names is asked for.

    It has to import modules: `from hoox_tasks.backups import restoring`. A name out of a module, as in
    `from hoox_tasks.files import digest`, needs that module at once.
    """
    sys.meta_path.insert(0, _Finder)
    try:
        yield
    finally:
        sys.meta_path.remove(_Finder)


class _Finder:
    """Finds this package's own modules, to be executed later."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(f"{_PACKAGE}."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            spec.loader = LazyLoader(spec.loader)
        return spec
