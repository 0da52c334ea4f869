"""The Hoox trade ledger's runbook as Invoke tasks and pytest fixtures, on SQLite and Cloudflare D1.

In a workspace's `tasks.py`:

    from hoox_tasks import ns

or, beside tasks of your own: `ns = Collection(..., hoox_tasks.db)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from invoke.collection import Collection

    ns: Collection
    db: Collection

__all__ = ["__version__", "db", "ns"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Invoke takes a tenth of a second to import; the pytest plugin lives in this package as well.
    if name in {"ns", "db"}:
        from hoox_tasks import tasks

        return getattr(tasks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
