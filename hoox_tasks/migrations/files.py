"""Migration files: find them, read them, put them in wrangler's order, write the next."""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from unicodedata import normalize

from hoox_tasks import sql
from hoox_tasks.errors import Refused
from hoox_tasks.files import listed
from hoox_tasks.migrations.consent import Consent, read_consent
from hoox_tasks.suggestions import remedy

_FLYWAY = re.compile(r"(?:[VUB][0-9][0-9._]*|R)__.+\.sql")
_LEADING_NUMBER = re.compile(r"\s*([+-]?[0-9]+)")
_HEXADECIMAL = re.compile(r"\s*[+-]?0[xX][0-9a-fA-F]")
_BEGIN, _COMMIT = "BEGIN TRANSACTION", "COMMIT"
_NAME_BYTES = 200
_READ = 200_000
"""Characters of a file that is read word by word, which takes some 2 s for a million of them."""
_COMPARED = 50
"""Statements of a file that are looked for in all places; of a longer one only those it begins with."""
EMPTY = hashlib.sha256(b"").hexdigest()
"""The checksum of every file without a statement."""


@dataclass(frozen=True)
class Migration:
    """One migration file.

    `text` has LF line ends, but for those inside of texts, which are data, and no byte order mark. `refusal`
    says why the file cannot be read, None where it can; then it has no text.
    """

    name: str
    path: Path
    text: str
    refusal: Refused | None = field(default=None, compare=False)

    @cached_property
    def checksum(self) -> str:
        """Changes when a statement of the file may have changed: line ends and a blank end do not count.

        All files without a statement have the same, `EMPTY`.
        """
        return EMPTY if self.is_empty else _digest(self.text.replace("\r\n", "\n").rstrip())

    @cached_property
    def fingerprint(self) -> str:
        """What a ledger remembers of the file: its checksum, and behind a blank that of its statements.

        The latter is that of the file without its comments; a file that is too long has none.
        """
        return EMPTY if self.is_empty else f"{self.checksum} {self._statements}".rstrip()

    @cached_property
    def _statements(self) -> str:
        if len(self.text) > _READ:
            return ""
        return _digest(_words(self.text))

    def matches(self, fingerprint: str) -> bool:
        """Whether the file says what one of this fingerprint said; earlier versions counted its blank end."""
        checksum = fingerprint.split(" ")[0]
        if checksum == self.checksum:
            return True
        text = self.text.replace("\r\n", "\n")
        return checksum in {_digest(text), _digest(text.rstrip()), _digest(f"{text.rstrip()}\n")}

    def does(self, fingerprint: str) -> bool:
        """Whether the file has the statements of one of this fingerprint, whatever its comments."""
        return self.matches(fingerprint) or fingerprint.split(" ")[1:2] == [self._statements]

    def beyond(self, fingerprint: str) -> list[str] | None:
        """Give the statements that the file has besides those of one of this fingerprint.

        They stand before or behind those, or, in a file that is not long, between them. None where the
        file does not have all of those, or that cannot be told.
        """
        digest = fingerprint.split(" ")[1:2]
        if not digest or len(self.text) > _READ or self.refusal is not None:
            return None
        try:
            pieces = [piece.sql for piece in self.pieces]
        except Refused:
            return None
        words = [_words(piece) for piece in pieces]
        number = len(pieces)
        for start in range(number if number <= _COMPARED else 1):
            for end in range(start + 1, number + 1):
                if _digest(" ".join(words[start:end])) == digest[0]:
                    return pieces[:start] + pieces[end:]
                if number <= _COMPARED and _digest(" ".join(words[:start] + words[end:])) == digest[0]:
                    return pieces[start:end]
        return None

    @property
    def is_empty(self) -> bool:
        """Whether the file holds no statement."""
        return self.refusal is None and sql.is_blank(self.text)

    @property
    def consent(self) -> Consent:
        """What the file itself says may be lost or changed; raises `Refused` where it says it wrongly."""
        return read_consent(self.name, self.text)

    @cached_property
    def pieces(self) -> list[sql.Piece]:
        """The file's statements, with their lines; raises `Refused` where it cannot be read.

        One `BEGIN TRANSACTION;` and one `COMMIT;` around them are left out, as wrangler does.
        """
        if self.refusal is not None:
            raise Refused(self.refusal.problem, self.refusal.remedy)
        try:
            pieces = sql.split(self.text)
        except Refused as error:
            raise Refused(f"Migration {self.name} cannot be read: {error.problem}", error.remedy) from error
        texts = [piece.sql for piece in pieces]
        if _BEGIN in texts:
            del pieces[texts.index(_BEGIN)]
            texts.remove(_BEGIN)
            if _COMMIT in texts:
                del pieces[texts.index(_COMMIT)]
        return pieces

    @property
    def _end(self) -> str:
        """What follows the last statement; all of a file that has none, or cannot be divided."""
        try:
            last = self.pieces[-1]
        except (Refused, IndexError):
            return self.text
        return self.text[last.offset + len(last.sql) :]

    @property
    def warnings(self) -> list[str]:
        """What wrangler would make of the file that we do not, as sentences; and that it holds nothing."""
        if self.refusal is not None:
            return []
        if self.is_empty:
            return [f"{self.name} holds no statement: it is recorded, and does nothing."]
        found = []
        # Behind the file's text wrangler puts an INSERT into its history.
        end = self._end
        last = [token.text for token in sql.tokens(end)][-1:]
        if last != [";"]:
            found.append(f"{self.name} lacks its last semicolon: wrangler would fail at it.")
        ends = [comment for _, comment in sql.comments(end)][-1:]
        if ends and ends[0].startswith("/*") and (len(ends[0]) < 4 or not ends[0].endswith("*/")):
            found.append(
                f"{self.name} does not close its last comment: wrangler would run it again and again."
            )
        if "'" in self.name:
            found.append(f"{self.name} has an apostrophe in its name: older versions of wrangler fail at it.")
        if _HEXADECIMAL.match(self.name):
            found.append(f"{self.name} begins with 0x: older versions of wrangler order it as hexadecimal.")
        if _BEGIN in self.text.replace(f"{_BEGIN};", "", 1):
            found.append(
                f"{self.name} says {_BEGIN} where wrangler does not leave it out: it would refuse it."
            )
        return found


