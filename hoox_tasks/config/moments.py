"""A moment: as somebody gives it in a flag or a setting, and as the tool writes it everywhere."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hoox_tasks.errors import Refused

_SPAN = re.compile(r"([0-9]{1,6})(min|h|d|w)", re.ASCII)
_UNITS = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_moment(text: str) -> datetime:
    """Read a date or a time in ISO 8601; one without a zone is UTC. Raises `Refused` for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(
            f"{text} is not a date or time.", "Write it as YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, in UTC."
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def write_moment(moment: datetime) -> str:
    """Write a moment for people: `2026-01-30 23:58:16` in UTC, with milliseconds where it has some."""
    moment = moment.astimezone(UTC)
    fraction = f".{moment.microsecond // 1000:03d}" if moment.microsecond else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction}"


def parse_span(text: str) -> timedelta:
    """Read a length of time, such as 90min, 24h, 7d or 2w; raises `Refused` for anything else."""
    match = _SPAN.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise Refused(f"{text} is no length of time.", "Write it as 90min, 24h, 7d or 2w.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
