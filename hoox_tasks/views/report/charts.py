"""The pictures of a report, drawn by matplotlib as SVG that takes its colours from the page around it.

Colours are drawn as stand-ins and then named after the page's CSS variables, so that one picture is right
in a light page and in a dark one. Text stays text.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any

from hoox_tasks.views.report.figures import DAY, Curve, Exposure, LogPeriod, Period, Symbol

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _MUTED, _GRID, _UP, _DOWN = "#010001", "#010002", "#010003", "#010004", "#010005"
_SERIES = ("#010011", "#010012", "#010013", "#010014", "#010015", "#010016")
_VARIABLES = {
    _INK: "--ink",
    _MUTED: "--muted",
    _GRID: "--grid",
    _UP: "--up",
    _DOWN: "--down",
    **{colour: f"--series-{number}" for number, colour in enumerate(_SERIES, 1)},
}
_WIDTH = 9.6
"""Inches of 72 pixels: the width of the page's column."""
_FEW = 30
"""Points of a curve up to which each is marked."""


def equity(curves: Sequence[Curve]) -> str:
    """Draw what the accounts are worth, a line for each asset."""
    with _drawing(2.9) as (axes, svg):
        for curve, colour in zip(curves, _SERIES * len(curves), strict=False):
            times = [_time(point.start) for point in curve.points]
            marker = "o" if len(times) <= _FEW else ""
            values = [_finite(point.equity) for point in curve.points]
            axes.plot(times, values, color=colour, marker=marker, markersize=3, label=curve.asset)
        _name_series(axes, len(curves))
        _money(axes, "Equity", _one(curve.asset for curve in curves))
        _times(axes, min(c.points[0].start for c in curves), max(c.points[-1].start for c in curves))
    return svg()


def drawdown(curves: Sequence[Curve]) -> str:
    """Draw how far below their peak the accounts are, in percent."""
    from matplotlib.ticker import PercentFormatter

    with _drawing(1.9) as (axes, svg):
        for curve, colour in zip(curves, _SERIES * len(curves), strict=False):
            shade = _DOWN if len(curves) == 1 else colour
            times = [_time(point.start) for point in curve.points]
            depths = [100 * _finite(point.drawdown) for point in curve.points]
            axes.plot(times, depths, color=shade, linewidth=1.1, label=curve.asset)
            axes.fill_between(times, depths, color=shade, alpha=0.25, linewidth=0)
        _name_series(axes, len(curves))
        axes.set_ylabel("Below the peak")
        axes.yaxis.set_major_formatter(PercentFormatter(decimals=None))
        axes.set_ylim(top=0)
        if axes.get_ylim()[0] > -0.1:
            axes.set_ylim(-1, 0)
        _times(axes, min(c.points[0].start for c in curves), max(c.points[-1].start for c in curves))
    return svg()


def realized(periods: Sequence[Period], step: int, unit: str) -> str:
    """Draw the realised profit and loss of each day, or of each longer bucket."""
    with _drawing(2.5) as (axes, svg):
        values = [_finite(period.realized) for period in periods]
        colours = [_UP if value >= 0 else _DOWN for value in values]
        _bars(axes, [period.start for period in periods], values, step, color=colours)
        axes.axhline(0, color=_MUTED, linewidth=0.8)
        _money(axes, "Realised PnL", unit)
    return svg()


def fees(periods: Sequence[Period], step: int, unit: str) -> str:
    """Draw the fees of each day, or of each longer bucket, by exchange."""
    totals: dict[str, float] = {}
    for period in periods:
        for exchange, fee in period.fees.items():
            totals[exchange] = totals.get(exchange, 0.0) + fee
    names = sorted(totals, key=lambda name: (-totals[name], name))
    own, rest = names[: len(_SERIES) - 1], names[len(_SERIES) - 1 :]
    groups = [(name, [name]) for name in own] + ([("others", rest)] if rest else [])
    with _drawing(2.3) as (axes, svg):
        starts = [period.start for period in periods]
        bottom = [0.0] * len(periods)
        for (label, members), colour in zip(groups, _SERIES, strict=False):
            values = [sum(_finite(p.fees.get(name, 0.0)) for name in members) for p in periods]
            _bars(axes, starts, values, step, color=colour, bottom=bottom, label=label)
            bottom = [low + value for low, value in zip(bottom, values, strict=True)]
        _name_series(axes, len(groups))
        _money(axes, "Fees", unit)
    return svg()


def symbols(symbols: Sequence[Symbol], unit: str) -> str:
    """Draw the realised profit and loss of each symbol."""
    with _drawing(_rows(len(symbols))) as (axes, svg):
        names = [symbol.name or "all others" for symbol in symbols]
        values = [_finite(symbol.realized) for symbol in symbols]
        axes.barh(names, values, color=[_UP if value >= 0 else _DOWN for value in values], height=0.62)
        _across(axes, "Realised PnL", unit)
    return svg()


def exposure(exposures: Sequence[Exposure], unit: str) -> str:
    """Draw what is open, by symbol: long to the right, short to the left."""
    worth: dict[str, dict[str, float]] = {}
    for exposure in exposures:
        worth.setdefault(exposure.symbol, {})[exposure.side] = _finite(exposure.value)
    names = list(worth)[:20]
    with _drawing(_rows(len(names))) as (axes, svg):
        longs = [worth[name].get("LONG", 0.0) for name in names]
        shorts = [-worth[name].get("SHORT", 0.0) for name in names]
        axes.barh(names, longs, color=_UP, height=0.62, label="long")
        axes.barh(names, shorts, color=_DOWN, height=0.62, label="short")
        _name_series(axes, 2)
        _across(axes, "Size at the mark price", unit)
    return svg()


