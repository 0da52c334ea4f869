"""What can go wrong, as the few exceptions that a user can meet.

    HooxError               exit 1  it was tried and it failed
    ├── Refused             exit 2  misuse, or not safe: nothing was changed, nothing was sent
    ├── ChangedMeanwhile    exit 1  somebody else changed the ledger since it was looked at
    ├── StatementError      exit 1  the database engine would not run a statement
    └── RemoteError         exit 1  D1's API, or the way to it, failed

Every message is one sentence that says what is wrong with which thing, and, as the remedy, one that
says what to do. No message ever carries a token.
"""

from __future__ import annotations

import re

_MISSING_TABLE = r"no such table: (?:main\.)?((?s:.+?))(?: at offset \d+)?(?:: SQLITE_\w+.*)?\.?\Z"
"""As SQLite says it, in a file and on D1; neither has a code for it."""


class HooxError(Exception):
    """Something was tried and failed; `str()` of it is ready to be shown to the user."""

    exit_code = 1

    def __init__(self, problem: str, remedy: str = "", *, detail: str = "") -> None:
        """`problem` says what is wrong with which thing, `remedy` what to do about it.

        `detail` is shown between the two, on lines of its own: the place in a statement, or a list.
        """
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy
        self.detail = detail

    def __str__(self) -> str:
        between = f"\n{self.detail}\n" if self.detail else " "
        return f"{self.problem}{between}{self.remedy}".rstrip()


class Refused(HooxError):
    """The request was misused or is not safe; nothing was changed and nothing was sent."""

    exit_code = 2


class ChangedMeanwhile(HooxError):
    """Somebody else changed the ledger after the moment from which it was to be changed; nothing was done."""


class StatementError(HooxError):
    """The database engine would not run a statement; whatever belonged to its unit was undone.

    `message` is the engine's own text, `sql` the statement, `offset` the character position in it
    where the engine stumbled (None where it does not tell), `index` the statement's place in its
    batch, counted from 0 (None where the engine does not tell).
    """

    def __init__(
        self,
        message: str,
        *,
        sql: str = "",
        offset: int | None = None,
        index: int | None = None,
        remedy: str = "",
        detail: str = "",
    ) -> None:
        sentence = message if message.endswith((".", "!", "?")) else f"{message}."
        super().__init__(sentence, remedy, detail=detail)
        self.message = message
        self.sql = sql
        self.offset = offset
        self.index = index

    @property
    def missing_table(self) -> str:
        """The table that the statement asks for and the ledger does not have; empty for any other error."""
        match = re.search(_MISSING_TABLE, self.message)
        return match[1] if match else ""


class RemoteError(HooxError):
    """D1's API, or the way to it, failed.

    `status` is the HTTP status (0 where there was no answer), `code` Cloudflare's error code (0 where
    there was none). `ambiguous` is true where a write may or may not have happened.
    """

    def __init__(
        self,
        problem: str,
        remedy: str = "",
        *,
        status: int = 0,
        code: int = 0,
        ambiguous: bool = False,
    ) -> None:
        super().__init__(problem, remedy)
        self.status = status
        self.code = code
        self.ambiguous = ambiguous
