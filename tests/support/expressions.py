"""GitHub's expressions, as far as our workflows use them: `${{ a.b && 'c' || format('{0}', d) }}`.

https://docs.github.com/en/actions/reference/workflows-and-actions/expressions
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(-?\d+(?:\.\d+)?)|([A-Za-z_][\w.-]*)|(&&|\|\||==|!=|[!(),]))")
_WORDS = {"true": True, "false": False, "null": None}


class Expressions:
    """Evaluates expressions in contexts; `status` says how the job goes: success, failure or cancelled."""

    def __init__(self, contexts: Mapping[str, Any], status: str = "success") -> None:
        self.contexts = contexts
        self._functions: dict[str, Callable[..., Any]] = {
            "always": lambda: True,
            "success": lambda: status == "success",
            "failure": lambda: status == "failure",
            "cancelled": lambda: status == "cancelled",
            "format": lambda text, *values: re.sub(r"\{(\d+)\}", lambda m: text_of(values[int(m[1])]), text),
        }

    def expand(self, text: Any) -> str:
        """Put values in the place of every `${{ ... }}`."""
        if not isinstance(text, str):
            return text_of(text)
        return re.sub(r"\$\{\{(.*?)\}\}", lambda match: text_of(self.value(match[1])), text)

    def holds(self, condition: Any) -> bool:
        """Whether a step's `if` lets it run: without a function of the status only after success."""
        text = str(condition).strip().removeprefix("${{").removesuffix("}}")
        if not re.search(r"\b(always|failure|cancelled|success)\(", text):
            text = f"success() && ({text})"
        return bool(self.value(text))

    def value(self, expression: str) -> Any:
        """The value of an expression; raises `AssertionError` for what GitHub would not take."""
        self._tokens, place = [], 0
        while expression[place:].strip():
            match = _TOKEN.match(expression, place)
            assert match, f"This is no expression: {expression}"
            self._tokens.append(match[0].strip())
            place = match.end()
        value = self._any()
        assert not self._tokens, f"This is left of {expression}: {self._tokens}"
        return value

    def _any(self) -> Any:
        value = self._all()
        while self._took("||"):
            other = self._all()
            value = value or other
        return value

    def _all(self) -> Any:
        value = self._equal()
        while self._took("&&"):
            other = self._equal()
            value = value and other
        return value

    def _equal(self) -> Any:
        value = self._single()
        while self._tokens[:1] in (["=="], ["!="]):
            equal = self._tokens.pop(0) == "=="
            value = (_comparable(value) == _comparable(self._single())) is equal
        return value

    def _single(self) -> Any:
        if self._took("!"):
            return not self._single()
        if self._took("("):
            value = self._any()
            assert self._took(")")
            return value
        word = self._tokens.pop(0)
        if word.startswith("'"):
            return word[1:-1].replace("''", "'")
        if re.fullmatch(r"-?\d+(\.\d+)?", word):
            return float(word)
        if self._took("("):
            arguments = []
            while not self._took(")"):
                arguments.append(self._any())
                self._took(",")
            return self._functions[word](*arguments)
        if word in _WORDS:
            return _WORDS[word]
        context, *names = word.split(".")
        found: Any = self.contexts[context]  # A context that is not known is a mistake, a property is empty.
        for name in names:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def _took(self, token: str) -> bool:
        if self._tokens[:1] != [token]:
            return False
        self._tokens.pop(0)
        return True


def text_of(value: Any) -> str:
    """A value as GitHub writes it into a text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def _comparable(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value
