"""A receipt as the summary and the annotations of a job on GitHub."""

from __future__ import annotations

import re
from pathlib import Path

from hoox_tasks.console import terminal
from hoox_tasks.errors import HooxError
from hoox_tasks.migrations import MigrationFailed
from hoox_tasks.release.receipt import Receipt


def markdown(receipt: Receipt) -> str:
    """Write a receipt as the summary of a job."""
    title = {"released": "Released", "rehearsed": "Rehearsed", "nothing pending": "Nothing to release"}
    lines = [f"## {title.get(receipt.outcome, 'Release failed')}: {_code(receipt.database)}", ""]
    if receipt.problem:
        lines += [
            f"**{receipt.failure}** {_text(receipt.problem)}",
            "",
            _text(receipt.remedy),
            "",
        ]
        if receipt.detail:
            lines += [_fence(receipt.detail), ""]
    if receipt.uncertain:
        looking = terminal.worded("Look with `inv db.migrate.status`.")
        lines += [f"The history could not be read afterwards. {looking}", ""]
    if receipt.pending:
        lines += ["| migration | |", "| --- | --- |"]
        seconds = {applied.name: applied.seconds for applied in receipt.applied}
        for name in receipt.pending:
            rest = "would be applied" if receipt.outcome == "rehearsed" else "not applied"
            took = f"applied ({seconds[name] * 1000:.0f} ms)" if seconds.get(name) else "applied"
            lines.append(f"| {_code(name)} | {took if name in seconds else rest} |")
        lines.append("")
    lines += [f"Version: {_code(receipt.version or 'none')}", ""]
    if receipt.rehearsal:
        lines += ["| rows in the rehearsal | before | after | schema |", "| --- | ---: | ---: | --- |"]
        lines += [
            f"| {_code(effect.table)} | {_number(effect.before)} | {_number(effect.after)}"
            f" | {', '.join(map(_code, effect.schema))} |"
            for effect in receipt.rehearsal
        ]
        lines.append("")
    if receipt.changes:
        lines += ["Rows and values that were there:", ""]
        lines += [f"- {_code(str(change))}" for change in receipt.changes]
        lines.append("")
    if receipt.tables:
        lines += ["| table | rows |", "| --- | ---: |"]
        lines += [f"| {_code(name)} | {_number(rows)} |" for name, rows in receipt.tables.items()]
        lines.append("")
    if receipt.smoke:
        lines += ["| query | rows | value |", "| --- | ---: | --- |"]
        lines += [
            f"| {_code(query.sql)} | {query.rows:,}"
            f" | {'' if query.value is None else _code(str(query.value))} |"
            for query in receipt.smoke
        ]
        lines.append("")
    if receipt.extra:
        lines += [f"Besides what the migrations make: {', '.join(map(_code, receipt.extra))}", ""]
    if receipt.backup:
        kept = f" (artifact {_code(receipt.artifact)})" if receipt.artifact else ""
        lines += [
            f"Backup: {_code(Path(receipt.backup.path).name)}{kept}, {receipt.backup.rows:,} rows,"
            f" SHA-256 {_code(receipt.backup.sha256)}",
            "",
        ]
    if receipt.way_back:
        lines += [
            "The way back, which loses what was written since:",
            "",
            _fence("\n".join(receipt.way_back)),
            "",
        ]
    lines.append(" · ".join(f"{step.name} {step.seconds:.1f} s" for step in receipt.steps))
    return "\n".join(lines).rstrip() + "\n"


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


def _number(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,}"


def _code(text: str) -> str:
    """Put a text into a code span of one line, whatever is in it; it may stand in a table."""
    line = " ".join(text.split()).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    marks = "`" * (longest + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{marks}{space}{line}{space}{marks}"


def _text(text: str) -> str:
    """Let nothing in a sentence be markup but its own code spans."""
    parts = " ".join(text.split()).split("`")
    spans = len(parts) % 2  # A mark too many would turn them inside out.
    escaped = [
        part if spans and place % 2 else re.sub(r"([\\*\[\]<>|])", r"\\\1", part)
        for place, part in enumerate(parts)
    ]
    return "`".join(escaped)


def _fence(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}text\n{text}\n{marks}"
