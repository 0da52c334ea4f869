"""Statements around a migration, in its own transaction, that notice lost rows and changed values.

Before the migration each table that it may write is copied (`hoox_guard_0`, ...); after it, every row of the
copy is looked for where it should be, by its key, and compared column by column. What is found is numbered
in `hoox_guard`, with the number of rows. What nobody consented to makes the whole transaction fail; the rest
is read before the copies are dropped. Plain SQL does it all, so that it holds on D1 as in a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hoox_tasks import sql
from hoox_tasks.migrations.comparisons import all_hold, chunks, same
from hoox_tasks.migrations.consent import Consent
from hoox_tasks.migrations.effects import (
    CHANGED,
    DIFFERENT,
    DROPPED,
    EMPTIED,
    FILLED,
    GONE,
    TOO_MANY,
    Effect,
    Own,
)
from hoox_tasks.migrations.lineage import Fate, Home, Lineage
from hoox_tasks.migrations.preconditions import AMOUNT, KEYS, LOSS, fail_when
from hoox_tasks.migrations.tables import Stored
from hoox_tasks.migrations.trial import Again, copy_kept, lost_rows, lost_values

_FOUND = "hoox_guard"
_COUNTS = "hoox_guard_rows"
_CANDIDATES = 8
"""New columns in which the values of one are looked for that has no namesake."""
_GROUPED = 90
"""Columns that rows are compared by where there is no key: D1 allows a GROUP BY 100 terms."""


@dataclass(frozen=True, slots=True)
class _Finding:
    table: str
    column: str
    what: str
    refused: str
    cascading: bool = False


@dataclass(slots=True)
class Guards:
    """The statements for one migration: `opening` before it, `closing` behind it.

    `report` is the place in `closing` of the query that tells what was found, `trial` the places in `opening`
    of the statements that are tried, and taken back again.
    """

    opening: list[str] = field(default_factory=list)
    closing: list[str] = field(default_factory=list)
    report: int = 0
    findings: list[_Finding] = field(default_factory=list)
    trial: range = range(0)

    def effects(self, rows: Iterable[Sequence[object]]) -> tuple[Effect, ...]:
        """Give what `rows`, the answer of the report, say."""
        return tuple(self._effects((int(str(number)), int(str(count))) for number, count in rows))

    def refused(self, detail: str) -> tuple[list[Effect], bool]:
        """Give what a failed guard's message says, and whether foreign keys had a part in it."""
        pairs = [(int(a), int(b)) for a, b in re.findall(r"(\d+)=(\d+)", detail)]
        cascading = any(self.findings[number].cascading for number, _ in pairs)
        return self._effects(pairs), cascading

    def _effects(self, pairs: Iterable[tuple[int, int]]) -> list[Effect]:
        found = []
        for number, count in sorted(pairs):
            finding = self.findings[number]
            found.append(Effect(finding.table, finding.column, finding.what, count))
        return found


def write_guards(
    lineage: Lineage,
    consent: Consent,
    own: Mapping[str, Own],
    *,
    keys: bool,
    keys_before: bool,
    defaults: Mapping[tuple[str, str], str] | None = None,
    known: Guards | None = None,
    again: Again | None = None,
) -> Guards:
    """Write the guards of a migration that was followed on an empty ledger.

    `own` are rows of earlier migrations of the same run, by the table's name in small letters. `keys` says
    that there are foreign keys to check afterwards, `keys_before` that there were before. With `defaults`,
    a column that is dropped is a loss of all values but its default, a literal by table and column in small
    letters. The findings of `known` come first: they are of another migration in the same transaction. With
    `again`, what is lost of its tables is only what it does not bring back.
    """
    theirs: set[str] = set()
    if again is not None:
        own = {**own, **{table.name.lower(): Own() for table, _ in again.made}}
        theirs = {table.name.lower() for table, _ in again.grown}
    writer = _Writer(consent, own, defaults, known)
    if again is not None:
        writer.try_again(again)
    for table, column in lineage.dropped_columns:
        if table.name.lower() not in theirs:
            writer.dropped_column(table, column)
    for place, fate in enumerate(lineage.fates()):
        writer.watch(fate, f"hoox_guard_{place}")
    return writer.finished(keys, keys_before)


