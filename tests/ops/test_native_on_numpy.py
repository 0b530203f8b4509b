"""The native engine on Keras's NumPy backend, which has no gradients."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from cases import CASES, Case
from conveyor import LSTM, _engines, ops
from conveyor._vocabulary import GRU_STATE_NAMES, STATE_NAMES
from frameworks import assert_close, only_on
from grus import LARGE, SMALL, GRUCase, reference_gru
from oracles import reference_forward

pytestmark = [
    only_on("numpy"),
    pytest.mark.skipif(
        _engines.engines()[0].missing is not None, reason=str(_engines.engines()[0].missing)
    ),
]


@pytest.mark.parametrize("engine", ["native", "portable"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_all_eight_states(case: Case, engine: str) -> None:
    arguments = case.arguments("float32")
    expected = reference_forward(**arguments)
    actual = ops.lstm(**arguments, outputs=STATE_NAMES, engine=engine)
    for name, value in zip(STATE_NAMES, actual, strict=True):
        assert_close(value, expected[name])


@pytest.mark.parametrize("engine", ["native", "portable"])
@pytest.mark.parametrize("case", SMALL + LARGE, ids=str)
def test_all_five_states_of_a_gru(case: GRUCase, engine: str) -> None:
    arguments = case.arguments("float32")
    expected = reference_gru(**arguments)
    actual = ops.gru(**arguments, outputs=GRU_STATE_NAMES, engine=engine)
    for name, value in zip(GRU_STATE_NAMES, actual, strict=True):
        assert_close(value, expected[name])


def test_bfloat16_with_a_cell_state_of_either_width() -> None:
    case = Case(name="wide", batch=3, time_steps=6, features=8, units=5, initial_states=True)
    given = case.arguments(ml_dtypes.bfloat16)
    exact = {n: a.astype("float64") if hasattr(a, "dtype") else a for n, a in given.items()}
    expected = reference_forward(**exact)
    for width in (ml_dtypes.bfloat16, "float32"):
        changed = {**given, "cell_state": given["cell_state"].astype(width)}
        states = ops.lstm(**changed, outputs=STATE_NAMES, engine="native")
        for name, value in zip(STATE_NAMES, states, strict=True):
            assert value.dtype == ml_dtypes.bfloat16
            assert_close(value.astype("float32"), expected[name], "bfloat16")


def test_a_layer_runs_on_it() -> None:
    layer = LSTM(4, outputs=("hidden_states", "cell_state"))
    x = np.random.default_rng(0).normal(size=(2, 7, 3)).astype("float32")
    hs, c = layer(x)
    assert layer.explain_engine() == "native engine"
    portable = LSTM(4, outputs=("hidden_states", "cell_state"), engine="portable")
    portable.build(x.shape)
    portable.set_weights(layer.get_weights())
    for actual, expected in zip((hs, c), portable(x), strict=True):
        assert_close(actual, expected)
