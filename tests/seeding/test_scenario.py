"""Scenarios as files: where they are found, what they say, and how a mistake in one is reported."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from hoox_tasks.errors import Refused
from hoox_tasks.seeding import find_scenarios, generate, load_scenario
from tests.support import ROOT
from tests.support.programs import program

BUNDLED = ROOT / "fixtures"

MARKET = '[[markets]]\nsymbol = "BTCUSDT"\nprice = 100.5\nvolatility = 0.02\ntick = 0.5\nlot = 0.001\n'
EXCHANGE = '[[exchanges]]\nname = "bybit"\ntaker_fee = 0.00055\nmaker_fee = 0.0002\norder_id = "uuid"\n'
SMALL = f'description = "small"\n[signals]\nper_day = 3\n{MARKET}{EXCHANGE}'


def write(folder: Path, text: str, name: str = "mine") -> Path:
    file = folder / f"{name}.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Neither Faker nor the TOML reader nor a module of the generator comes with the package."""
    heavy = ["faker", "tomllib", "decimal", "random", "hoox_tasks.seeding.generator"]
    printed = subprocess.run(
        [*program("imported"), "hoox_tasks.seeding", *heavy],
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout == "\n"


def test_everything_announced_is_there() -> None:
    """Each name in `__all__` can be had, and no other."""
    import hoox_tasks.seeding as seeding

    assert all(getattr(seeding, name) is not None for name in seeding.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = seeding.nonsense


def test_the_bundled_scenarios_are_those_promised() -> None:
    """Every file in the repository's `fixtures/` is a scenario, and the six that are promised are there."""
    found = find_scenarios([BUNDLED])
    assert list(found) == ["busy", "demo", "edge", "initial", "liquidation", "quiet"]
    assert all(load_scenario(name, [BUNDLED]).description for name in found)


def test_a_users_own_scenario_comes_first(tmp_path: Path) -> None:
    """A user's folder adds scenarios, and its `demo` hides the bundled one."""
    mine, demo = write(tmp_path, SMALL), write(tmp_path, SMALL, "demo")
    found = find_scenarios([tmp_path, tmp_path / "missing", BUNDLED])
    assert found["mine"] == mine
    assert found["demo"] == demo
    assert found["quiet"] == BUNDLED / "quiet.toml"
    assert load_scenario("demo", [tmp_path, BUNDLED]).description == "small"


def test_a_scenario_keeps_its_numbers_as_written(tmp_path: Path) -> None:
    """Numbers are decimal, defaults are filled in, and a time without a zone is UTC."""
    write(tmp_path, "start = 2026-03-01T12:00:00\n" + SMALL)
    scenario = load_scenario("mine", [tmp_path])
    assert scenario.exchanges[0].taker_fee == Decimal("0.00055")
    assert scenario.markets[0].price == Decimal("100.5")
    assert scenario.start == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (scenario.name, scenario.days, scenario.account.asset) == ("mine", Decimal(1), "USDT")
    assert sum(len(batch.rows) for batch in generate(scenario) if batch.table == "trade_signals") == 3


def test_an_unknown_name_lists_what_there_is_nearest_first() -> None:
    """A typing error is answered with the names, the one that was probably meant first."""
    with pytest.raises(Refused) as refused:
        load_scenario("liqidation", [BUNDLED])
    assert refused.value.problem == "There is no scenario 'liqidation'."
    assert refused.value.remedy.startswith("Did you mean liquidation? Choose one of: liquidation, ")
    assert all(name in refused.value.remedy for name in find_scenarios([BUNDLED]))


def test_no_scenarios_at_all_names_the_folders(tmp_path: Path) -> None:
    """Where there is nothing to choose from, the message says where a file would go."""
    with pytest.raises(Refused, match=f"Put demo.toml into one of: {tmp_path}"):
        load_scenario("demo", [tmp_path])


@pytest.mark.parametrize(
    ("old", "new", "problem", "remedy"),
    [
        ('"small"', "7", "description is 7.", "Give a text that is not empty."),
        ('description = "small"', "", "description is missing.", "Give a text that is not empty."),
        (
            "per_day = 3",
            "per_dya = 3",
            "signals.per_dya is not a key",
            "Did you mean per_day? Allowed:",
        ),
        ("per_day = 3", "per_day = -3", "signals.per_day is -3.", "Give a number from 0 to 86400."),
        ("per_day = 3", "per_day = nan", "signals.per_day is NaN.", "Give a number from 0 to 86400."),
        ("per_day = 3", "per_day = true", "signals.per_day is True.", "Give a number from 0 to 86400."),
        ("per_day = 3", "per_day = 3\nburst = 1.5", "signals.burst is 1.5.", "Give a whole number from 1"),
        ("per_day = 3", "per_day = 3\nsources = []", "signals.sources is [].", "Give a list of at least one"),
        ("per_day = 3", "per_day = 3\nlong = 1.1", "signals.long is 1.1.", "Give a number from 0 to 1."),
        ("[signals]", "start = 5\n[signals]", "start is 5.", "Give a date and time"),
        ("[signals]", "start = 1969-01-01\n[signals]", "start is 1969-01-01.", "from 1970 to 2089."),
        ("[signals]\nper_day = 3", "signals = 3", "signals is 3.", "Give a table, [signals]."),
        (
            "[signals]",
            "[colour]\n[signals]",
            "colour is not a key that a scenario has.",
            "Allowed: description,",
        ),
        ("[[markets]]", "[markets]", "markets is {", "Give tables, [[markets]]."),
        (MARKET, "", "markets is missing.", "Signals need at least one [[markets]]."),
        (EXCHANGE, "", "exchanges is missing.", "Signals need at least one [[exchanges]]."),
        (EXCHANGE, EXCHANGE * 2, "exchanges has 'bybit' twice.", "Give each its own name."),
        ("lot = 0.001", "", "markets[1].lot is missing.", "Give a number from 0.00000001"),
        ("price = 100.5", "price = 100.3", "markets[1].price is 100.3.", "Give a multiple of the tick, 0.5."),
        ("lot = 0.001", "lot = 0.00000001", "markets[1].lot is 1E-8.", "must be a multiple of 0.00000001."),
        ("tick = 0.5", "tick = 0", "markets[1].tick is 0.", "Give a number from 0.00000001"),
        ('"uuid"', '"guid"', "exchanges[1].order_id is 'guid'.", "one of: uuid, sequence, snowflake."),
        ("0.00055", "0.05", "exchanges[1].taker_fee is more than half of", "Give at most 0.0025 as a fee"),
        (
            "[signals]",
            "[account]\nleverage = 0\n[signals]",
            "account.leverage is 0.",
            "whole number from",
        ),
        (
            "[signals]",
            "[account]\nmaintenance = 0.2\n[signals]",
            "account.maintenance is 0.2.",
            "Give less than 1 / leverage, which is 1/5.",
        ),
        (
            "[signals]",
            "[orders]\nfailed = 0.6\ntest = 0.6\n[signals]",
            "orders.failed is 0.6.",
            "it can be at most 1.",
        ),
        (
            "[signals]",
            "[account]\nequity = 0.01\n[signals]",
            "account.equity is 0.01, too little for one lot of BTCUSDT on bybit.",
            "Give at least 0.21, or a larger orders.size or account.leverage.",
        ),
        (
            "[signals]",
            '[desk]\nstyles = ["trend", "gut"]\n[signals]',
            "desk.styles is ['trend', 'gut'].",
            "Give some of: trend, breakout, reversion.",
        ),
        (
            EXCHANGE,
            EXCHANGE + "lots = { ETHUSDT = 0.01 }\n",
            "exchanges[1].lots has 'ETHUSDT', which is no market here.",
            "Give some of: BTCUSDT.",
        ),
        (
            EXCHANGE,
            EXCHANGE + "lots = { BTCUSDT = 0.00000001 }\n",
            "exchanges[1].lots.BTCUSDT is 1E-8.",
            "tick times lot must be a multiple of 0.00000001.",
        ),
        (
            EXCHANGE,
            EXCHANGE + '[[transfers]]\nexchange = "mexc"\namount = 5\n',
            "transfers[1].exchange is 'mexc', no exchange here.",
            "Give one of: bybit.",
        ),
        (
            EXCHANGE,
            EXCHANGE + '[[transfers]]\nexchange = "bybit"\namount = 0\n',
            "transfers[1].amount is 0.",
            "Give an amount other than 0",
        ),
        ("per_day = 3", "per_day = ", "is not TOML: Invalid value (at line 3", "Correct that line."),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, problem: str, remedy: str
) -> None:
    """Each way to get a scenario wrong is refused, with the place and the way out."""
    assert old in SMALL
    file = write(tmp_path, SMALL.replace(old, new))
    with pytest.raises(Refused) as refused:
        load_scenario("mine", [tmp_path])
    assert refused.value.problem.startswith(str(file))
    assert problem in refused.value.problem
    assert remedy in refused.value.remedy


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are a mistake in the file, not a traceback."""
    (tmp_path / "mine.toml").write_bytes(b'description = "\xff"')
    with pytest.raises(Refused, match=r"mine\.toml cannot be read"):
        load_scenario("mine", [tmp_path])
