"""Ctrl-C during a long call of the core.

Python runs the handlers of signals in the main thread, where its interpreter runs next.
During a call of the core that is in `interrupted`, which the core calls every 50 ms or so.
What a handler raises there would be printed and forgotten by ctypes: it is carried past the
core, and raised where the call returns.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from ctypes import CFUNCTYPE, c_int, c_void_p, cast
from typing import Any


class Watch:
    """What the core asks during a call of the main thread, until a handler has raised."""

    def __init__(self) -> None:
        self._raised: BaseException | None = None
        self._answers: Any = self._run_handlers()
        # A C function around a method of C: no line of Python runs outside the `try` below.
        self._callback = CFUNCTYPE(c_int)(self._answers.__next__)
        self.address = cast(self._callback, c_void_p).value or 0
        next(self._answers)
        self.settle()

    def _run_handlers(self) -> Generator[int, None, None]:
        # A generator and not a function, as handlers run where Python resumes: on the way
        # into a function, which is before any `try` in it, but here inside this one.
        try:
            while True:
                yield 0
        except GeneratorExit:
            raise
        except BaseException as error:
            self._raised = error
        yield 1

    @property
    def busy(self) -> bool:
        """Whether a handler is running, which called the core again."""
        running: bool = self._answers.gi_running
        return running

    def settle(self) -> None:
        """Raise what a handler raised; a new watch takes over."""
        global _watch  # noqa: PLW0603
        if self._raised is not None:
            _watch = Watch()
            raise self._raised


_watch = Watch()


def watch() -> Watch | None:
    """Who watches a call that begins now; nobody outside the main thread."""
    if threading.current_thread() is not threading.main_thread() or _watch.busy:
        return None
    return _watch
