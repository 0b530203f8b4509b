"""Every error of `ops.lstm` says what it wants, what it got and what to write."""

from __future__ import annotations

import numpy as np
import pytest

from cases import Case
from conveyor import ConveyorError, ops
from conveyor._engines import _native
from frameworks import BACKEND

X = np.zeros((2, 6, 4), "float32")


def lstm(**changed):
    arguments = Case(name="plain", batch=2, time_steps=6, features=4, units=3).arguments("float32")
    return ops.lstm(**{**arguments, **changed})


@pytest.mark.parametrize(
    ("changed", "expected", "got", "write"),
    [
        ({"x": X[0]}, "(batch, time_steps, features)", "(6, 4)", "Write x[None]"),
        ({"x": X[0]}, "(batch, time_steps, features)", "(6, 4)", "Write x[..., None]"),
        ({"x": X[None]}, "(batch, time_steps, features)", "(1, 2, 6, 4)", "TimeDistributed"),
        ({"x": X[:, :0]}, "at least one time step", "(2, 0, 4)", "Leave empty"),
        ({"x": X[:, :, :3]}, "kernel of shape (3, 12)", "(4, 12)", "(features, 4 * units)"),
        ({"x": X.tolist()}, "x to be an array", "list", "np.asarray(x)"),
        ({"kernel": None}, "kernel to be an array", "NoneType", "np.asarray(kernel)"),
        ({"x": X.astype("int32")}, "floating-point", "int32", "Embedding"),
        ({"kernel": np.zeros((4, 12))}, "dtype of x, float32", "kernel in float64", "cast(kernel"),
        (
            {"recurrent_kernel": np.zeros((12, 3), "float32")},
            "(units, 4 * units)",
            "(12, 3)",
            "transpose",
        ),
        ({"bias": np.zeros(3, "float32")}, "bias of shape (12,)", "(3,)", "bias (4 * units,)"),
        ({"mask": np.ones((2, 5), bool)}, "(2, 6)", "(2, 5)", "tokens != 0"),
        ({"mask": np.ones((2, 6, 1), bool)}, "(2, 6)", "(2, 6, 1)", "mask[..., 0]"),
        ({"lengths": [7, 1]}, "0 to time_steps = 6", "lengths[0] = 7", "lengths=[...]"),
        ({"lengths": [1, -1]}, "0 to time_steps = 6", "lengths[1] = -1", "lengths=[...]"),
        ({"lengths": [1]}, "(batch,) = (2,)", "(1,)", "lengths=[...]"),
        ({"lengths": [1.0, 2.0]}, "whole numbers", "float64", "lengths=[...]"),
        (
            {"hidden_state": np.zeros((2, 4), "float32")},
            "(batch, units) = (2, 3)",
            "(2, 4)",
            "hidden_state",
        ),
        (
            {"cell_state": np.zeros((1, 3), "float32")},
            "(batch, units) = (2, 3)",
            "(1, 3)",
            "cell_state",
        ),
        ({"dropout_mask": np.zeros((2, 3), "float32")}, "(2, 4) or (4, 2, 4)", "(2, 3)", "axes"),
        ({"outputs": "cell_sates"}, "name states", "'cell_sates'", "'cell_states'"),
        ({"outputs": ()}, "at least one name", "()", "Choose from"),
        ({"outputs": ("cell_state",) * 2}, "each name once", "cell_state", "Use the tensor twice"),
        ({"engine": "fast"}, "'portable'", "'fast'", 'engine="auto"'),
        (
            {"engine": "native", "activation": "softmax"},
            "native engine can run",
            "activation=softmax" if _native.missing() is None else "native",
            'engine="auto"',
        ),
    ],
)
def test_teaches(changed, expected, got, write) -> None:
    with pytest.raises(ConveyorError) as error:
        lstm(**changed)
    text = str(error.value)
    assert "conveyor.ops.lstm expects" in text
    for part in (expected, got, write):
        assert part in text


def test_arrays_of_another_framework() -> None:
    other = "torch" if BACKEND != "torch" else "jax"
    library = pytest.importorskip(other, reason=f"needs arrays of {other}")
    x = library.ones((2, 6, 4)) if other == "torch" else library.numpy.ones((2, 6, 4))
    with pytest.raises(ConveyorError, match=f'"KERAS_BACKEND"\\] = "{other}"'):
        lstm(x=x)
