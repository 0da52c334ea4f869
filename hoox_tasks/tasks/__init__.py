"""The Invoke tasks: each reads its flags, calls one operation, and shows what that returns."""

from __future__ import annotations

from invoke.collection import Collection

from hoox_tasks.config.settings import DEFAULTS
from hoox_tasks.tasks import exits, parsing
from hoox_tasks.tasks.parsing import NamedTask

_migrate: Collection = Collection(
    "migrate",
    NamedTask("migrate", "apply", default=True),
    NamedTask("migrate", "status"),
    NamedTask("migrate", "new"),
    NamedTask("migrate", "mark"),
    NamedTask("adopt", "adopt"),
    NamedTask("rollback", "rollback"),
)

db: Collection = Collection(
    "db",
    NamedTask("ledger", "apply"),
    NamedTask("ledger", "list_", name="list"),
    NamedTask("info", "info"),
    NamedTask("query", "query"),
    NamedTask("ledger", "schema"),
    NamedTask("insert", "insert"),
    NamedTask("ledger", "reset"),
    NamedTask("seed", "seed"),
    NamedTask("seed", "scenarios"),
    NamedTask("backups", "export"),
    NamedTask("release", "release"),
    NamedTask("release", "pull"),
    NamedTask("backups", "verify"),
    NamedTask("diff", "diff"),
    NamedTask("backups", "list_backups", name="backups"),
    NamedTask("restore", "restore"),
    NamedTask("migrate", "check"),
    NamedTask("recovery", "undo"),
    NamedTask("recovery", "history"),
    NamedTask("serve", "serve"),
    NamedTask("views", "shell"),
    NamedTask("views", "browse"),
    NamedTask("views", "report"),
    _migrate,
)
"""The collection to add to a namespace of one's own."""
parsing.install()

db.configure({"hoox": dict(DEFAULTS)})

ns: Collection = Collection(db)
"""The namespace of a workspace that has no other tasks."""

exits.explain_start()
