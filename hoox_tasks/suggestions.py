"""What somebody may have meant who misspelt a name."""

from __future__ import annotations

from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str]) -> str:
    """Ask whether a name that is not known is a misspelt one of those that are; empty where none is near."""
    from difflib import get_close_matches

    by_form = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(name.lower(), by_form, n=2, cutoff=0.6)
    return f"Did you mean {' or '.join(by_form[form] for form in found)}?" if found else ""
