"""Ctrl-C as a request to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupt:
    """Whether Ctrl-C was pressed, and what then happens at once."""

    def __init__(self) -> None:
        self.requested = False
        self._raises = False

    @contextmanager
    def raising(self) -> Iterator[None]:
        """Here Ctrl-C raises KeyboardInterrupt, as elsewhere in Python."""
        self._raises = True
        try:
            yield
        finally:
            self._raises = False

    def request(self) -> None:
        """Take note of Ctrl-C."""
        self.requested = True
        if self._raises:
            raise KeyboardInterrupt


@contextmanager
def stopping_on_interrupt() -> Iterator[Interrupt]:
    """Ctrl-C is a request, the second one an exception, as long as this lasts.

    An exception in the midst of a batch would lose the weights: on JAX they are in the hands
    of the compiled step.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt  # Python takes signals in the main thread only
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(*_: Any) -> None:
        signal.signal(signal.SIGINT, before)
        interrupt.request()

    signal.signal(signal.SIGINT, handle)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
