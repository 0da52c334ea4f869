"""A dump holds the whole ledger, to the bit."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.sqlite_files import contents, dumped, load_with_shell, opened
from tests.strategies import MadeLedger, examples, ledgers


@examples(80)
@given(ledgers(), st.booleans())
def test_any_ledger_survives_a_dump(ledger: MadeLedger, foreign_keys: bool) -> None:
    """Whatever a ledger holds, the sqlite3 shell makes the same of its dump, cell by cell and bit by bit."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "a.sqlite"), Path(folder, "b.sqlite")
        with opened(source) as connection:
            ledger.build(connection)
        load_with_shell(dumped(source), target, foreign_keys=foreign_keys)
        assert contents(source) == contents(target)
