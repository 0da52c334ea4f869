"""What tests share: real parts, made-up ledgers, faults."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""

SCREENSHOTS = ROOT / "build" / "screenshots"
"""Where tests in a browser leave what they saw."""
