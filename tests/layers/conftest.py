"""For tests of layers that share a call of the core."""

from __future__ import annotations

import pytest

from conveyor._engines import _together, glue


@pytest.fixture
def calls(monkeypatch):
    """How many requests each call of the core had, in both directions: see `one_call.numbers`."""
    seen: list[int] = []
    for name in ("forward", "backward"):
        run = getattr(_together, name)
        monkeypatch.setattr(
            _together, name, lambda given, run=run: (seen.append(len(given)), run(given))
        )
    return seen


@pytest.fixture
def asked(monkeypatch):
    """How many requests the native engine is asked for at once, whatever it makes of them."""
    seen: list[int] = []
    together = glue.active().native_together

    def counted(requests):
        seen.append(len(requests))
        return together(requests)

    monkeypatch.setattr(glue.active(), "native_together", counted)
    return seen
