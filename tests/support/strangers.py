"""Somebody who may not look: files and folders that the tests' own user cannot read, also where that is root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOBODY = 65534


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Take all rights to a file or folder away for a block, from root as well: it runs as nobody then.

    What is below `/root` cannot be imported in the block: import it before.
    """
    mode = path.stat().st_mode
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        path.chmod(mode)


def hand_over(folder: Path) -> None:
    """Let nobody own a folder and all that is in it, where the tests run as root."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, _NOBODY, _NOBODY)
