"""A moment that somebody gives, in a flag or a setting."""

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
