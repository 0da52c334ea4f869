"""Imports that wait for their first use."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from hoox_tasks import views
from hoox_tasks.lazy import lazy_imports


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the package that nobody has imported yet."""
    name = "hoox_tasks.views.reference"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr(views, "reference", raising=False)
    return name


def test_a_module_is_executed_when_a_name_of_it_is_asked_for(unknown: str) -> None:
    """Until then it is there, and has not run."""
    with lazy_imports():
        from hoox_tasks.views import reference
    assert type(sys.modules[unknown]) is not ModuleType
    assert callable(reference.write_reference)
    assert type(sys.modules[unknown]) is ModuleType


def test_imports_outside_of_the_block_are_as_ever(unknown: str) -> None:
    """What comes behind it is executed at once, and nothing is left on the way of imports."""
    finders = list(sys.meta_path)
    with pytest.raises(ZeroDivisionError), lazy_imports():
        raise ZeroDivisionError
    assert sys.meta_path == finders
    from hoox_tasks.views import reference

    assert type(reference) is ModuleType
