"""Backups that only the holder of a key can read: written, found, verified, restored, and refused."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyrage
import pytest

from hoox_tasks import backups, files
from hoox_tasks.backups import encryption
from hoox_tasks.backups.manifest import read_manifest
from hoox_tasks.config.settings import bundled
from hoox_tasks.database.local.database import LocalDatabase
from hoox_tasks.errors import Refused
from hoox_tasks.migrations import Migrations
from tests.support.ledgers import make_ledger
from tests.support.workspace import Workspace

TABLE = "d1_migrations"
MIGRATIONS = Migrations.read(bundled("migrations"))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalDatabase]:
    with closing(make_ledger(tmp_path_factory.mktemp("ledger") / "quiet.sqlite", "quiet")) as database:
        yield database


class Key:
    """A key of age's, in a file as `age-keygen` writes it."""

    def __init__(self, folder: Path) -> None:
        identity = pyrage.x25519.Identity.generate()
        self.public = str(identity.to_public())
        self.file = folder / f"{self.public[-6:]}.txt"
        self.file.write_text(f"# created: 2026-11-28T08:00:00Z\n# public key: {self.public}\n{identity}\n")
        self.secret = str(identity)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path)


@pytest.fixture
def sealed(tmp_path: Path, ledger: LocalDatabase, key: Key) -> Path:
    plain = backups.export(ledger, tmp_path / "plain.sql.gz", compressed=True, migrations_table=TABLE).path
    assert plain is not None
    return backups.seal(plain, tmp_path / "sealed" / "a.sql.gz", [key.public], reserve=True)


def test_with_the_key_it_is_the_backup_that_it_was(
    sealed: Path, ledger: LocalDatabase, key: Key, tmp_path: Path
) -> None:
    """What the key opens fits the manifest, cell by cell, and restores the ledger; nothing of it stays in scratch."""
    assert (sealed.name, stat.S_IMODE(sealed.stat().st_mode)) == ("a.sql.gz.age", files.PRIVATE)
    with (
        backups.checked(sealed, MIGRATIONS, identity=key.file) as backup,
        closing(LocalDatabase(tmp_path / "restored.sqlite", create=True)) as restored,
    ):
        assert backup.manifest is not None
        assert backup.manifest.tables["trades"].fingerprint != ""
        backups.restore(restored, backup)
        backups.compare_with(backup, restored, exact=True)
        backups.compare_with(backup, ledger, exact=True)
        scratch = backup.scratch.path.parent
    assert not scratch.exists()


def test_without_the_key_nothing_of_the_rows_is_told(sealed: Path) -> None:
    """Neither the file nor its manifest has a value, a count or a fingerprint in it; the rotation knows it all the same."""
    manifest = read_manifest(sealed)
    assert manifest is not None
    assert (manifest.tables, manifest.verified, manifest.identity != "") == ({}, True, True)
    content = sealed.read_bytes() + sealed.with_name(f"{sealed.name}.json").read_bytes()
    assert b"BTCUSDT" not in content
    assert b'"rows"' not in content
    assert [backup.path for backup in backups.find(sealed.parent)] == [sealed]
    with pytest.raises(Refused, match="is encrypted"), backups.checked(sealed, MIGRATIONS):
        pass


@pytest.mark.parametrize(
    "harm", ["another key", "cut off", "changed", "another manifest", "no key", "a secret"]
)
def test_what_the_key_does_not_fit_is_refused(harm: str, sealed: Path, key: Key, tmp_path: Path) -> None:
    """Another key, a file that was cut off or changed, and a manifest of another backup are refused, and no key is shown."""
    identity = key.file
    content, beside = sealed.read_bytes(), sealed.with_name(f"{sealed.name}.json")
    if harm == "another key":
        identity = Key(tmp_path).file
    elif harm == "cut off":
        sealed.write_bytes(content[:-20])
    elif harm == "changed":
        beside.unlink()
        sealed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif harm == "another manifest":
        fields = json.loads(beside.read_text())
        other = pyrage.encrypt(b"{}", [pyrage.x25519.Recipient.from_str(key.public)])
        fields["sealed"] = base64.b64encode(other).decode()
        beside.write_text(json.dumps(fields))
    else:
        identity = tmp_path / "not-a-key"
        identity.write_text(key.secret[:-4] if harm == "a secret" else "")
    with pytest.raises(Refused) as caught, backups.checked(sealed, MIGRATIONS, identity=identity):
        pass
    assert key.secret[:30] not in str(caught.value)
    assert not list(sealed.parent.glob("*.part"))


def test_recipients_are_checked_before_anything_is_read(tmp_path: Path, key: Key) -> None:
    """What is no public key is refused by its name, a secret key without it."""
    for word, shown in (("age1nonsense", "'age1nonsense'"), (key.secret, "A secret key"), ("x", "'x'")):
        with pytest.raises(Refused) as caught:
            backups.check_recipients([key.public, word])
        assert str(caught.value).startswith(f"{shown} is no age recipient")
        assert key.secret not in str(caught.value)


def test_the_scratch_copy_of_a_plain_text_is_its_owners_alone(
    sealed: Path, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is open the plain text lies in a folder that nobody else can enter, readable by nobody else."""
    with encryption.opened(sealed, None, key.file) as (plain, _):
        assert stat.S_IMODE(plain.stat().st_mode) == files.PRIVATE
        assert stat.S_IMODE(plain.parent.stat().st_mode) == 0o700
    assert not plain.exists()


def test_the_tasks_encrypt_verify_and_restore(tmp_path: Path, key: Key) -> None:
    """From `db.export --encrypt-to` by `db.verify --identity` to `db.restore --identity`, nothing plain is kept."""
    workspace = Workspace(tmp_path / "workspace", tmp_path / "home")
    make_ledger(workspace.ledger, "quiet").close()
    before = workspace.ok("db.list").out
    out = workspace.ok("db.export", "--gzip", f"--encrypt-to={key.public}").out
    assert "verified, encrypted" in out
    folder = workspace.root / "backups"
    (backup,) = folder.glob("*.age")
    assert {path.name for path in folder.iterdir()} == {".gitignore", backup.name, f"{backup.name}.json"}
    assert "equal to its manifest" in workspace.ok("db.verify", str(backup), f"--identity={key.file}").out
    workspace.ledger.unlink()
    workspace.ok("db.restore", str(backup), "--confirm", f"--identity={key.file}")
    assert workspace.ok("db.list").out == before
    assert "would not be encrypted" in workspace.refused("db.export", "--output=x.sql.age")
    piped = workspace.root / "piped.sql.age"
    with piped.open("wb") as output:
        workspace.ok("db.export", "--output=-", f"--encrypt-to={key.public}", stdout=output)
    assert "is sound" in workspace.ok("db.verify", str(piped), f"--identity={key.file}").out
