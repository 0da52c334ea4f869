"""`inv db.info`: a ledger at a glance, and the exit code that cron goes by."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hoox_tasks.config.moments import parse_span
from hoox_tasks.errors import Refused
from tests.support.in_process import QuickWorkspace


def test_a_ledger_at_a_glance(quick_seeded: QuickWorkspace) -> None:
    """Its home, size, rows and schema agree with what is there, and nothing is written."""
    before = quick_seeded.files()
    found = quick_seeded.ok("db.info", "--json").json
    assert quick_seeded.files() == before
    assert found["address"] == str(quick_seeded.ledger)
    assert found["engine"] == "SQLite"
    assert found["bytes"] == quick_seeded.ledger.stat().st_size
    tables = {table["name"]: table["rows"] for table in found["tables"]}
    assert tables["trades"] == quick_seeded.sql("SELECT count(*) FROM trades")[0][0]
    assert found["rows"] == sum(tables.values())
    assert (found["version"], found["pending"]) == ("0002_runbook_columns.sql", [])
    assert (found["differences"], found["backup"], found["recovery_point"]) == (0, None, None)


def test_what_is_off_is_told(quick: QuickWorkspace) -> None:
    """A pending migration, a table that no migration made, and the last recovery point are named."""
    quick.migration("0001_t.sql", "CREATE TABLE t (a);")
    quick.ok("db.apply")
    quick.ok("db.query", "INSERT INTO t VALUES (1)", "--write")
    quick.migration("0002_u.sql", "CREATE TABLE u (a);")
    quick.sql("CREATE TABLE other (a)")
    shown = re.sub(" +", " ", quick.ok("db.info").out)
    assert "\npending 0002_u.sql\n" in shown
    assert "1 difference: `inv db.check` lists them" in shown
    assert " UTC, before db.query --write\n" in shown
    assert "rows 1 in 2 tables\n" in shown


def test_an_empty_ledger_has_no_drift(quick: QuickWorkspace) -> None:
    """Where nothing was applied yet, all is pending and nothing differs."""
    quick.ledger.parent.mkdir()
    quick.ledger.touch()
    found = quick.ok("db.info", "--json").json
    assert (len(found["pending"]), found["differences"], found["version"]) == (2, 0, "")


def test_the_age_of_the_last_backup_is_cron_s_exit_code(quick_seeded: QuickWorkspace) -> None:
    """Without a backup, with an old or a spoilt one it is 1 and a sentence; with a young one it is 0."""
    age = ("db.info", "--max-backup-age", "24h")
    assert "There is no verified backup of .hoox/local.sqlite." in quick_seeded.inv(*age, code=1).err
    path = Path(quick_seeded.ok("db.export", "--json").json["path"])
    assert "verified: " in quick_seeded.ok(*age).out
    manifest = path.with_name(f"{path.name}.json")
    content = json.loads(manifest.read_text())
    for shift, says in (
        (timedelta(hours=25), "is 1 d old, which is more than 24h."),
        (-timedelta(hours=2), "which is to come."),
    ):
        taken = datetime.now(UTC) - shift
        manifest.write_text(json.dumps(content | {"created_at": taken.isoformat(timespec="milliseconds")}))
        assert says in quick_seeded.inv(*age, code=1).err
    manifest.write_text(json.dumps(content))
    text = path.read_text()
    path.write_text(text.replace("BTCUSDT", "BTCUSDC", 1))
    assert "There is no verified backup" in quick_seeded.inv(*age, code=1).err


@pytest.mark.parametrize("text", ["", "24", "0h", "1y", "-1h", "1.5h", "٣h", "h", "9999999h"])
def test_a_length_of_time_is_a_number_and_a_unit(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(Refused, match="no length of time"):
        parse_span(text)


def test_lengths_of_time() -> None:
    """Minutes, hours, days and weeks."""
    spans = [parse_span(text) for text in ("90min", "24h", "7d", "2w")]
    assert [span.total_seconds() for span in spans] == [5400, 86_400, 604_800, 1_209_600]
