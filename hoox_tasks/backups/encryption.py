"""Backups that only the holder of a key can read, in the format of age (https://age-encryption.org/v1).

A backup is encrypted after it was verified, so that its plain text is in a scratch folder for as long as
that takes and nowhere else. Its manifest says what the backup is called, of which ledger and how large it
is; what is in the tables it says in `sealed`, to the holder of the key.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hoox_tasks import files, records
from hoox_tasks.backups import manifest as manifests
from hoox_tasks.backups import rotation
from hoox_tasks.backups.manifest import Manifest, read_manifest
from hoox_tasks.backups.naming import name_with_manifest
from hoox_tasks.errors import Refused

if TYPE_CHECKING:
    import pyrage

    Recipient = pyrage.x25519.Recipient | pyrage.ssh.Recipient
    Identity = pyrage.x25519.Identity | pyrage.ssh.Identity

SUFFIX = ".age"
"""Behind the name of what is encrypted."""
_HEADERS = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")
_KEY_BYTES = 64 * 1024
"""More than a file of keys has."""


def is_encrypted(path: Path) -> bool:
    """Whether a file is encrypted; false where there is none."""
    try:
        with path.open("rb") as file:
            start = file.read(max(map(len, _HEADERS)))
    except OSError:
        return False
    return start.startswith(_HEADERS)


def check_recipients(recipients: Collection[str]) -> None:
    """Raise `Refused` where one of the recipients is none, or nothing can be encrypted here."""
    if recipients:
        _recipients(recipients)


def seal(plain: Path, target: Path, recipients: Collection[str], *, reserve: bool = False) -> Path:
    """Encrypt an export, which has a manifest, to `target` with `.age` behind it; returns where it is now.

    With `reserve` no file is replaced: it gets the next such name that is free, and its folder is made.
    Raises `Refused` where a recipient is none. The export itself stays.
    """
    keys = _recipients(recipients)
    manifest = read_manifest(plain)
    assert manifest is not None
    if target.suffix != SUFFIX:
        target = target.with_name(f"{target.name}{SUFFIX}")
    if reserve:
        files.make_ignored_folder(target.parent)
    with files.draft(target) as draft:
        with plain.open("rb") as source:
            _encrypt(source, draft.output, keys)
        draft.finish()
        content = records.encode(manifests.fields(manifest))
        outside = replace(
            manifest,
            bytes=draft.path.stat().st_size,
            sha256=files.digest(draft.path),
            tables={},
            sequence=rotation.next_sequence(target.parent),
            sealed=base64.b64encode(_encrypted(content, keys)).decode(),
        )
        return name_with_manifest(draft, outside, reserve=reserve)


def seal_to(plain: Path, output: IO[bytes], recipients: Collection[str]) -> None:
    """Encrypt a file to a stream; raises `Refused` where a recipient is none."""
    with plain.open("rb") as source:
        _encrypt(source, output, _recipients(recipients))


@contextmanager
def opened(
    path: Path, manifest: Manifest | None, identity: Path | None
) -> Iterator[tuple[Path, Manifest | None]]:
    """Decrypt a backup, with its manifest, for the length of a block; what is not encrypted stays as it is.

    `identity` is a file of age's keys, or an SSH key without a passphrase. What is decrypted lies in a
    scratch folder that only its owner can enter. Raises `Refused` where there is no key for it, or where it
    was changed or cut off.
    """
    if not is_encrypted(path):
        if identity is not None:
            raise Refused(f"{path} is not encrypted.", "Leave --identity out.")
        yield path, manifest
        return
    if identity is None:
        raise Refused(f"{path} is encrypted.", "Give the file of its key with --identity.")
    keys = _identities(identity)
    with files.scratch_folder() as folder:
        plain = folder / path.name.removesuffix(SUFFIX)
        with path.open("rb") as source, files.written_whole(plain) as output:
            _decrypt(source, output, keys, path, identity)
        if manifest is not None and manifest.sealed:
            manifest = _unsealed(manifest, keys, path, identity)
        yield plain, manifest


def _unsealed(manifest: Manifest, keys: Collection[Identity], path: Path, identity: Path) -> Manifest:
    """Give a manifest with what its own file keeps from everybody but the holder of the key."""
    age = _age()
    inside = manifests.manifest_path(path)
    try:
        content = age.decrypt(base64.b64decode(manifest.sealed, validate=True), list(keys))
        found = manifests.parse(records.decode(content))
    except (ValueError, age.DecryptError) as error:
        raise Refused(
            f"The manifest {inside} was not written for the key in {identity}, or was changed.",
            "Take another backup, or give the key that both were encrypted to.",
        ) from error
    return replace(manifest, tables=found.tables)


def _encrypt(source: IO[bytes], output: IO[bytes], keys: Collection[Recipient]) -> None:
    _age().encrypt_io(source, output, list(keys))


def _encrypted(content: bytes, keys: Collection[Recipient]) -> bytes:
    found: bytes = _age().encrypt(content, list(keys))
    return found


def _decrypt(
    source: IO[bytes], output: IO[bytes], keys: Collection[Identity], path: Path, identity: Path
) -> None:
    age = _age()
    try:
        age.decrypt_io(source, output, list(keys))
    except (age.DecryptError, OSError) as error:
        # What was cut off or changed is an OSError without a number; a full disk has one.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Refused(
            f"{path} cannot be decrypted with the key in {identity}: it is for another, or was changed.",
            "Give the file of the key that it was encrypted to, or take another backup.",
        ) from error


def _recipients(words: Collection[str]) -> list[Recipient]:
    age = _age()
    found: list[Recipient] = []
    for word in words:
        kind = age.x25519 if word.startswith("age1") else age.ssh
        try:
            found.append(kind.Recipient.from_str(word.strip()))
        except (ValueError, age.RecipientError) as error:
            secret = word.upper().startswith("AGE-SECRET-KEY-")
            shown = "A secret key" if secret else f"{word[:80]!r}"
            raise Refused(
                f"{shown} is no age recipient and no SSH public key.",
                "Give --encrypt-to what `age-keygen -y` prints: age1 and 58 letters.",
            ) from error
    return found


def _identities(path: Path) -> list[Identity]:
    age = _age()
    try:
        with path.open("rb") as file:
            content = file.read(_KEY_BYTES)
    except OSError as error:
        raise Refused(f"The key {path} cannot be read: {error.strerror}.", "Name another file.") from error
    try:
        if content.startswith(b"-----BEGIN"):
            return [age.ssh.Identity.from_buffer(content)]
        lines = [line.strip() for line in content.decode("ascii").splitlines()]
        keys = [age.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    # No message of theirs is shown: it may have the key in it.
    except (ValueError, age.IdentityError):
        keys = []
    if not keys:
        raise Refused(
            f"{path} is no file of age keys, and no SSH key without a passphrase.",
            "Give --identity the file that `age-keygen` wrote.",
        )
    return keys


def _age() -> Any:
    """The library; raises `Refused` where it is not installed."""
    if find_spec("pyrage") is None:
        raise Refused(
            "Encrypted backups need pyrage, which is not installed.",
            "Install it with `pip install 'hoox-tasks[age]'`.",
        )
    import pyrage

    return pyrage
