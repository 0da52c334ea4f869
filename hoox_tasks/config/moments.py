"""A moment: as somebody gives it in a flag or a setting, and as the tool writes it everywhere."""

from __future__ import annotations

from datetime import UTC, datetime

from hoox_tasks.errors import Refused


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
