"""A receipt as Markdown: the summary of a job, a comment."""

from __future__ import annotations

import re
from pathlib import Path

from hoox_tasks.console import gate, terminal
from hoox_tasks.release.receipt import Receipt

_TITLES = {
    "released": "Released",
    "rehearsed": "Rehearsed",
    "prepared": "Prepared",
    "nothing pending": "Nothing to release",
    "cancelled": "Release cancelled",
}


def markdown(receipt: Receipt) -> str:
    """Write a receipt as the summary of a job."""
    title = _TITLES.get(receipt.outcome, "Release failed")
    lines = [f"## {title}: {_code(receipt.database)}", ""]
    if receipt.problem:
        lines += [
            f"**{receipt.failure}** {_text(receipt.problem)}",
            "",
            _text(receipt.remedy),
            "",
        ]
        if receipt.detail:
            lines += [_fence(receipt.detail), ""]
    if receipt.uncertain and receipt.not_applied:
        looking = terminal.worded("Look in a minute with `inv db.migrate.status`.")
        lines += [f"Whether {_code(receipt.not_applied[0])} was applied is not known. {looking}", ""]
    if receipt.outcome == "prepared":
        lines += ["All went well on a copy. The ledger itself was not changed yet.", ""]
    if receipt.pending:
        lines += ["| migration | |", "| --- | --- |"]
        lines += [f"| {_code(name)} | {_fate(receipt, name)} |" for name in receipt.pending]
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
        others = ", and takes back what another run has applied" if receipt.elsewhere else ""
        lines += [
            f"The way back, which loses what was written since{others}:",
            "",
            _fence("\n".join(receipt.way_back)),
            "",
        ]
    lines.append(" · ".join(f"{step.name} {step.seconds:.1f} s" for step in receipt.steps))
    return gate.shown("\n".join(lines).rstrip() + "\n")


def _fate(receipt: Receipt, name: str) -> str:
    """Say what became of a migration."""
    for applied in receipt.applied:
        if applied.name == name:
            return f"applied ({applied.seconds * 1000:.0f} ms)" if applied.seconds else "applied"
    if name in receipt.elsewhere:
        return "applied by another run"
    if receipt.uncertain and name in receipt.not_applied[:1]:
        return "not known"
    return "would be applied" if receipt.outcome in {"rehearsed", "prepared"} else "not applied"


def _number(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,}"


def _code(text: str) -> str:
    """Put a text into a code span of one line, whatever is in it; it may stand in a table."""
    line = " ".join(text.split()).replace("|", "\\|")
    if not line:
        return ""
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    marks = "`" * (longest + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{marks}{space}{line}{space}{marks}"


def _text(text: str) -> str:
    """Let nothing in a sentence be markup but its own code spans."""
    line = " ".join(text.split())
    parts = line.split("`")
    # A mark too many would turn them inside out, and two that stand together open or close other spans.
    spans = len(parts) % 2 and "``" not in line
    escaped = [part if spans and place % 2 else gate.unmarked(part) for place, part in enumerate(parts)]
    return "`".join(escaped)


def _fence(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}text\n{text}\n{marks}"
