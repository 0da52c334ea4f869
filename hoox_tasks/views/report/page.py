"""The page of a report: one HTML file with everything in it.

Every figure stands in a `data` element whose `value` is the number itself, so that programs read what
people see.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from hoox_tasks.config.moments import write_moment
from hoox_tasks.views.report import charts
from hoox_tasks.views.report.figures import DAY, Figures

if TYPE_CHECKING:
    from markupsafe import Markup

_MINUS = "\N{MINUS SIGN}"


def write_page(figures: Figures, *, written: datetime | None = None) -> str:
    """Write a report as HTML; `written` is the time it tells, now where it is left out."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hoox_tasks.views.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        money=_data(money),
        change=_data(lambda value: ("+" if value > 0 else "") + money(value)),
        price=_data(price),
        count=_data(lambda value: f"{value:,.0f}"),
        percent=_data(lambda value: f"{signed(100 * value, 2)}%"),
        points=_data(lambda value: signed(value, 2)),
        moment=moment,
    )
    return environment.get_template("page.html").render(
        figures=figures,
        pictures=_pictures(figures),
        bucket=_bucket_name(figures.step),
        log_bucket=_bucket_name(figures.log_step),
        amount=figures.unit or "quote currency",
        written=written or datetime.now(UTC),
    )


def _pictures(figures: Figures) -> dict[str, Markup]:
    from markupsafe import Markup

    unit, step = figures.unit, figures.step
    drawn: dict[str, str] = {}
    if figures.curves:
        drawn["equity"] = charts.equity(figures.curves)
        drawn["drawdown"] = charts.drawdown(figures.curves)
    if figures.periods:
        drawn["realized"] = charts.realized(figures.periods, step, unit)
        drawn["symbols"] = charts.symbols(figures.symbols, unit)
        drawn["fees"] = charts.fees(figures.periods, step, unit)
    if figures.exposures:
        drawn["exposure"] = charts.exposure(figures.exposures, unit)
    if figures.log_periods:
        drawn["errors"] = charts.errors(figures.log_periods, figures.log_step)
    return {name: Markup(svg) for name, svg in drawn.items()}


def _bucket_name(step: int) -> str:
    for seconds, unit in ((DAY, "day"), (3_600, "hour"), (60, "minute")):
        if step >= seconds:
            return unit if step == seconds else f"{step // seconds} {unit}s"
    return f"{step} seconds"


def _data(write: Callable[[float], str]) -> Callable[[float | None], Markup]:
    """Make a filter that writes a number for people, and beside it for programs."""

    def mark(value: float | None) -> Markup:
        from markupsafe import Markup

        if value is None:
            return Markup('<span class="none">none</span>')
        text = write(value) if math.isfinite(value) else ("∞" if value > 0 else f"{_MINUS}∞")
        sign = " class=negative" if value < 0 else ""
        return Markup("<data value='{}'{}>{}</data>").format(repr(value), Markup(sign), text)

    return mark


def signed(value: float, decimals: int) -> str:
    """Write a number with thousands' separators, and a real minus where it is below zero."""
    text = f"{abs(value):,.{decimals}f}"
    return f"{_MINUS}{text}" if value < 0 and text.strip("0.,") else text


def money(value: float) -> str:
    """Write an amount to the cent; one of less than a cent to eight places."""
    small = 0.000000005 <= abs(value) < 0.005
    return signed(value, 8).rstrip("0") if small else signed(value, 2)


def price(value: float) -> str:
    """Write a price or a size in full, to eight significant digits and without an exponent."""
    text = f"{Decimal(f'{abs(value):.8g}'):,f}"
    return f"{_MINUS}{text}" if value < 0 else text


def moment(seconds: int | None) -> str:
    """Write a time in UTC, as everywhere in the tool."""
    return "" if seconds is None else write_moment(datetime.fromtimestamp(seconds, UTC))
