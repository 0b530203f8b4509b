"""For tests of layers that share a call of the core."""

from __future__ import annotations

import pytest

from conveyor._engines import _together


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
