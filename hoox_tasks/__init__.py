"""The Hoox trade ledger's runbook as Invoke tasks and pytest fixtures, on SQLite and Cloudflare D1.

In a workspace's `tasks.py`:

    from hoox_tasks import ns

or, beside tasks of your own: `ns = Collection(..., hoox_tasks.db)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hoox_tasks.tasks import db, ns
    from hoox_tasks.version import __version__

__all__ = ["__version__", "db", "ns"]

if not TYPE_CHECKING:  # A type checker would take every name for one that is there.

    def __getattr__(name: str) -> object:
        # Invoke takes a tenth of a second to import; the pytest plugin lives in this package as well.
        if name == "__version__":
            from hoox_tasks.version import __version__

            return __version__
        if name in {"ns", "db"}:
            from hoox_tasks.interruptions import deadly

            with deadly():
                from hoox_tasks import tasks

            return getattr(tasks, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
