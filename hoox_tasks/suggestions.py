"""What somebody may have meant who misspelt a name."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

_NEAR = 0.7
"""How alike two names have to be, where 1 is equal and 0 has nothing in common."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Give the known name that is most like `name`; empty where none is near."""
    from difflib import get_close_matches

    by_form = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(name.lower(), by_form, n=1, cutoff=_NEAR)
    return by_form[found[0]] if found else ""


def option(flag: str, value: str) -> str:
    """Write a flag with its value for a command that somebody is to type, such as `--to 0002_b.sql`."""
    # What begins with a dash would be taken for another flag.
    return f"--{flag}{'=' if value.startswith('-') else ' '}{shlex.quote(value)}"


def remedy(name: str, known: Iterable[str], otherwise: str) -> str:
    """Write what to do about a name that is not known: what may have been meant, and what there is."""
    return f"{suggestion(name, known)} {otherwise}".lstrip()


def suggestion(name: str, known: Iterable[str]) -> str:
    """Ask whether a name that is not known is a misspelt one of those that are; empty where none is near."""
    found = nearest(name, known)
    return f"Did you mean {found}?" if found else ""