def discover(folder: Path, pattern: str = "*.sql") -> list[Migration]:
    """Read the migrations below `folder`, in wrangler's order.

    Two files may have one number, as for wrangler. A file that cannot be read is among them, with the reason.
    Raises `Refused` where the folder is missing.
    """
    if not folder.is_dir():
        raise Refused(
            f"There is no migrations folder {folder}.",
            "Make it with `inv db.migrate.new`, or correct the configuration.",
        )
    found = []
    for path in listed(folder, pattern):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.is_symlink() and not _is_hidden(name):
            found.append(read(name, path))
    found.sort(key=lambda migration: order(migration.name))
    return found


def passed_over(folder: Path) -> list[str]:
    """Give the files in a folder that look like migrations and are none, as for wrangler.

    Those are symbolic links, and names that end in `.SQL`.
    """
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.name.lower().endswith(".sql")
        and not _is_hidden(path.name)
        and (path.is_symlink() or not path.name.endswith(".sql"))
    )


def same_name(name: str) -> str:
    """Give a name in the one form in which names are compared: some systems take `é` apart."""
    return name if name.isascii() else normalize("NFC", name)


def refuse_foreign(folder: Path) -> None:
    """Raise `Refused` where a folder looks like another tool's migrations, which ours are not."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if any(_FLYWAY.fullmatch(name) for name in names):
        tool = "Flyway's, whose order is another"
    elif {"env.py", "alembic.ini", "versions"} & set(names):
        tool = "Alembic's (Flask-Migrate)"
    elif "__init__.py" in names:
        tool = "Django's"
    else:
        return
    raise Refused(
        f"{folder} looks like {tool}.", "Name the folder of the ledger's own migrations with hoox.migrations."
    )


def shared_numbers(files: Sequence[Migration]) -> list[tuple[str, ...]]:
    """Give the names of migrations that have one number, as 0002_a.sql and 0002_b.sql; dates are none.

    Wrangler takes them, in the order of their whole names. Two branches that were merged may leave them.
    """
    groups: defaultdict[int, list[str]] = defaultdict(list)
    for migration in files:
        prefix = migration.name.split("/")[0].split("_")[0].removesuffix(".sql")
        if prefix.isdigit():
            groups[int(prefix)].append(migration.name)
    return [tuple(names) for names in groups.values() if len(names) > 1]


def precedes(name: str, other: str) -> bool:
    """Whether a migration belongs before another one; of two with one number neither does."""
    numbers = {leading_number(each.split("/")[0]) for each in (name, other)}
    return order(name) < order(other) and not (len(numbers) == 1 and None not in numbers)


def order(name: str) -> tuple[tuple[int, int, str], ...]:
    """Give a key that sorts migration names as wrangler does: segment by segment, by leading number."""
    keys = []
    for segment in name.split("/"):
        number = leading_number(segment)
        # JavaScript compares UTF-16 code units; surrogates are the only place where that differs.
        text = segment.encode("utf-16-be", "surrogatepass").hex()
        keys.append((0, number, text) if number is not None else (1, 0, text))
    return tuple(keys)


def leading_number(segment: str) -> int | None:
    """Give the number that a name begins with, the way JavaScript reads one; None where it has none.

    It reads a double, and takes as none what is beyond all of them; so 0x10 is 0, and two numbers of 17
    digits may be one.
    """
    match = _LEADING_NUMBER.match(segment.split("_", 1)[0])
    if match is None:
        return None
    try:
        return int(float(match.group(1)))
    except OverflowError:
        return None


def read(name: str, path: Path) -> Migration:
    """Read a migration file; where it cannot be read, or is not UTF-8, it says so as its `refusal`."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refusal = Refused(f"Migration {name} is not UTF-8 (byte {error.start}).", "Save it as UTF-8.")
    except OSError as error:
        refusal = Refused(f"Migration {name} cannot be read: {error.strerror}.", "Check its permissions.")
    else:
        return Migration(name, path, _with_unix_lines(text))
    return Migration(name, path, "", refusal)


