"""Changes of one moment, made again where somebody else was ahead of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from hoox_tasks.database.interface import Database, Moment
from hoox_tasks.errors import ChangedMeanwhile

T = TypeVar("T")

ATTEMPTS = 8
"""How often a change is tried that others are ahead of."""


def change_as_of(
    database: Database, change: Callable[[Moment], T], *, sleep: Callable[[float], None] = time.sleep
) -> T:
    """Hold a moment and make a change of it; with a new moment where somebody else was ahead.

    Locally nobody ever is. Raises `ChangedMeanwhile` where it is so each time: then nothing was changed.
    """
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(pause_before(attempt))
        try:
            with database.holding() as moment:
                return change(moment)
        except ChangedMeanwhile as error:
            overtaken = error
    raise overtaken


def pause_before(attempt: int) -> float:
    """Seconds to wait before another attempt: longer and longer, and never in step with others."""
    return random.uniform(0.1, 0.3) * 2.0 ** min(attempt, 4)
