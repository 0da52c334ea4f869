"""Which ledger do the settings mean?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hoox_tasks.config.settings import Settings
from hoox_tasks.database.interface import Database


def open_database(settings: Settings, *, create: bool = False) -> Database:
    """Open the ledger that `settings` name; with `create` a local one is made where there is none.

    Raises `Refused` where it is not there, or the way to it is not configured.
    """
    if settings.remote:
        from hoox_tasks.database.remote.database import open_remote

        return open_remote(settings)
    from hoox_tasks.database.local.database import LocalDatabase

    return LocalDatabase(
        settings.path,
        root=settings.root,
        name=settings.name,
        create=create,
        strict=settings.strict,
        busy_timeout=settings.busy_timeout,
    )
