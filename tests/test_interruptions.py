"""Ctrl-C and SIGTERM in blocks that nothing may break into."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hoox_tasks import interruptions


def _send(number: int, *, from_thread: bool) -> None:
    if not from_thread:
        signal.raise_signal(number)
        return
    # The system gives a signal of a process to any of its threads.
    thread = threading.Thread(target=signal.raise_signal, args=[number])
    thread.start()
    thread.join()


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """Python's own handler, also where the tests run in the background of a shell."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.parametrize("from_thread", [False, True], ids=["main", "thread"])
def test_what_is_held_comes_at_the_end(from_thread: bool) -> None:
    """Ctrl-C in a block that holds it is raised behind the block, once, whichever thread takes it."""
    reached: list[bool] = []

    def block() -> None:
        with interruptions.held():
            _send(signal.SIGINT, from_thread=from_thread)
            _send(signal.SIGINT, from_thread=from_thread)
            reached.append(True)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert reached == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("from_thread", [False, True], ids=["main", "thread"])
def test_what_is_dropped_never_comes(number: signal.Signals, from_thread: bool) -> None:
    """A block that drops interruptions is finished, and the program goes on."""
    with interruptions.dropped():
        _send(number, from_thread=from_thread)
    assert signal.getsignal(number) in {signal.default_int_handler, signal.SIG_DFL}


def test_what_is_ignored_stays_ignored() -> None:
    """A program in the background, whose shell ignores Ctrl-C, does not begin to listen to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruptions.held():
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_another_thread_may_hold() -> None:
    """A thread that holds interruptions, which only the main one gets, works as without."""
    done: list[bool] = []

    def work() -> None:
        with interruptions.held(), interruptions.dropped():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


def _end_of(block: Callable[[], None], number: int | None = None, **limits: Any) -> list[BaseException]:
    """Give what the block that is endable was ended for, which here does not end the process."""
    ends: list[BaseException] = []
    signal.signal(signal.SIGINT, lambda *_: None)  # It comes to nobody's ears.
    with interruptions.watched(ends.append):
        with interruptions.endable(**limits):
            if number:
                signal.raise_signal(number)
            block()
        time.sleep(0.2)
    return ends


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruptions, "GRACE", 0.1)
    monkeypatch.setattr(interruptions, "_LOOK", 0.01)


@pytest.mark.usefixtures("soon")
def test_what_does_not_hear_is_ended() -> None:
    """A block of C code that goes on after Ctrl-C, or after its time, is ended, and for what is told."""
    late = ValueError("late")
    assert {type(error) for error in _end_of(lambda: time.sleep(0.2), signal.SIGINT)} == {KeyboardInterrupt}
    assert set(_end_of(lambda: time.sleep(0.2), until=time.monotonic(), late=late)) == {late}
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.usefixtures("soon")
def test_what_hears_is_not_ended() -> None:
    """Neither is a block that ends by itself, nor one behind it, one that nothing may end, or another number."""
    assert _end_of(lambda: None, signal.SIGINT) == []
    assert _end_of(lambda: None, until=time.monotonic()) == []
    assert _end_of(lambda: time.sleep(0.2), getattr(signal, "SIGWINCH", None)) == []
    with interruptions.dropped():
        assert _end_of(lambda: time.sleep(0.2), until=time.monotonic()) == []