class _Writer:
    """Collects the statements; a finding's number is its place in `findings`."""

    def __init__(
        self,
        consent: Consent,
        own: Mapping[str, Own],
        defaults: Mapping[tuple[str, str], str] | None,
        known: Guards | None,
    ) -> None:
        self._consent = consent
        self._own = own
        self._defaults = defaults
        self._guards = Guards(findings=list(known.findings) if known else [])
        self._copies: list[str] = []
        self._counted: set[str] = set()
        self._full: set[str] = set()

    # ------------------------------------------------------------------------------------- what to do

    def watch(self, fate: Fate, copy: str) -> None:
        """Watch the rows of a table that the migration may remove or change."""
        table = fate.table
        if table.index:
            return
        keyed = tuple(home for home in fate.homes if home.key and home.marker)
        fate = replace(fate, homes=keyed or fate.homes)
        by_rowid = any(home.rowids or any(was == table.rowid for was, _ in home.key) for home in fate.homes)
        self._copy(table, copy, _compared(fate), [table.rowid] if by_rowid else [])
        # A NULL in a key is the same as no other: without its rowid such a row is found by its values only.
        loose = table.nullable and any(home.rowids is None for home in keyed)
        null = " OR ".join(f"c{table.columns.index(column)} IS NULL" for column in table.key) if loose else ""
        if keyed or not fate.homes:
            self._by_key(fate, f"(SELECT rowid, * FROM {copy} WHERE NOT ({null}))" if null else copy, keyed)
        if null or (fate.homes and not keyed):
            self._by_content(fate, f"(SELECT * FROM {copy} WHERE {null})" if null else copy)
        if fate.homes and fate.allowed is not None:
            self._count_made(fate.homes[0], fate.allowed, copy)

    def try_again(self, again: Again) -> None:
        """Take migrations back and apply them again, to see which rows and values were written since."""
        opening = self._guards.opening
        kept = copy_kept(again, opening)
        start = len(opening)
        opening += [*again.back, *again.forth]
        self._guards.trial = range(start, len(opening))
        for place, (table, columns, copy) in enumerate(kept):
            if place >= len(again.grown):
                number = self._finding(table.name, "", GONE, self._loss(table.name))
                self._record([(number, lost_rows(table, columns, copy))], "(SELECT 1)", opening)
            elif columns:
                numbers = [
                    self._finding(table.name, column, DROPPED, self._loss(table.name)) for column in columns
                ]
                lost, source = lost_values(table, columns, copy)
                self._record(list(zip(numbers, lost, strict=True)), source, opening)
        opening += [f"DROP TABLE {copy}" for _, _, copy in kept]

    def dropped_column(self, table: Stored, column: str) -> None:
        """Count the values of a column that ALTER TABLE drops."""
        name, where = sql.quote_name(column), self._not_own(table)
        if self._defaults is None:
            number = self._finding(table.name, column, DROPPED, self._amount(table.name, column))
            values = f"count({name})"
        else:
            number = self._finding(table.name, column, DROPPED, self._loss(table.name))
            default = self._defaults.get((table.name.lower(), column.lower()), "NULL")
            values = f"sum({name} IS NOT +{default} COLLATE BINARY)"  # Without + TRUE would be no value.
        counted = f"SELECT {values} AS n FROM {sql.quote_name(table.name)}"
        self._guards.opening.append(
            f"INSERT INTO {_FOUND} SELECT {number}, n, {self._refusal(number)}"
            f" FROM ({counted}{where}) WHERE n"
        )

    def finished(self, keys: bool, keys_before: bool) -> Guards:
        """Give the statements, with what fails, the report, and the end of the copies."""
        guards = self._guards
        if not guards.findings and not keys:
            return Guards()
        opening = [
            f"CREATE TABLE {_FOUND} (id INTEGER PRIMARY KEY, number INTEGER, refused TEXT)",
            f"CREATE TABLE {_COUNTS} (name TEXT PRIMARY KEY, number INTEGER)",
        ]
        guards.opening[:0] = opening
        guards.trial = range(guards.trial.start + len(opening), guards.trial.stop + len(opening))
        if keys:
            violations = "(SELECT count(*) FROM pragma_foreign_key_check)"
            was = "0"
            if keys_before:
                guards.opening.append(f"INSERT INTO {_COUNTS} VALUES ('', {violations})")
                was = f"(SELECT number FROM {_COUNTS} WHERE name = '')"
            pairs = (
                "(SELECT group_concat(DISTINCT \"table\" || ' to ' || parent) FROM pragma_foreign_key_check)"
            )
            guards.closing.append(fail_when(f"{violations} > {was}", KEYS, pairs))
        for kind in (LOSS, AMOUNT):
            listed = f"(SELECT group_concat(id || '=' || number) FROM {_FOUND} WHERE refused = '{kind}')"
            guards.closing.append(fail_when(f"{listed} IS NOT NULL", kind, listed))
        guards.report = len(guards.closing)
        guards.closing.append(f"SELECT id AS a, number AS b FROM {_FOUND} ORDER BY id")
        guards.closing += [f"DROP TABLE {name}" for name in (*self._copies, _FOUND, _COUNTS)]
        return guards

    # --------------------------------------------------------------------------------- how it is done

    def _finding(self, table: str, column: str, what: str, refused: str, *, cascading: bool = False) -> int:
        self._guards.findings.append(_Finding(table, column, what, refused, cascading))
        return len(self._guards.findings) - 1

    def _loss(self, table: str, column: str = "", *, changed: bool = False) -> str:
        """Why a loss is refused, empty where somebody consented; a changed value is no loss by consent."""
        allowed = self._consent.allows_loss(table)
        if changed and column:
            allowed = allowed or self._consent.allows_changes(table, column)
        return "" if allowed else LOSS

    def _amount(self, table: str, column: str) -> str:
        return AMOUNT if self._consent.guards_amount(table, column) else ""

    def _refusal(self, number: int) -> str:
        refused = self._guards.findings[number].refused
        return f"'{refused}'" if refused else "NULL"

    def _not_own(self, table: Stored) -> str:
        """Write the condition that leaves out the rows that this run's migrations have put in."""
        own = self._own.get(table.name.lower())
        if own is None:
            return ""
        if own.rows:
            return f" WHERE NOT {own.rows}"
        if own.count is not None:
            return f" WHERE (SELECT count(*) FROM {sql.quote_name(table.name)}) <> {own.count}"
        if own.low is None:
            return " WHERE 0"
        return (
            f" WHERE NOT ({table.rowid} > {own.low} AND {table.rowid} <= {own.high})" if table.rowid else ""
        )

    def _copy(self, table: Stored, copy: str, compared: Collection[str], rowid: Sequence[str]) -> None:
        """Copy a table's rows before the migration, without types: every value stays as it is stored."""
        self._copies.append(copy)
        chosen = [(f"c{i}", column) for i, column in enumerate(table.columns) if column in compared]
        named = ", ".join([*(["rowid"] if rowid else []), *(name for name, _ in chosen)])
        selected = ", ".join([*rowid, *(sql.quote_name(column) for _, column in chosen)])
        columns = ", ".join(name for name, _ in chosen) or "none"
        self._guards.opening.append(f"CREATE TABLE {copy} ({columns})")
        self._guards.opening.append(
            f"INSERT INTO {copy} ({named}) SELECT {selected} FROM {sql.quote_name(table.name)}"
            + self._not_own(table)
        )

    def _by_key(self, fate: Fate, copy: str, homes: Sequence[Home]) -> None:
        """Look for each row of the copy by its key, and compare the values of its columns."""
        table = fate.table
        place = {column: f"b.c{i}" for i, column in enumerate(table.columns)}
        place[table.rowid] = "b.rowid"
        source = f"{copy} AS b"
        conditions: list[str] = []
        # The + lets a key that has another type now be found.
        for number, home in enumerate(homes):
            matched = " AND ".join(
                f"h{number}.{sql.quote_name(now)} IS +{place[was]}" for was, now in home.key
            )
            if home.rowids:
                known = " AND ".join(f"{place[was]} IS NOT NULL" for was, _ in home.key)
                matched += f" AND ({known} OR h{number}.{home.rowids[1]} IS {place[home.rowids[0]]})"
            source += f" LEFT JOIN {sql.quote_name(home.table)} AS h{number} ON {matched}"
            conditions.append(f"h{number}.{sql.quote_name(home.marker)} IS NOT NULL")
        gone = " AND ".join(f"NOT {found}" for found in conditions) or "1"
        counts: list[tuple[int, str]] = [
            (
                self._finding(table.name, "", GONE, self._loss(table.name), cascading=fate.cascading),
                f"sum({gone})",
            )
        ]
        for number, home in enumerate(homes):
            here = " AND ".join([conditions[number], *(f"NOT {found}" for found in conditions[:number])])
            for column in table.columns:
                counts += self._column(fate, home, column, place[column], f"h{number}", here)
        if len(homes) == 1 and homes[0].columns.keys() == set(table.columns):
            # Most rows are as they were: they need not be looked at column by column.
            compared = [column for column in table.columns if column in _compared(fate)]
            alike = [
                f"({place[column]} IS {now} COLLATE BINARY AND typeof({place[column]}) = typeof({now}))"
                for column in compared
                for now in [f"h0.{sql.quote_name(homes[0].columns[column])}"]
            ]
            source += f" WHERE NOT ({all_hold([*conditions, *alike])})"
        self._record(counts, source)

    def _column(
        self, fate: Fate, home: Home, column: str, was: str, alias: str, here: str
    ) -> list[tuple[int, str]]:
        """Count the values of a column that are not what they were, by what brought that about."""
        name, now_name = fate.table.name, home.columns.get(column)

        def count(what: str, condition: str, refused: str, *, cascading: bool = False) -> tuple[int, str]:
            number = self._finding(name, column, what, refused, cascading=cascading)
            return number, f"sum({here} AND {condition})"

        if now_name is None:
            if home.same:
                return []  # ALTER TABLE dropped it, which is told by itself.
            lost = [
                f"sum({here} AND {was} IS NOT NULL AND NOT {same(was, f'{alias}.{sql.quote_name(other)}')})"
                for other in home.others[:_CANDIDATES]
            ] or [f"sum({here} AND {was} IS NOT NULL)"]
            number = self._finding(name, column, EMPTIED, self._loss(name))
            return [(number, lost[0] if len(lost) == 1 else f"min({', '.join(lost)})")]
        now = f"{alias}.{sql.quote_name(now_name)}"
        differs = f"NOT {same(was, now)}"
        emptied = f"{was} IS NOT NULL AND {now} IS NULL"
        changed = f"{was} IS NOT NULL AND {now} IS NOT NULL AND {differs}"
        filled = f"{was} IS NULL AND {now} IS NOT NULL"
        told = self._amount(name, column)
        if column in fate.updated:
            return [count(CHANGED, differs, told)]
        if not home.same or (fate.rewritten and not fate.replaced):
            return [
                count(EMPTIED, emptied, self._loss(name)),
                count(CHANGED, changed, self._loss(name, column, changed=True)),
                count(FILLED, filled, told),
            ]
        if fate.replaced:
            return [
                count(EMPTIED, emptied, self._loss(name)),
                count(CHANGED, f"{now} IS NOT NULL AND {differs}", told),
            ]
        if not fate.cascading:
            return []
        actions = {
            action
            for reference in fate.table.references
            if reference.column == column
            for action in reference.actions
        }
        if not actions:
            return []
        defaulted = self._loss(name, column, changed=True) if "SET DEFAULT" in actions else told
        return [
            count(EMPTIED, emptied, self._loss(name), cascading=True),
            count(CHANGED, f"{now} IS NOT NULL AND {differs}", defaulted, cascading=True),
        ]

    def _by_content(self, fate: Fate, copy: str) -> None:
        """Compare rows as a whole where no key was kept: none of the copy may be missing afterwards."""
        table, homes = fate.table, fate.homes[:4]
        kept = [
            (i, column)
            for i, column in enumerate(table.columns)
            if column not in fate.updated and all(column in home.columns for home in homes)
        ][:_GROUPED]
        counts = []
        if kept:
            names = ", ".join(f"c{i}" for i, _ in kept)
            parts = [f"SELECT 1 AS w, {names} FROM {copy}"]
            for home in homes:
                present = ", ".join(sql.quote_name(home.columns[column]) for _, column in kept)
                parts.append(f"SELECT -1, {present} FROM {sql.quote_name(home.table)}")
            grouped = (
                f"SELECT sum(w) AS d FROM ({' UNION ALL '.join(parts)}) GROUP BY {names} HAVING sum(w) > 0"
            )
            number = self._finding(table.name, "", DIFFERENT, self._loss(table.name))
            counts.append((number, f"(SELECT sum(d) FROM ({grouped}))"))
        else:
            rows = " + ".join(f"(SELECT count(*) FROM {sql.quote_name(home.table)})" for home in homes)
            number = self._finding(table.name, "", GONE, self._loss(table.name))
            counts.append((number, f"count(*) - ({rows})"))
        for i, column in enumerate(table.columns):
            if all(column not in home.columns for home in homes):
                number = self._finding(table.name, column, EMPTIED, self._loss(table.name))
                counts.append((number, f"count(b.c{i})"))
        self._record(counts, f"{copy} AS b")

    def _count_made(self, home: Home, allowed: frozenset[str], copy: str) -> None:
        """Count the rows of a table that was made anew: there may be no more than there were."""
        if home.table in self._full:
            return
        self._full.add(home.table)
        for name in sorted(allowed):
            self._count_before(name)
        listed = ", ".join(map(sql.quote_text, sorted(allowed)))
        was = f"(SELECT sum(number) FROM {_COUNTS} WHERE name IN ({listed}))"
        number = self._finding(home.table, "", TOO_MANY, self._loss(home.table))
        now = f"(SELECT count(*) FROM {sql.quote_name(home.table)})"
        anybodys = f"EXISTS (SELECT 1 FROM {copy})"  # Not only rows of this run's migrations.
        self._record([(number, f"CASE WHEN {anybodys} THEN {now} - {was} END")], "(SELECT 1)")

    def _count_before(self, name: str) -> None:
        if name not in self._counted:
            self._counted.add(name)
            self._guards.opening.append(
                f"INSERT INTO {_COUNTS} SELECT {sql.quote_text(name)}, count(*) FROM {sql.quote_name(name)}"
            )

    def _record(self, counts: Sequence[tuple[int, str]], source: str, into: list[str] | None = None) -> None:
        """Write the statements that note what was counted, where it is anything; `into` other statements."""
        for chunk in chunks(counts):
            marks = json.dumps([[n, self._guards.findings[n].refused or None] for n, _ in chunk])
            numbers = f"(SELECT json_array({', '.join(text for _, text in chunk)}) FROM {source})"
            (self._guards.closing if into is None else into).append(
                f"INSERT INTO {_FOUND} SELECT json_extract(m.value, '$[0]'), n.value,"
                f" json_extract(m.value, '$[1]') FROM json_each({numbers}) AS n"
                f" JOIN json_each({sql.quote_text(marks)}) AS m ON m.key = n.key WHERE n.value > 0"
            )


def _compared(fate: Fate) -> set[str]:
    """Give the columns of a table that have to be compared: all, where rows were written anew."""
    table = fate.table
    if (
        fate.replaced
        or fate.rewritten
        or not fate.homes
        or not all(home.same and home.key for home in fate.homes)
    ):
        return set(table.columns)
    key = {was for home in fate.homes for was, _ in home.key}
    followed = {reference.column for reference in table.references} if fate.cascading else set()
    return (key | followed | fate.updated) & set(table.columns)
