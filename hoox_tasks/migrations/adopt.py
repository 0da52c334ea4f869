"""A ledger that has tables and no history, taken over: what of its migrations is there already?

It was made by hand, by the workers, or by another tool. Every migration is compared with what is there: the
objects it makes, and the rows. One whose objects are there is recorded and not run; one that is not there is
applied; where rows leave it open, nothing is done, as running it again could double them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise

from hoox_tasks import sql
from hoox_tasks.database.empty_ledger import EmptyLedger
from hoox_tasks.database.interface import SchemaObject
from hoox_tasks.errors import HooxError, Refused
from hoox_tasks.migrations import repair
from hoox_tasks.migrations.apply import try_on
from hoox_tasks.migrations.drift import normal_definition
from hoox_tasks.migrations.files import Migration
from hoox_tasks.migrations.history import history_tables, mark_command, own_tables
from hoox_tasks.migrations.lineage import Lineage
from hoox_tasks.migrations.model import Fact, Made, Model, definitions, facts, told
from hoox_tasks.migrations.seeds import Ask, Found, Seeds
from hoox_tasks.suggestions import option

_DEFINED = frozenset({"index", "view", "trigger"})
"""What is one thing only with one definition; a table may be written in many ways, and grows."""


class Verdict(Enum):
    """What is to be done with a migration of a ledger without history."""

    RECORD = "record"
    APPLY = "apply"
    OPEN = "cannot be told"
    PARTLY = "there in part"


@dataclass(frozen=True, slots=True)
class Step:
    """One migration of the plan: what is done with it, and why.

    `lacking` are the facts that it makes and that are not there, or are something else under their name.
    `repair` says how a ledger gets them. `unseeded` says that its objects are there, and not all its rows.
    """

    migration: Migration
    verdict: Verdict
    reason: str
    lacking: frozenset[Fact] = frozenset()
    repair: str = ""
    unseeded: bool = False

    def __str__(self) -> str:
        """In one line, such as `record 0001_init.sql: what it makes is there`."""
        return f"{self.migration.name}: {self.verdict.value}, {self.reason}"


@dataclass(frozen=True, slots=True)
class Adoption:
    """The plan for a ledger without history: a step for every migration, in order."""

    steps: tuple[Step, ...]
    label: str

    def named(self, *verdicts: Verdict) -> list[Migration]:
        """Give the migrations with one of these verdicts."""
        return [step.migration for step in self.steps if step.verdict in verdicts]

    def until(self, last: Migration | None) -> Adoption:
        """Give the plan up to a migration; None: all of it."""
        if last is None:
            return self
        names = [step.migration.name for step in self.steps]
        return replace(self, steps=self.steps[: names.index(last.name) + 1])

    @property
    def leading(self) -> list[Migration]:
        """The first migrations, as far as they are there."""
        return _leading(self.steps)

    @property
    def lines(self) -> list[str]:
        """The plan, a line for each migration."""
        return [f"  {step}" for step in self.steps]

    def refuse_doubts(self) -> None:
        """Raise `Refused` where it cannot be told of a migration whether it is there; names the way on."""
        doubtful = [step for step in self.steps if step.verdict in {Verdict.OPEN, Verdict.PARTLY}]
        if not doubtful:
            return
        raise Refused(
            f"{self.label} has tables and no history, and of {doubtful[0].migration.name} it cannot be told"
            " whether it ran, so nothing was done.",
            self._way_on(doubtful[0]),
            detail="\n".join(self.lines),
        )

    def _way_on(self, step: Step) -> str:
        name = step.migration.name
        if step.lacking and step.verdict is Verdict.PARTLY:
            return step.repair
        before = self.steps[: self.steps.index(step)]
        leading = _leading(before)
        last = option("to", leading[-1].name if leading else "0")
        if len(leading) < len(before):
            previous = option("to", before[-1].migration.name)
            reason = "" if step.unseeded or step.verdict is Verdict.PARTLY else f"If {name} ran, "
            record = f"{reason}record {'it' if reason else name} then with `{mark_command(name)}`."
            return (
                f"Take over what is there with `inv db.migrate.adopt {last}`, then apply what comes before"
                f" it with `inv db.migrate {previous}`. {record[:1].upper()}{record[1:]}"
                " Then go on with `inv db.migrate`."
            )
        if step.unseeded:
            return (
                f"Take the ledger over with `inv db.migrate.adopt {option('to', name)}`; where those rows"
                " should be there, write them as a new migration. Then go on with `inv db.migrate`."
            )
        if step.verdict is Verdict.PARTLY:
            return (
                "Where the ledger is right as it is, take it over with"
                f" `inv db.migrate.adopt {option('to', name)}`, and compare it with `inv db.check`."
            )
        if step.lacking:
            return (
                f"If none of it ran, take the ledger over with `inv db.migrate.adopt {last}`, then go on with"
                f" `inv db.migrate`. If its rows were written: {step.repair}"
            )
        return (
            f"If it ran, take the ledger over with `inv db.migrate.adopt {option('to', name)}`;"
            f" if it did not, with `inv db.migrate.adopt {last}`. Then go on with `inv db.migrate`."
        )

    def taken_over(self, to: Migration | None) -> list[Migration]:
        """Give what is recorded where somebody takes the ledger over up to `to`.

        Without it, those are the first ones that are there. Raises `Refused` where what one of them makes is
        not there.
        """
        if to is None:
            self.refuse_doubts()
            return _leading(self.steps)
        chosen = self.until(to).steps
        absent = [step for step in chosen if step.lacking]
        if absent:
            step = absent[0]
            before = chosen[chosen.index(step) - 1].migration.name if step is not chosen[0] else "0"
            raise Refused(
                f"{step.migration.name} makes {told(step.lacking)}, which {self.label} does not have.",
                step.repair
                if step.repair
                else f"Take the ledger over with `inv db.migrate.adopt {option('to', before)}`, then apply it"
                " with `inv db.migrate`.",
                detail="\n".join(self.lines),
            )
        return [step.migration for step in chosen]


def _leading(steps: Iterable[Step]) -> list[Migration]:
    leading = []
    for step in steps:
        if step.verdict is not Verdict.RECORD:
            break
        leading.append(step.migration)
    return leading


def compare(
    files: Sequence[Migration],
    schema: Sequence[SchemaObject],
    ask: Ask,
    label: str,
    *,
    table: str,
    strict: bool,
) -> Adoption:
    """Compare every migration with a ledger that has `schema` and no history.

    `ask` asks the ledger, `label` names it.
    """
    own = {name.lower() for name in own_tables(table)}
    with (
        closing(Model(table, strict=strict, base=schema)) as model,
        closing(EmptyLedger(schema, strict=strict)) as actual,
    ):
        seeds, made = Seeds(model.ledger), []
        for migration in files:
            made.append(model.run(migration))
            seeds.note(made[-1].filled)
        here = facts(actual, own)
        there = _found(made, here, definitions(schema))
        tables = {fact[1] for fact in here if fact[0] == "table"}
        touched = sorted(tables & set().union(*(each.touched for each in made)))
        holding = ask([f"SELECT EXISTS (SELECT 1 FROM {sql.quote_name(name)})" for name in touched])
        full = {name for name, holds in zip(touched, holding, strict=True) if holds}
        emptied = {name for name in tables - full if model.holds_rows(name)}
        columns = {
            name: [fact[2] for fact in here if fact[0] == "column" and fact[1] == name] for name in full
        }
        rows = seeds.compare(columns, ask)
        actual.run(history_tables(table))
        seen = _Seen(actual, own, here, full, emptied, strict, schema, ask)
        last = max((place for place, found in enumerate(there) if found is True), default=-1)
        return Adoption(
            tuple(
                seen.step(each, found, seeded, behind=place < last)
                for place, (each, found, seeded) in enumerate(zip(made, there, rows, strict=True))
            ),
            label,
        )


def _found(
    made: Sequence[Made], here: frozenset[Fact], present: dict[Fact, list[str]]
) -> list[bool | frozenset[Fact] | None]:
    """Say of each migration whether what it makes is there; in part: what is lacking; None: it tells nothing.

    What a later one takes away again, and is there itself, cannot be missed.
    """
    found: list[bool | frozenset[Fact] | None] = []
    removed: set[Fact] = set()
    restored: set[Fact] = set()
    later: dict[Fact, list[list[str]]] = {}
    for each in reversed(made):
        needed, absent = each.made - removed, each.gone - restored
        lacking, staying = needed - here, absent & here
        others = {
            fact
            for fact in needed & here & each.statements.keys()
            if fact[0] in _DEFINED
            and present.get(fact) not in [normal_definition(each.statements[fact]), *later.get(fact, [])]
        }
        answer: bool | frozenset[Fact] | None
        if needed or absent:
            if not lacking and not staying and not others:
                # That something is not there says little where a definition tells more.
                answer = True if needed or not each.changed else _redefined(each, present, later)
            elif lacking == needed and staying == absent:
                answer = False
            else:
                answer = lacking | others
        elif each.made or each.gone:
            answer = True
        else:
            answer = _redefined(each, present, later)
        if answer is True:
            removed = (removed - each.made) | each.gone
            restored = (restored - each.gone) | each.made
        for fact, (_, now) in each.changed.items():
            later.setdefault(fact, []).append(now)
        found.append(answer)
    found.reverse()
    return _without_guesses(made, found)


def _without_guesses(
    made: Sequence[Made], found: list[bool | frozenset[Fact] | None]
) -> list[bool | frozenset[Fact] | None]:
    """Take back that a migration is there which removes what one before it is yet to make."""
    coming: set[Fact] = set()
    for place, each in enumerate(made):
        if found[place] is True and each.gone & coming:
            found[place] = False
        if found[place] is not True:
            coming |= each.made
    return found


def _redefined(
    each: Made, present: dict[Fact, list[str]], later: dict[Fact, list[list[str]]]
) -> bool | frozenset[Fact] | None:
    """Say whether the new definitions that a migration gives are those of the ledger."""
    if not each.changed:
        return None
    answers = set()
    for fact, (was, now) in each.changed.items():
        actual = present.get(fact)
        answers.add(True if actual in [now, *later.get(fact, [])] else False if actual == was else None)
    return answers.pop() if len(answers) == 1 else None


class _Seen:
    """Decides on one migration after the other, and runs what is to be applied on a copy of the schema."""

    def __init__(
        self,
        actual: EmptyLedger,
        own: set[str],
        here: frozenset[Fact],
        full: set[str],
        emptied: set[str],
        strict: bool,
        schema: Sequence[SchemaObject],
        ask: Ask,
    ) -> None:
        self._strict = strict
        self._schema = schema
        self._ask = ask
        self._actual = actual
        self._own = own
        self._here = here
        self._full = full
        self._emptied = emptied

    def step(
        self,
        each: Made,
        found: bool | frozenset[Fact] | None,
        seeded: Sequence[Found],
        *,
        behind: bool,
    ) -> Step:
        """Decide on a migration; `seeded` tells of its rows, `behind` that a later one is there."""
        migration = each.migration
        if found is True:
            lost = sorted(each.filled & self._emptied)
            if lost:
                reason = f"it puts rows into {', '.join(lost)}, which holds none"
                return Step(migration, Verdict.OPEN, reason, unseeded=True)
            absent = [rows for rows in seeded if rows.lacking]
            if absent:
                return Step(migration, Verdict.OPEN, ", ".join(map(str, absent)), unseeded=True)
            return Step(migration, Verdict.RECORD, "what it makes is there")
        if isinstance(found, frozenset):
            return self._completed(each, found)
        held = sorted(each.touched & self._full)
        if found is None and migration.refusal is None:
            if not each.touched and not each.unknown:
                return _recorded(migration) if behind else self._applied(each, "it makes nothing")
            if held:
                reason = f"it writes rows of {', '.join(held)}, which holds some"
                return Step(migration, Verdict.OPEN, reason)
            lacks = behind and any(("table", name) not in self._here for name in each.touched)
            if each.unknown or lacks or (behind and each.filled & self._emptied):
                return Step(migration, Verdict.OPEN, "nothing that is there tells it")
            if behind and not each.filled:
                return _recorded(migration)
        return self._applied(each, "it is not there")

    def _completed(self, each: Made, lacking: frozenset[Fact]) -> Step:
        """Decide on a migration that is there in part: it may make what is missing, and leave the rest."""
        migration = each.migration
        with closing(EmptyLedger(self._actual.schema(), strict=self._strict)) as copy:
            lineage = Lineage(copy, self._own)
            try:
                try_on(copy, migration, lineage)
            except HooxError:
                pass
            else:
                now, wanted = definitions(copy.schema()), each.statements
                missed = lacking - facts(copy, self._own)
                missed |= {
                    fact
                    for fact in lacking & self._here & wanted.keys()
                    if now.get(fact) != normal_definition(wanted[fact])
                }
                if not missed and not self._written(lineage, migration):
                    return self._applied(each, f"it makes what is missing: {told(lacking)}")
                if not missed and not _filled(lineage) & self._full:
                    return self._undecided(migration, lineage, lacking, each)
        reasons = []
        if lacking - self._here:
            reasons.append(f"of what it makes {told(lacking - self._here)} is missing")
        if lacking & self._here:
            reasons.append(f"{told(lacking & self._here)} is another one")
        reason = "; ".join(reasons) or "what it removes is there in part"
        return Step(migration, Verdict.PARTLY, reason, lacking, self._repair(each, lacking))

    def _repair(self, each: Made, lacking: frozenset[Fact]) -> str:
        """Say how the ledger gets what it lacks of a migration."""
        over = f"`inv db.migrate.adopt {option('to', each.migration.name)}`"
        return repair.advice(
            each,
            lacking,
            self._schema,
            self._ask,
            again="Then run this again.",
            by_hand=f"Then take the ledger over with {over}.",
        )

    def _applied(self, each: Made, reason: str) -> Step:
        """Decide to apply a migration, where it writes no rows of tables that hold some."""
        migration = each.migration
        lacking = each.made - self._here
        lineage = Lineage(self._actual, self._own)
        try:
            try_on(self._actual, migration, lineage)
        except HooxError:
            return Step(migration, Verdict.APPLY, reason, lacking)  # It is told when its turn comes.
        if self._written(lineage, migration):
            return self._undecided(migration, lineage, lacking, each)
        return Step(migration, Verdict.APPLY, reason, lacking)

    def _undecided(
        self, migration: Migration, lineage: Lineage, lacking: frozenset[Fact], each: Made
    ) -> Step:
        """Leave it to whoever knows whether a migration has written rows that are there."""
        filled, written = _filled(lineage) & self._full, self._written(lineage, migration)
        names = ", ".join(sorted(filled or written))
        what = "puts rows into" if filled else "changes rows of"
        reason = f"it {what} {names}, which holds some"
        way = self._repair(each, lacking) if lacking else ""
        return Step(migration, Verdict.OPEN, reason, lacking, way)

    def _written(self, lineage: Lineage, migration: Migration) -> set[str]:
        """Give the tables with rows to which a migration adds some, or of which it changes or removes some.

        Values of columns that it adds itself are none that anybody has.
        """
        return (_filled(lineage) | _changed(lineage, migration)) & self._full


def _filled(lineage: Lineage) -> set[str]:
    return {stored.name.lower() for stored, _ in lineage.filled}


def _changed(lineage: Lineage, migration: Migration) -> set[str]:
    """Give the tables that stay, and of whose rows a migration changes or removes some."""
    deletes = any(_deletes(piece.sql) for piece in migration.pieces)
    found = set()
    for fate in lineage.fates():
        if not fate.homes or not fate.homes[0].same or fate.table.virtual:
            continue
        home = fate.homes[0]
        if home.table not in lineage.touched_names:
            continue
        if fate.updated or fate.replaced or fate.rewritten or deletes or not home.others:
            found.add(fate.table.name.lower())
    return found


def _deletes(statement: str) -> bool:
    words = [token.text.upper() for token in sql.tokens(statement)]
    return ("DELETE", "FROM") in pairwise(words) and not sql.is_trigger(statement)


def _recorded(migration: Migration) -> Step:
    return Step(migration, Verdict.RECORD, "it would change nothing")
