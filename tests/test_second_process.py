"""What helper processes are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from hoox_tasks import second_process

PACKAGE = Path(second_process.__file__).parent


def test_no_token_reaches_a_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of ours gets what it needs to start, and none of the user's secrets."""
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "a-token")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    given = second_process.environment()
    assert "PATH" in given
    assert not {"CLOUDFLARE_API_TOKEN", "PYTHONPATH"} & set(given)


def test_every_helper_is_given_that() -> None:
    """Whatever starts this Python again passes that environment on."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text("utf-8")
        if "subprocess" in text and "sys.executable" in text:
            assert "env=" in text, path
