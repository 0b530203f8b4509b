"""`ops.lstm` beyond the plain LSTM, against the equations in NumPy and finite differences."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from conveyor import activations, ops
from conveyor._engines import engines
from conveyor._engines._activations import _OF_KERAS, code, function_of, text_of
from conveyor._vocabulary import STATE_NAMES
from frameworks import assert_close, gradients
from variants import VARIANTS, Variant, reference

FLOATS = (
    "x",
    "kernel",
    "recurrent_kernel",
    "bias",
    "hidden_state",
    "cell_state",
    "peephole",
    "output_kernel",
    "output_bias",
    "projection_kernel",
    "gate_scale",
    "cell_scale",
    "cell_shift",
)
by_name = pytest.mark.parametrize("variant", VARIANTS, ids=str)
pytestmark = pytest.mark.one_of(11)
ENGINES = [engine.name for engine in engines() if engine.missing is None]


ACTIVATIONS = [
    *(name for name in _OF_KERAS if hasattr(keras.activations, name)),
    activations.Affine(0.7, 0.1),
    activations.LeakyRelu(0.3),
    activations.ThresholdedRelu(0.4),
    activations.ScaledTanh(1.7159, 2 / 3),
    activations.HardSigmoid(),
    activations.Elu(0.6),
]


@by_name
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_eight_states(variant: Variant, engine: str, dtype: str) -> None:
    arguments = variant.arguments(dtype)
    expected = reference(**arguments)
    actual = ops.lstm(**arguments, outputs=STATE_NAMES, engine=engine)
    for name, value in zip(STATE_NAMES, actual, strict=True):
        assert value.dtype == dtype
        assert_close(value, expected[name], dtype, scale=10)


@by_name
@pytest.mark.parametrize("engine", ENGINES)
def test_gradients(variant: Variant, engine: str) -> None:
    """Along a random direction of each array; with all at once, one hides in the other's error."""
    arguments = variant.arguments()
    names = [n for n in FLOATS if arguments.get(n) is not None]
    rng = np.random.default_rng(3)
    states = reference(**arguments)
    cotangents = {n: rng.normal(size=states[n].shape) for n in STATE_NAMES}

    def run(*arrays):
        given = {**arguments, **dict(zip(names, arrays, strict=True))}
        return ops.lstm(**given, outputs=STATE_NAMES, engine=engine)

    found = gradients(run, [arguments[n] for n in names], [cotangents[n] for n in STATE_NAMES])

    def loss(**moved):
        states = reference(**{**arguments, **moved})
        return sum(np.sum(states[n] * cotangents[n]) for n in STATE_NAMES)

    for name, gradient in zip(names, found, strict=True):
        direction = rng.normal(size=arguments[name].shape)
        step = 1e-6 * direction
        wanted = (
            loss(**{name: arguments[name] + step}) - loss(**{name: arguments[name] - step})
        ) / 2e-6
        got = np.sum(gradient * direction)
        np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=2e-6, err_msg=name)


PLACES = ("activation", "recurrent_activation", "output_activation")
AT_EACH = [(activation, place) for activation in ACTIVATIONS for place in PLACES]


@pytest.mark.parametrize(("activation", "place"), AT_EACH, ids=str)
@pytest.mark.skipif("native" not in ENGINES, reason="there is no native engine")
def test_every_activation_natively(activation, place: str) -> None:
    """Against the function itself, on the portable engine."""
    # Each place by itself: an exponential of exponentials is past what float32 holds.
    arguments = {**VARIANTS[0].arguments("float32"), "output_activation": "tanh", place: activation}
    names = ("x", "kernel", "recurrent_kernel", "cell_state")
    arguments["x"] = 0.5 * arguments["x"][:, :3]

    def of(engine: str):
        def run(*arrays):
            given = {**arguments, **dict(zip(names, arrays, strict=True))}
            return [ops.lstm(**given, engine=engine)]

        arrays = [arguments[n] for n in names]
        (states,) = run(*arrays)
        return [
            states,
            *gradients(run, arrays, [np.cos(np.arange(states.size)).reshape(states.shape)]),
        ]

    for native, portable in zip(of("native"), of("portable"), strict=True):
        atol = 1e-5 * max(1, np.abs(portable).max())
        np.testing.assert_allclose(native, portable, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("activation", ACTIVATIONS[-6:], ids=str)
def test_activations_with_numbers_are_kept(activation) -> None:
    kept = keras.activations.deserialize(keras.activations.serialize(activation))
    assert kept == activation == function_of(text_of(activation))
    assert code(text_of(activation)).alpha == activation.alpha
