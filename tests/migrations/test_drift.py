"""When two definitions are one."""

from __future__ import annotations

import pytest

from hoox_tasks.migrations.drift import normal_definition


@pytest.mark.parametrize(
    ("definition", "other", "same"),
    [
        ('c TEXT DEFAULT "USD"', 'c TEXT DEFAULT "usd"', False),
        ('c TEXT DEFAULT "USD"', "c TEXT DEFAULT 'USD'", True),
        ("c TEXT DEFAULT 'USD'", "c TEXT DEFAULT 'usd'", False),
        ('"C" TEXT default "USD"', 'c text DEFAULT /* of old */ "USD"', True),
    ],
)
def test_a_default_is_a_text_also_in_the_quotes_of_names(definition: str, other: str, same: bool) -> None:
    """The capitals of a default count, as SQLite takes it; those of names and words do not."""
    definitions = [normal_definition(f"CREATE TABLE t ({columns})") for columns in (definition, other)]
    assert (definitions[0] == definitions[1]) is same
