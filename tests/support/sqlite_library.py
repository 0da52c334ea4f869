"""SQLite's library in other versions, built on a machine's first call from the source in npm's better-sqlite3."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from filelock import FileLock

from tests.support import npm

SOURCES = {"3.38.5": "7.5.3", "3.54.1": "13.2.0"}
"""Which version of better-sqlite3 carries which SQLite: the oldest that is supported, and a newer one than D1's."""
SECONDS = 300
_WITH = "FTS5 RTREE JSON1 MATH_FUNCTIONS COLUMN_METADATA LOAD_EXTENSION DBSTAT_VTAB"


def environment(version: str) -> dict[str, str]:
    """Give the variable that has a Python which SQLite is linked to use this version; skips where it cannot be."""
    return {"LD_PRELOAD": str(_library(version))}


def _library(version: str) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or shutil.which("npm") is None:
        pytest.skip("There is no C compiler or no npm here to make another version of SQLite with.")
    folder = npm.cache().parent
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"libsqlite3-{version}.so"
    with FileLock(f"{library}.lock"):
        if not library.exists():
            _build(compiler, version, library)
    return library


def _build(compiler: str, version: str, library: Path) -> None:
    source = library.with_suffix(".source")
    source.mkdir(exist_ok=True)
    pack = [
        "npm",
        "pack",
        "--silent",
        "--pack-destination",
        str(source),
        f"better-sqlite3@{SOURCES[version]}",
    ]
    done = subprocess.run(pack, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        pytest.skip(f"better-sqlite3 cannot be fetched: {done.stderr.strip()}")
    with tarfile.open(source / f"better-sqlite3-{SOURCES[version]}.tgz") as archive:
        member = archive.extractfile("package/deps/sqlite3/sqlite3.c")
        assert member is not None
        (source / "sqlite3.c").write_bytes(member.read())
    partial = library.with_suffix(".part")
    options = [f"-DSQLITE_ENABLE_{word}" for word in _WITH.split()]
    command = [compiler, "-O0", "-shared", "-fPIC", *options, str(source / "sqlite3.c"), "-o", str(partial)]
    subprocess.run([*command, "-lm", "-lpthread", "-ldl"], check=True, timeout=SECONDS)
    partial.rename(library)
    shutil.rmtree(source)
