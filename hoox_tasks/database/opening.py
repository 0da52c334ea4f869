"""Which ledger do the settings mean?"""

from __future__ import annotations

from hoox_tasks.config.settings import Settings, workspace_of
from hoox_tasks.database.interface import Database
from hoox_tasks.lazy import lazy_imports

with lazy_imports():
    from hoox_tasks.database.local import database as local
    from hoox_tasks.database.remote import database as remote


def open_database(settings: Settings, *, create: bool = False) -> Database:
    """Open the ledger that `settings` name; with `create` a local one is made where there is none.

    Raises `Refused` where it is not there, or the way to it is not configured.
    """
    if settings.remote:
        return remote.open_remote(settings)
    return local.LocalDatabase(
        settings.path,
        root=workspace_of(settings.path),
        name=settings.name,
        create=create,
        strict=settings.strict,
        busy_timeout=settings.busy_timeout,
    )
