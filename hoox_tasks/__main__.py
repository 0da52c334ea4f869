"""Starts the `hoox` command, also as `python -m hoox_tasks`; all else is imported once Ctrl-C is seen to."""

from __future__ import annotations

from hoox_tasks import interruptions
from hoox_tasks.lazy import lazy_imports

with lazy_imports():
    from hoox_tasks import program


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    with interruptions.deadly():
        run = program.main
    run()


if __name__ == "__main__":
    main()