def errors(periods: Sequence[LogPeriod], step: int) -> str:
    """Draw the log lines of each day, or of each longer bucket: errors, and warnings on top of them."""
    from matplotlib.ticker import MaxNLocator

    with _drawing(2.1) as (axes, svg):
        starts = [period.start for period in periods]
        wrong = [float(period.errors) for period in periods]
        _bars(axes, starts, wrong, step, color=_DOWN, label="ERROR")
        warned = [float(period.warnings) for period in periods]
        _bars(axes, starts, warned, step, color=_SERIES[1], bottom=wrong, label="WARN")
        _name_series(axes, 2)
        axes.set_ylabel("Log lines")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_formatter(_short)
    return svg()


# ---------------------------------------------------------------------------------------------- parts


class _Svg:
    """The picture, once it is drawn."""

    text = ""

    def __call__(self) -> str:
        return self.text


@contextmanager
def _drawing(height: float) -> Iterator[tuple[Axes, _Svg]]:
    """Set up one picture of `height` inches; when the block ends it is there as SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 10,
        "text.color": _INK,
        "axes.labelcolor": _MUTED,
        "axes.edgecolor": _GRID,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "grid.color": _GRID,
        "grid.linewidth": 0.7,
        "xtick.color": _GRID,
        "ytick.color": _GRID,
        "xtick.labelcolor": _MUTED,
        "ytick.labelcolor": _MUTED,
        "lines.linewidth": 1.5,
        "legend.frameon": False,
        "figure.facecolor": "none",
        "text.parse_math": False,  # A symbol may have a $ in it.
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # The browser has the characters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        axes.margins(x=0.01)
        svg = _Svg()
        yield axes, svg
        output = io.StringIO()
        figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    svg.text = _for_page(output.getvalue())


def _for_page(document: str) -> str:
    """Take the SVG element out of its document, and let the page's CSS choose colours and font."""
    text = document[document.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<g id=\"[^\"]*\">", "<g>", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1, flags=re.DOTALL)
    # In the tags only: a text is somebody's symbol, whatever it looks like.
    return re.sub(r"<[^>]*>", lambda tag: _in_css(tag[0]), text)


def _in_css(tag: str) -> str:
    tag = re.sub(r"#0100[01]\d", lambda colour: f"var({_VARIABLES[colour[0]]})", tag)
    return re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", tag)


def _time(seconds: float) -> float:
    """Give a time as matplotlib counts it: days since 1970."""
    return seconds / DAY


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan


def _one(names: Iterator[str]) -> str:
    found = set(names)
    return found.pop() if len(found) == 1 else ""


def _rows(count: int) -> float:
    return 0.8 + 0.3 * max(count, 2)


def _short(value: float, _: object = None) -> str:
    """Write a number of an axis: 25,000 but 1.2M, and never 2.5e-05."""
    size = abs(value)
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if size >= limit:
            return f"{value / limit:,.6g}{unit}".replace("-", "\N{MINUS SIGN}")
    text = f"{value:,.0f}" if size >= 1000 else f"{value:.8f}".rstrip("0").rstrip(".")
    return text.replace("-", "\N{MINUS SIGN}")


def _money(axes: Axes, name: str, unit: str) -> None:
    axes.set_ylabel(f"{name} ({unit or 'quote currency'})")
    axes.yaxis.set_major_formatter(_short)


def _across(axes: Axes, name: str, unit: str) -> None:
    """Finish a chart of lying bars."""
    axes.margins(x=0.03)
    axes.axvline(0, color=_MUTED, linewidth=0.8)
    axes.set_xlabel(f"{name} ({unit or 'quote currency'})")
    axes.xaxis.set_major_formatter(_short)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0, labelcolor=_INK)
    axes.set_ylim(axes.get_ylim()[1], axes.get_ylim()[0])


def _bars(
    axes: Axes,
    starts: Sequence[int],
    values: Sequence[float],
    step: int,
    *,
    color: str | Sequence[str],
    bottom: Sequence[float] = (),
    label: str = "",
) -> None:
    """Draw a bar for each bucket: all as one, since a bar of matplotlib's own takes a millisecond."""
    from matplotlib.collections import PolyCollection

    width = _time(0.88 * step)
    corners = []
    for place, (start, value) in enumerate(zip(starts, values, strict=True)):
        left, low = _time(start), bottom[place] if bottom else 0.0
        right, high = left + width, low + value
        corners.append([(left, low), (left, high), (right, high), (right, low)])
    bars = PolyCollection(corners, facecolors=color, edgecolors="none", label=label)
    bars.sticky_edges.y.append(0)
    axes.add_collection(bars)
    axes.autoscale_view()
    _times(axes, starts[0], starts[-1] + step, shortest=10 * step)


def _times(axes: Axes, first: int, last: int, *, shortest: int = 3_600) -> None:
    """Give the axis times in UTC; a span that is too short for that is made wider."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    missing = max(0, shortest - (last - first))
    around = missing // 2 + (last - first + missing) // 100
    axes.set_xlim(_time(max(0, first - around)), _time(last + around))
    locator = AutoDateLocator(tz=UTC, minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    axes.set_xlabel("Time (UTC)")
    axes.grid(visible=False, axis="x")


def _name_series(axes: Axes, count: int) -> None:
    if count > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, borderpad=0.2, handlelength=1.2)
