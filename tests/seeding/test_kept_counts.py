"""The counts of scenarios that need not be played to be counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoox_tasks.config.settings import bundled
from hoox_tasks.seeding import kept_counts
from hoox_tasks.seeding.generator import counts
from hoox_tasks.seeding.scenario import find_scenarios, load_scenario

FOLDER = bundled("fixtures")


@pytest.mark.parametrize("name", find_scenarios([FOLDER]))
def test_kept_counts_are_the_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of a scenario is what it makes, and it is not played for that."""
    counted = counts(load_scenario(name, [FOLDER]))
    monkeypatch.setattr("hoox_tasks.seeding.generator.counts", lambda scenario: {})
    assert kept_counts.counts_of(name, [FOLDER]) == counted


@pytest.mark.parametrize("kept", ["", "[]", '{"x": 1}', "{", None])
def test_a_scenario_that_was_changed_is_counted(tmp_path: Path, kept: str | None) -> None:
    """A count of another version of the file, a broken one or none is never shown."""
    text = (FOLDER / "quiet.toml").read_text()
    (tmp_path / "quiet.toml").write_text(text.replace("per_day = 12", "per_day = 15"))
    (tmp_path / kept_counts.NAME).write_text(
        (FOLDER / kept_counts.NAME).read_text() if kept is None else kept
    )
    changed = load_scenario("quiet", [tmp_path])
    assert counts(changed) != counts(load_scenario("quiet", [FOLDER]))
    assert kept_counts.counts_of("quiet", [tmp_path]) == counts(changed)
