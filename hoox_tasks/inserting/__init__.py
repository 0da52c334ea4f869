"""Rows out of a file into a table: read exactly, tried on a table of the same definition, then all or none.

Nothing is guessed: a number whose digits a column would not keep, an empty cell where there has to be a
value, and a row that is there already are refused, with the line and the column.
"""

from __future__ import annotations

from hoox_tasks.inserting.insert import Inserted, insert, plan
from hoox_tasks.inserting.reading import FORMATS, detect, read
from hoox_tasks.inserting.staging import Staging, staged

__all__ = ["FORMATS", "Inserted", "Staging", "detect", "insert", "plan", "read", "staged"]
