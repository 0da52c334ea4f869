"""Three hundred tests in an order, and with seeds, that are drawn anew."""

from pathlib import Path

import pytest


@pytest.mark.parametrize("number", range(300))
def test_one(hoox_db, number) -> None:
    """Each has a ledger."""
    assert hoox_db["trades"].count > 0


def test_templates_are_few(hoox_db, pytestconfig) -> None:
    """The cache holds some ledgers, not one for each test."""
    folder = Path(pytestconfig.cache.mkdir("hoox"))
    assert 0 < len(list(folder.glob("*.sqlite"))) <= 8
