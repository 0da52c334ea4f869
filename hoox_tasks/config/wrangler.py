"""Wrangler's side of a workspace: its config file, its D1 bindings, and where it keeps local ledgers.

Resolved as wrangler 4 does it, so that `wrangler dev` and the tasks open the same file and the same
migrations (https://developers.cloudflare.com/workers/wrangler/configuration/).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hoox_tasks.errors import Refused
from hoox_tasks.suggestions import remedy, suggestion
from hoox_tasks.toml import check_size, read_toml

_STRING = r'"(?:[^"\\]++|\\(?s:.))*+(?:"|\Z)'
_COMMENT = r"//[^\n\r]*+|/\*(?s:.)*?(?:\*/|\Z)"
_LOCAL_FOLDER = ("v3", "d1", "miniflare-D1DatabaseObject")


@dataclass(frozen=True, slots=True)
class Binding:
    """One entry of `d1_databases`; the texts are empty where the config leaves them out."""

    binding: str
    database_name: str
    database_id: str
    preview_database_id: str
    migrations_dir: str
    migrations_table: str
    migrations_pattern: str

    @property
    def name(self) -> str:
        """What people call the database."""
        return self.database_name or self.binding

    @property
    def local_id(self) -> str:
        """The id from which wrangler derives the name of the local file."""
        return self.preview_database_id or self.database_id or self.binding


@dataclass(frozen=True, slots=True)
class WranglerConfig:
    """A wrangler config file, with one environment chosen.

    `environments` are those that have D1 databases of their own.
    """

    path: Path
    environment: str
    worker_name: str
    account_id: str
    bindings: tuple[Binding, ...]
    environments: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """The folder of the config file, from which its relative paths count."""
        return self.path.parent

    def local_ledger(self, binding: Binding, persist_to: Path | None = None) -> Path:
        """Give the SQLite file that `wrangler dev` uses for `binding`."""
        state = persist_to if persist_to is not None else self.root / ".wrangler" / "state"
        return state.joinpath(*_LOCAL_FOLDER, f"{object_id(binding.local_id)}.sqlite")

    def choose(self, wanted: str | None) -> Binding:
        """Give the binding that is called `wanted` (database name or binding), or the only one.

        Raises `Refused` where there is none, or several and none was chosen.
        """
        names = [f"{b.name} ({b.binding})" if b.name != b.binding else b.name for b in self.bindings]
        where = f"{self.path.name}" + (f", environment {self.environment}" if self.environment else "")
        if wanted:
            for binding in self.bindings:
                if wanted in {binding.database_name, binding.binding}:
                    return binding
            known = [n for b in self.bindings for n in (b.database_name, b.binding) if n]
            hint = suggestion(wanted, known) or f"It has: {', '.join(names) or 'none'}."
            raise Refused(f"{where} has no D1 database called {wanted}.", hint)
        if len(self.bindings) > 1:
            raise Refused(
                f"{where} has several D1 databases and none was chosen.",
                f"Choose one with --database: {', '.join(names)}.",
            )
        if not self.bindings:
            raise Refused(
                f"{where} has no D1 database.", "Add one under d1_databases, or name a file with --path."
            )
        return self.bindings[0]


def object_id(local_id: str) -> str:
    """Derive the name (without suffix) of a local D1 file from a database's id, as miniflare does.

    Two rounds of HMAC-SHA-256 keyed with the hash of the Durable Object's class name, 16 bytes of each.
    """
    import hashlib
    import hmac

    key = hashlib.sha256(_LOCAL_FOLDER[-1].encode()).digest()
    first = hmac.digest(key, local_id.encode(), "sha256")[:16]
    second = hmac.digest(key, first, "sha256")[:16]
    return (first + second).hex()


def read_config(
    path: Path, environment: str | None = None, *, environ: Mapping[str, str] | None = None
) -> WranglerConfig:
    """Read a wrangler config and choose `environment` (`CLOUDFLARE_ENV` where none is named).

    Raises `Refused` where the file does not parse, or has no such environment. As in wrangler, a variable
    that names one is not heeded where the config has no environments at all.
    """
    document = _parse(path)
    named = environment
    environment = environment or (os.environ if environ is None else environ).get("CLOUDFLARE_ENV") or ""
    section: Mapping[str, Any] = document
    if environment:
        environments = _mapping(path, document, "env")
        if environment in environments:
            # d1_databases is not inherited: an environment without it has none.
            section = _mapping(path, environments, environment)
        elif environments or named:
            raise Refused(
                f"{path.name} has no environment {environment}.",
                remedy(
                    environment, environments, f"It has: {', '.join(environments)}; choose one with --env."
                )
                if environments
                else "It has none: leave --env, hoox.env and CLOUDFLARE_ENV out.",
            )
        else:
            environment = ""
    name = str(section.get("name") or document.get("name") or "")
    entries = section.get("d1_databases") or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Refused(f"d1_databases in {path} is not a list of tables.", "Write each database as one entry.")
    return WranglerConfig(
        path=path,
        environment=environment,
        worker_name=name,
        account_id=str(section.get("account_id") or document.get("account_id") or ""),
        bindings=tuple(_binding(path, entry) for entry in entries),
        environments=tuple(
            name
            for name, found in _mapping(path, document, "env").items()
            if isinstance(found, dict) and found.get("d1_databases")
        ),
    )


def _parse(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text("utf-8-sig")
        document = read_toml(text) if path.suffix == ".toml" else _parse_json(text)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    except (ValueError, RecursionError) as error:
        reason = str(error).removeprefix("<string>:").rstrip(".")
        raise Refused(
            f"{path} does not parse: {reason}.", "Correct the file; wrangler cannot read it either."
        ) from error
    if not isinstance(document, dict):
        raise Refused(f"{path} does not hold an object.", "See wrangler's documentation of its config file.")
    return document


def _parse_json(text: str) -> Any:
    import json

    check_size(text)
    try:
        return json.loads(text)
    except ValueError:
        return json.loads(_plain_json(text))


def _plain_json(text: str) -> str:
    """Put spaces in the place of comments and of commas before a closing bracket, as wrangler reads them."""
    uncommented = re.sub(rf"{_STRING}|{_COMMENT}", _blanked, text)
    return re.sub(rf"{_STRING}|,(?=\s*+[\]}}])", _blanked, uncommented)


def _blanked(match: re.Match[str]) -> str:
    found = match.group()
    unclosed = found.startswith("/*") and not found.endswith("*/", 2)
    return found if unclosed or found.startswith('"') else re.sub(r"\S", " ", found)


def _mapping(path: Path, parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key) or {}
    if not isinstance(value, dict):
        raise Refused(f"{key} in {path} is not a table.", "See wrangler's documentation of its config file.")
    return value


def _binding(path: Path, entry: Mapping[str, Any]) -> Binding:
    def text(key: str) -> str:
        value = entry.get(key)
        if value is not None and not isinstance(value, str):
            raise Refused(f"{key} of a D1 database in {path} is not text.", "Write it in quotes.")
        return value or ""

    if not text("binding"):
        raise Refused(f"A D1 database in {path} has no binding.", "Give it one; wrangler refuses it as well.")
    return Binding(
        binding=text("binding"),
        database_name=text("database_name"),
        database_id=text("database_id"),
        preview_database_id=text("preview_database_id"),
        migrations_dir=text("migrations_dir"),
        migrations_table=text("migrations_table"),
        migrations_pattern=text("migrations_pattern"),
    )
