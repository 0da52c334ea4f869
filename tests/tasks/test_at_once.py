"""Tasks on one ledger at the same time: one does it, the others wait or are refused in words."""

from __future__ import annotations

from tests.support.workspace import SECONDS, Workspace


def at_once(workspace: Workspace, *command: str, times: int = 2) -> list[tuple[int, str]]:
    """Run a command several times at once; gives exit codes and what was said."""
    started = [workspace.start(*command) for _ in range(times)]
    ended = []
    for process in started:
        out, err = process.communicate(timeout=SECONDS)
        ended.append((process.returncode, (out + err).decode()))
    return ended


def test_two_applies(workspace: Workspace) -> None:
    """The ledger is migrated and seeded once, and both say that it is ready."""
    ended = at_once(workspace, "db.apply", "--scenario", "quiet", times=3)
    assert "Traceback" not in str(ended)
    assert {code for code, _ in ended} <= {0, 2}, ended
    assert sum("seeded" in said for _, said in ended) == 1, ended
    assert all(code == 0 or "holds trades already" in said for code, said in ended), ended
    assert workspace.sql("SELECT count(*) = count(DISTINCT signal_id) FROM trade_signals") == [(1,)]
    assert workspace.ok("db.check").code == 0


def test_two_seeds(workspace: Workspace) -> None:
    """One seeds, the other is refused, because there are trades."""
    workspace.ok("db.apply", "--no-seed")
    ended = at_once(workspace, "db.seed", "--scenario", "quiet")
    assert sorted(code for code, _ in ended) == [0, 2], ended
    assert "holds trades already" in next(said for code, said in ended if code == 2)
