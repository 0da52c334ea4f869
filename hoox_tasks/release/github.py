"""What a job on GitHub is told: annotations of files, and outputs for the steps after it."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from hoox_tasks.errors import HooxError
from hoox_tasks.migrations import MigrationFailed
from hoox_tasks.release.receipt import Receipt


def annotation(error: HooxError, workspace: Path) -> str:
    """Write an error as GitHub's command that puts it beside the line of the file at fault.

    `workspace` is the folder of the checkout
    (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands).
    """
    place = ""
    if isinstance(error, MigrationFailed):
        file = error.file.resolve()
        if file.is_relative_to(workspace.resolve()):
            place = f" file={_property(file.relative_to(workspace.resolve()).as_posix())}"
            place += f",line={max(error.line, 1)}"
    return f"::error{place}::{_message(str(error))}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def outputs(receipt: Receipt) -> str:
    """Write what of a receipt the steps after this one may ask for, as a line of `$GITHUB_OUTPUT` each.

    `outcome`, `version`, `backup` (the path of the file) and `uncertain` are texts, `applied` is an array in
    JSON. Whatever a migration is called, it ends no value
    (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#multiline-strings).
    """
    values = {
        "outcome": receipt.outcome,
        "applied": json.dumps([applied.name for applied in receipt.applied]),
        "version": receipt.version,
        "backup": receipt.backup.path if receipt.backup else "",
        "uncertain": str(receipt.uncertain).lower(),
    }
    end = secrets.token_hex(16)
    return "".join(f"{name}<<{end}\n{value}\n{end}\n" for name, value in values.items())