def _with_unix_lines(text: str) -> str:
    """Give a script with LF line ends, but for those inside of texts and quoted names, which stay."""
    if "\r\n" not in text:
        return text
    parts, position = [], 0
    for token in sql.tokens(text):
        parts += [text[position : token.offset].replace("\r\n", "\n"), token.text]
        position = token.offset + len(token.text)
    return "".join([*parts, text[position:].replace("\r\n", "\n")])


def _is_hidden(name: str) -> bool:
    return any(part[0] == "." for part in name.split("/"))


def _words(text: str) -> str:
    """Give what SQL says, without its comments, its blanks and the ends of its statements."""
    return " ".join(token.text for token in sql.tokens(text) if token.text != ";")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def find(migrations: Sequence[Migration], wanted: str) -> Migration:
    """Give the migration that is called `wanted`: its file name, with or without .sql, or its number."""
    for migration in migrations:
        if wanted in {migration.name, migration.name.removesuffix(".sql"), migration.name.split("/")[0]}:
            return migration
    if wanted.isdigit():
        numbered = [
            migration
            for migration in migrations
            if leading_number(migration.name.split("/")[0]) == int(wanted)
        ]
        if len(numbered) > 1:
            raise Refused(
                f"Several migrations have the number {wanted}.",
                f"Give the name: {', '.join(migration.name for migration in numbered)}.",
            )
        if numbered:
            return numbered[0]
    names = ", ".join(migration.name for migration in migrations) or "none"
    known = [migration.name for migration in migrations]
    raise Refused(f"There is no migration {wanted}.", remedy(wanted, known, f"There are: {names}."))


def file_name(message: str) -> str:
    """Give what a message is called in a migration's file name; raises `Refused` where it makes none."""
    words = re.sub(r"[^\w.-]+", "_", message.strip()).strip("_.")
    if not words:
        raise Refused("A migration needs a name.", 'Say what it does: `inv db.migrate.new "add fills"`.')
    if len(words.encode()) > _NAME_BYTES:
        raise Refused("The name of the migration is too long for a file.", "Say it in a few words.")
    return words


def create(folder: Path, message: str) -> Path:
    """Write an empty migration with the next number; returns its path.

    Raises `Refused` where the message makes no file name, or the file cannot be written; then none is left.
    """
    words = file_name(message)
    comment = " ".join(message.encode(errors="replace").decode().split())
    path = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        numbers = [leading_number(each.name) or 0 for each in folder.iterdir()]
        path = folder / f"{max(numbers, default=0) + 1:04d}_{words}.sql"
        with path.open("x", encoding="utf-8", newline="\n") as file:
            try:
                file.write(f"-- {comment}\n")
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise Refused(
            f"{path} cannot be written: {error.strerror}.", "Make room, or check its permissions."
        ) from error
    return path


def copy(files: Sequence[Migration], folder: Path) -> list[Path]:
    """Copy migration files into a folder of the workspace's own; returns their new paths."""
    copied: list[Path] = []
    try:
        for migration in files:
            target = folder / migration.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                copied.append(target)
                file.write(migration.path.read_bytes())
    except OSError as error:
        for target in copied:
            target.unlink(missing_ok=True)
        raise Refused(f"{folder} cannot be written: {error.strerror}.", "Check its permissions.") from error
    return copied
