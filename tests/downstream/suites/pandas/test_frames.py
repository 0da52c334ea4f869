"""Frames of pandas from the ledger, and back into it."""

import pandas
import pytest


@pytest.mark.hoox(scenario="demo")
def test_a_frame_of_trades(hoox_db, hoox_queries) -> None:
    """A frame holds what the ledger does, by one statement."""
    with hoox_queries(1):
        frame = pandas.read_sql_query("SELECT symbol, price FROM trades", hoox_db.conn)
    assert len(frame) == hoox_db["trades"].count


def test_cells_of_numpy_are_understood(hoox_db) -> None:
    """What sqlite-utils knows of numpy and pandas it knows here."""
    frame = pandas.DataFrame(
        {"a": [1, 2], "b": [0.5, 1.5], "at": pandas.to_datetime(["2026-01-01", "2026-01-02"])}
    )
    hoox_db["frames"].create({"a": frame["a"].dtype.type, "b": frame["b"].dtype.type, "at": pandas.Timestamp})
    assert hoox_db["frames"].columns_dict == {"a": int, "b": float, "at": str}
