"""Ids of rows: sorted by time, unique, and the same everywhere."""

from __future__ import annotations


class RowIds:
    """Row ids in the form of a UUIDv8: the second, which kind of row, and a number of its own.

    They are put together from three parts, so that all rows of one signal share the work. Sorted by
    time, they are also fast to index.
    """

    def __init__(self, key: int) -> None:
        self.mask: int = key & 0xFFFFFFFFFFFF
        self._mark = f"{key >> 48 & 0xFFFF:04x}"
        self._kind = key >> 64

    def kind(self, number: int) -> str:
        """The middle part for one kind of row."""
        # An odd factor keeps the kinds apart, whichever of their lower bits are used.
        mixed = self._kind ^ (number * 0x9E3779B1)
        return f"-{self._mark}-8{mixed & 0xFFF:03x}-{'89ab'[mixed >> 12 & 3]}{mixed >> 14 & 0xFFF:03x}-"

    def head(self, moment: int) -> str:
        """The first part, for a second until 2105."""
        return f"{moment:08x}"

    def tail(self, number: int) -> str:
        """The last part, for a number that is given once per kind."""
        return f"{number ^ self.mask:012x}"
