"""gate_weights(): the article's W and b, the same numbers as Keras's packed arrays."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from keras import layers

import conveyor
from conveyor import ConveyorError
from conveyor._vocabulary import GATE_NAMES, GRU_GATE_NAMES
from conveyor.layers import gate_weights, set_gate_weights
from conveyor.layers._gate_weights import GATES, GRU_GATES
from frameworks import assert_close, to_numpy

UNITS, FEATURES = 3, 5
rng = np.random.default_rng(0)


def built(kind=conveyor.LSTM, **arguments):
    # Keras's own initializer of it is not there for 16 bits on JAX.
    layer = kind(UNITS, recurrent_initializer="glorot_uniform", **arguments)
    layer.build((None, FEATURES) if isinstance(layer, layers.LSTMCell) else (None, 7, FEATURES))
    draw = np.random.default_rng(1)
    layer.set_weights([draw.normal(size=w.shape).astype("float32") for w in layer.get_weights()])
    return layer


def bits(layer):
    return [to_numpy(w).tobytes() for w in layer.weights]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_the_gates_are_those_of_the_vocabulary_in_its_order() -> None:
    for gates, names in ((GATES, GATE_NAMES), (GRU_GATES, GRU_GATE_NAMES)):
        assert [f"{g}{'s' if g == 'candidate' else '_gates'}" for g in gates] == [*names]


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kind", [conveyor.LSTM, layers.LSTM])
def test_the_article_with_these_weights_is_the_layer(kind, use_bias) -> None:
    layer = built(kind, use_bias=use_bias, return_sequences=True)
    x = rng.normal(size=(1, 7, FEATURES)).astype("float32")
    weights = gate_weights(layer)
    assert list(weights) == ["input", "forget", "candidate", "output"]
    h, c, hidden_states = np.zeros(UNITS), np.zeros(UNITS), []
    for x_t in x[0]:
        joined = np.concatenate([h, x_t])
        z = {gate: W @ joined + (0 if b is None else b) for gate, (W, b) in weights.items()}
        c = sigmoid(z["forget"]) * c + sigmoid(z["input"]) * np.tanh(z["candidate"])
        h = sigmoid(z["output"]) * np.tanh(c)
        hidden_states.append(h)
    assert_close(layer(x)[0], np.stack(hidden_states))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kind", [conveyor.LSTM, conveyor.LSTMCell, layers.LSTM, layers.LSTMCell])
def test_round_trip_is_exact(kind, use_bias, dtype) -> None:
    layer, other = (built(kind, use_bias=use_bias, dtype=dtype) for _ in range(2))
    other.set_weights([0 * to_numpy(w) for w in layer.weights])
    assert bits(layer) != bits(other)
    set_gate_weights(other, gate_weights(layer))
    assert bits(layer) == bits(other)


def test_what_is_given_is_a_copy() -> None:
    layer = built()
    before = bits(layer)
    weights = layer.gate_weights()
    for W, b in weights.values():
        W[:], b[:] = 0, 0
    assert bits(layer) == before
    layer.set_gate_weights(weights)
    assert not any(to_numpy(w).any() for w in layer.weights)


def test_lists_and_tensors_are_taken_too() -> None:
    layer = built()
    before = bits(layer)
    weights = {
        gate: [keras.ops.convert_to_tensor(W), b.tolist()]
        for gate, (W, b) in layer.gate_weights().items()
    }
    layer.set_weights([0 * w for w in layer.get_weights()])
    layer.set_gate_weights(weights)
    assert bits(layer) == before


def test_a_direction_of_a_bidirectional_has_its_own() -> None:
    both = layers.Bidirectional(layers.LSTM(UNITS))
    both.build((None, 7, FEATURES))
    assert gate_weights(both.backward_layer)["output"][0].shape == (UNITS, UNITS + FEATURES)
    with pytest.raises(ConveyorError, match=r"gate_weights\(layer.forward_layer\)"):
        gate_weights(both)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("forget"), "without 'forget'"),
        (lambda w: w.update(cell=w.pop("candidate")), "without 'candidate' and one with 'cell'"),
        (lambda w: w.update(input=w["input"][0]), "(W, b) for 'input'; got ndarray"),
        (
            lambda w: w.update(input=(w["input"][0].T, w["input"][1])),
            "W of 'input' of shape (units, units + features) = (3, 8); got shape (8, 3)",
        ),
        (
            lambda w: w.update(output=(w["output"][0], np.zeros(4))),
            "b of 'output' of shape (units,) = (3,); got shape (4,)",
        ),
        (lambda w: w.update(output=(w["output"][0], None)), "np.zeros(3)"),
        (lambda w: w.update(output=(w["output"][0] > 0, w["output"][1])), "dtype bool"),
        (lambda w: w.update(output=(w["output"][0].astype(str), w["output"][1])), "dtype <U"),
    ],
)
def test_wrong_weights_are_refused_and_nothing_is_set(change, said) -> None:
    layer = built()
    before = bits(layer)
    weights = {gate: (2 * W, b) for gate, (W, b) in layer.gate_weights().items()}
    change(weights)
    with pytest.raises(ConveyorError, match=re.escape(said)):
        layer.set_gate_weights(weights)
    assert bits(layer) == before


def test_a_bias_for_a_layer_without_one_is_refused() -> None:
    with pytest.raises(ConveyorError, match="use_bias=False; got an array of shape"):
        built(use_bias=False).set_gate_weights(built().gate_weights())


def test_layers_without_gates_or_weights_are_told_what_to_write() -> None:
    with pytest.raises(ConveyorError, match="it is not built"):
        conveyor.LSTM(3).gate_weights()
    with pytest.raises(ConveyorError, match=r"cell.build\(\(None, features\)\)"):
        set_gate_weights(layers.LSTMCell(3), {})
    with pytest.raises(ConveyorError, match="one LSTM or GRU layer; got SimpleRNN"):
        gate_weights(layers.SimpleRNN(3))
    model = keras.Sequential([keras.Input((7, 5)), layers.Dense(4), layers.LSTM(3, name="second")])
    with pytest.raises(ConveyorError, match=r'get_layer\("second"\)'):
        gate_weights(model)
    with pytest.raises(ConveyorError, match="a dictionary with the gates"):
        built().set_gate_weights(built().get_weights())
