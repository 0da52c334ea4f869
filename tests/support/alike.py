"""Cells that look alike, to which a checksum must not be blind."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from hoox_tasks import sql
from tests.support.strategies import Cell, LongCell, RawText, cells, doubles, texts

_lengths = st.one_of(st.integers(40, 80), st.integers(200, 300), st.integers(900, 1100), st.integers(0, 5000))
_long_texts = st.builds(LongCell, st.sampled_from(["x", "é", "😀", b"\0", b"\xff"]), _lengths)
anything: st.SearchStrategy[Cell] = st.one_of(cells, doubles, texts, _long_texts)
"""Whatever can be in a cell: short, about as long as what is written at once, and longer."""

ALIKE: list[tuple[Cell, Cell]] = [
    ("FILLED", "FAILED"),
    ("BTCUSDT", "BCHUSDT"),
    ("ETHUSDT", "ETCUSDT"),
    ("1000.00", "1900.00"),
    ("abcdefgh", "abcdXfgh"),
    ("x" * 5000, "x" * 2500 + "y" + "x" * 2499),
    ("a\0b", "a\0c"),
    ("a", "a\0"),
    ("ab\ncd", "ab\\ncd"),
    ("", b""),
    (b"ab", b"aB"),
    (b"\0\0", b"\0"),
    (b"\xff" * 1001, b"\xff" * 1002),
    (RawText(b"\xff"), RawText(b"\xfe")),
    (1e20, 8e31),
    (1e60, 1e300),
    (1.5 * 2.0**60, 1.5 * 2.0**-60),
    (1.5 * 2.0**120, 1.5 * 2.0**-120),
    (1e-33, 9e-33),
    (5e-324, 1e-323),
    (0.0, -0.0),
    (0.1, math.nextafter(0.1, 1)),
    (2.0**-68, math.nextafter(2.0**-68, 0)),
    (1.7976931348623157e308, math.inf),
    (math.inf, -math.inf),
    (9007199254740992, 9007199254740993),
    (2**63 - 1, 2**63 - 2),
    (1, -1),
    (-1, 0),
    (1, 1.0),
    (1, "1"),
    (1.0, "1.0"),
    ("1", b"1"),
    (None, ""),
    (None, 0),
]
"""Cells that look alike, or did so to an earlier way of computing it."""


def exact(row: tuple[Cell, ...]) -> str:
    """A text that is the same for the same cells, and for no others."""
    return repr([cell.piece * cell.times if isinstance(cell, LongCell) else cell for cell in row])


def literal(cell: Cell) -> str:
    """Write a cell as SQL."""
    if isinstance(cell, RawText):
        return f"CAST(X'{cell.content.hex()}' AS TEXT)"
    return sql.quote_value(cell.piece * cell.times if isinstance(cell, LongCell) else cell)
