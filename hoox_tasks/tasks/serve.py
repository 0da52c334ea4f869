"""`inv db.serve`."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

from hoox_tasks.console import terminal
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.lazy import lazy_imports
from hoox_tasks.tasks.command import Command
from hoox_tasks.tasks.decorator import ledger_task

with lazy_imports():
    from hoox_tasks import server

_TOKEN = "HOOX_SERVE_TOKEN"


@ledger_task(
    {
        "port": "Listen on this port; 0 takes a free one.",
        "host": "Listen on this address; others than loopback need a --token.",
        "token": "Let in only this bearer token, or that in @FILE; any will do otherwise.",
        "strict-splitter": "Refuse the triggers on which D1's own splitter breaks.",
    },
    without=("remote", "preview", "json"),
)
def serve(
    command: Command,
    port: int = 8799,
    host: str = "127.0.0.1",
    token: str | None = None,
    strict_splitter: bool = False,
) -> None:
    """Serve the local ledger as Cloudflare's D1 API, for development and tests.

    Point a client at it with CLOUDFLARE_API_BASE_URL. Ctrl-C ends it. Others
    on this machine can see a token on a command line: @FILE and the variable
    HOOX_SERVE_TOKEN hide it.
    """
    import uuid

    settings = command.settings
    token = _read_token(token)
    if not settings.path.exists():
        raise Refused(f"There is no ledger at {settings.path}.", "Make one with `inv db.apply`.")
    # Each ledger has an id of its own, so that a client of one cannot reach another by mistake.
    database_id = settings.database_id or str(uuid.uuid5(uuid.NAMESPACE_URL, settings.path.as_uri()))
    name = settings.database_name or settings.path.stem
    if command.dry:
        command.done(f"Would serve {command.shown(settings.path)} as D1 database {name}")
        return
    with closing(
        server.create_app(
            settings.path, name=name, database_id=database_id, token=token, strict_splitter=strict_splitter
        )
    ) as app:
        try:
            listening = server.serve(app, host, port)
        except OSError as error:
            raise HooxError(
                f"Port {port} of {host} cannot be used: {error.strerror}.", "Choose another with --port."
            ) from error
        terminal.note("This is for development and tests: it is not Cloudflare, and it is not hardened.")
        command.say(f"Serving {settings.path} as D1 database {name} ({database_id}). For a client:")
        command.say(f"  export CLOUDFLARE_API_BASE_URL={server.base_url(host, listening.server_port)}")
        command.say(f"  export CLOUDFLARE_ACCOUNT_ID={'0' * 32}")
        command.say(f"  export CLOUDFLARE_API_TOKEN={'...' if token else 'any'}")
        command.say(f"  export INVOKE_HOOX_DATABASE_ID={database_id}")
        sys.stdout.flush()
        try:
            listening.serve_forever()
        finally:
            listening.server_close()


def _read_token(given: str | None) -> str | None:
    """Give the token that clients need, from the flag, the file it names or the environment; None for any."""
    token, source = (given, "--token") if given else (os.environ.get(_TOKEN), _TOKEN)
    if given and given.startswith("@"):
        path = Path(given[1:]).expanduser()
        try:
            token, source = path.read_text("utf-8").strip(), str(path)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise Refused(f"{path} cannot be read: {reason}.", "Name a file with a token.") from error
    if token is not None and not (token.isascii() and token.isprintable() and token.split() == [token]):
        raise Refused(
            f"The token of {source} is empty, or holds a space or a character outside ASCII.",
            "Give it letters and digits.",
        )
    return token
