"""memory_estimate: bytes from shapes, before a model runs."""

from __future__ import annotations

import keras
import pytest
from keras import layers

import conveyor
from conveyor import LSTM, ConveyorError, memory_estimate
from conveyor._engines import _library

FLOAT = 4


def model_of(**arguments):
    x = keras.Input((None, 16))
    y = LSTM(32, return_sequences=True, name="lstm", **arguments)(x)
    return keras.Model(x, layers.Dense(1)(y))


def need(estimate, what):
    (found,) = [each for each in estimate.needs if what in each.what]
    return found


def test_what_is_kept_and_what_is_returned() -> None:
    estimate = memory_estimate(model_of(engine="native"), batch=4, time_steps=100)
    problem = _library.Problem("float32", 4, 100, 16, 32)
    hidden_states = 4 * 100 * 32 * FLOAT
    kept = need(estimate, "kept for its gradient")
    assert kept.training == _library.reserve_bytes(problem) + hidden_states
    assert kept.inference == 0
    assert need(estimate, "lstm: returned").training == hidden_states
    assert need(estimate, "dense").inference == 4 * 100 * FLOAT
    weights = (16 + 32 + 1) * 4 * 32 + 33
    assert need(estimate, "weights").training == 4 * weights * FLOAT  # Adam has two for each
    assert estimate.training == sum(each.training for each in estimate.needs)
    assert estimate.at_least == ()


def test_a_compiled_model_is_counted_with_its_own_optimizer() -> None:
    model = model_of()
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_weights)
    weights = (16 + 32 + 1) * 4 * 32 + 33
    estimate = memory_estimate(model, 1, 1)
    assert 0 <= need(estimate, "weights").training - 2 * weights * FLOAT < 100


def test_remat_keeps_less() -> None:
    whole, kept = (memory_estimate(model_of(remat=k), 1, 10_000) for k in (None, 100))
    before, after = (need(e, "kept for its gradient").training for e in (whole, kept))
    assert after < before / 8


def test_layers_of_keras_take_at_least_so_much() -> None:
    inner = keras.Sequential([keras.Input((None, 3)), layers.LSTM(4, name="reader")])
    x = keras.Input((7, 3))
    both = layers.Bidirectional(layers.LSTM(4, name="two"))(x)
    model = keras.Model(x, layers.Concatenate()([inner(x), both]))
    estimate = memory_estimate(model, 2, 1)
    assert len(estimate.at_least) == 3
    assert "reader: at least" in str(estimate)
    # The model says how many steps, not the argument.
    assert need(estimate, "reader: kept").training == 7 * 2 * 10 * 4 * FLOAT


KERAS_OWN = {
    "gru": (lambda: layers.GRU(8, name="own"), 1, 8 * 8),
    "cell": (lambda: layers.RNN(layers.GRUCell(8), name="own"), 1, 8 * 8),
    "ours in keras": (lambda: layers.RNN(conveyor.GRUCell(8), name="own"), 1, 8 * 8),
    "directions": (lambda: layers.Bidirectional(layers.GRU(8, name="own")), 2, 8 * 8),
    "stack": (
        lambda: layers.RNN([layers.GRUCell(8), layers.LSTMCell(4)], name="own"),
        1,
        8 * 8 + 10 * 4,
    ),
}


@pytest.mark.parametrize("kind", KERAS_OWN)
def test_grus_and_stacks_of_keras(kind) -> None:
    make, several, numbers = KERAS_OWN[kind]
    model = keras.Sequential([keras.Input((None, 3)), make()])
    estimate = memory_estimate(model, 2, 5)
    kept = [each for each in estimate.needs if "own: kept for its gradient" in each.what]
    assert [each.training for each in kept] == [5 * 2 * numbers * FLOAT] * several
    assert len(estimate.at_least) == several


def test_layers_that_run_here_take_what_ours_take() -> None:
    def estimates(*kinds):
        models = [keras.Sequential([keras.Input((None, 3)), kind(8, name="g")]) for kind in kinds]
        return [need(memory_estimate(model, 2, 5), "g: kept") for model in models]

    with conveyor.patch_keras():
        theirs, ours = estimates(layers.GRU, conveyor.GRU)
    assert theirs == ours


def test_other_cells_are_named() -> None:
    model = keras.Sequential([keras.Input((None, 3)), layers.SimpleRNN(4, name="simple")])
    assert memory_estimate(model, 2, 5).at_least == ("simple",)


@pytest.mark.parametrize("sizes", [(0, 5), (3, 2.5), (True, 5), ("many", 5)])
def test_sizes_are_whole_numbers(sizes) -> None:
    with pytest.raises(ConveyorError, match="whole number, at least 1"):
        memory_estimate(model_of(), *sizes)
