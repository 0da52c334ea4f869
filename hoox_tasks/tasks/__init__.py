"""The Invoke tasks: each reads its flags, calls one operation, and shows what that returns."""

from __future__ import annotations

from invoke.collection import Collection

from hoox_tasks.config.settings import DEFAULTS
from hoox_tasks.tasks import adopt as adopting
from hoox_tasks.tasks import (
    backups,
    diff,
    exits,
    info,
    insert,
    ledger,
    parsing,
    query,
    recovery,
    restore,
    rollback,
    seed,
    serve,
    views,
)
from hoox_tasks.tasks import migrate as migrate_tasks
from hoox_tasks.tasks import release as release_tasks

migrate: Collection = Collection(
    "migrate",
    migrate_tasks.apply,
    migrate_tasks.status,
    migrate_tasks.new,
    migrate_tasks.mark,
    adopting.adopt,
    rollback.rollback,
)

db: Collection = Collection(
    "db",
    ledger.apply,
    ledger.list_,
    info.info,
    query.query,
    ledger.schema,
    insert.insert,
    ledger.reset,
    seed.seed,
    seed.scenarios,
    backups.export,
    release_tasks.release,
    release_tasks.pull,
    backups.verify,
    diff.diff,
    backups.list_backups,
    restore.restore,
    migrate_tasks.check,
    recovery.undo,
    recovery.history,
    serve.serve,
    views.shell,
    views.browse,
    views.report,
    migrate,
)
"""The collection to add to a namespace of one's own."""
parsing.install()

db.configure({"hoox": dict(DEFAULTS)})

ns: Collection = Collection(db)
"""The namespace of a workspace that has no other tasks."""

exits.explain_start()
