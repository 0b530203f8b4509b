"""One step at a time is the whole sequence."""

from __future__ import annotations

import numpy as np
import pytest

from cases import CASES
from conveyor import ConveyorError, ops

PLAIN = [
    case for case in CASES if not case.go_backwards and case.dropout == "none" and not case.resets
]
PLAIN = [case for case in PLAIN if case.recurrent_dropout == "none"]


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)
def test_steps_are_the_whole(case):
    given = case.arguments("float32")
    x, mask = given.pop("x"), given.pop("mask", None)
    states = [given.pop(name, None) for name in ("hidden_state", "cell_state")]
    outside = ("go_backwards", "dropout_mask", "recurrent_dropout_mask", "resets")
    given = {name: value for name, value in given.items() if name not in outside}
    names = ("hidden_states", "cell_states")
    before = dict(zip(("hidden_state", "cell_state"), states, strict=True))
    every = ops.lstm(x, **given, **before, mask=mask, outputs=names)
    for t in range(x.shape[1]):
        states = ops.lstm_step(x[:, t], *states, **given, mask=None if mask is None else mask[:, t])
        for state, wanted in zip(states, every, strict=True):
            np.testing.assert_allclose(state, wanted[:, t], atol=1e-5)


def test_a_sequence_is_refused():
    with pytest.raises(ConveyorError, match=r"x\[:, t\]"):
        ops.lstm_step(np.ones((2, 5, 3)), None, None, np.ones((3, 16)), np.ones((4, 16)))
