"""A file that is read while somebody else still writes it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class GrowingFile(io.FileIO):
    """A file to which bytes are added at its end only; at what is its end by now, a reader waits for more."""

    def __init__(self, path: Path, wait: Callable[[], bool]) -> None:
        """`wait` returns when there may be more bytes; whether there may be more after those."""
        super().__init__(path, "rb")
        self._wait = wait
        self._complete = False

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        """Read what is there; 0 bytes are given at the end of the complete file only."""
        while True:
            taken = super().readinto(buffer)
            if taken or self._complete:
                return taken
            # What was added before the end was told has to be read as well.
            self._complete = not self._wait()
