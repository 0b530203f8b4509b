"""`remat=`: the same numbers and gradients, with what is between kept states computed again."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from cases import Case
from conveyor import LSTM, ConveyorError, ops
from frameworks import BACKEND, assert_close, compiled, gradients, to_numpy

CASE = Case(
    name="remat",
    time_steps=11,
    mask="holes",
    initial_states=True,
    go_backwards=True,
    dropout="shared",
    recurrent_dropout="per_gate",
)
ARRAYS = ("x", "kernel", "recurrent_kernel", "bias", "hidden_state", "cell_state")
NAMES = ("cell_states", "hidden_state", "input_gates", "cell_state")


@pytest.mark.parametrize(
    ("k", "engine"), [(1, "auto"), (4, "auto"), (11, "auto"), (50, "auto"), (4, "portable")]
)
def test_the_same_numbers_and_gradients(k, engine) -> None:
    given = CASE.arguments("float32")
    given["resets"] = np.arange(33).reshape(3, 11) % 5 == 4
    tensors = [given[n] for n in ARRAYS]

    def run(remat):
        def states(*arrays):
            changed = dict(zip(ARRAYS, arrays, strict=True))
            return ops.lstm(**{**given, **changed}, outputs=NAMES, engine=engine, remat=remat)

        values = [to_numpy(value) for value in states(*tensors)]
        return values, gradients(states, tensors, [np.cos(7 * value) for value in values])

    for actual, expected in zip(run(k), run(None), strict=True):
        for a, b in zip(actual, expected, strict=True):
            assert_close(to_numpy(a), to_numpy(b), "float32", scale=5)


def test_compiled() -> None:
    x = CASE.arguments("float32")["x"]
    layer, plain = LSTM(4, remat=3, return_sequences=True), LSTM(4, return_sequences=True)
    for each in (layer, plain):
        each.build((None, None, x.shape[-1]))
    plain.set_weights(layer.get_weights())
    assert_close(compiled(layer)(keras.ops.convert_to_tensor(x)), plain(x), "float32")


@pytest.mark.skipif(BACKEND == "numpy", reason="no training")
def test_a_model_learns_the_same(tmp_path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 10, 3)), rng.normal(size=(4, 1))

    def model_of(remat):
        keras.utils.set_random_seed(0)
        layers = [LSTM(4, return_sequences=True, remat=remat), LSTM(5, remat=remat)]
        model = keras.Sequential([keras.Input((None, 3)), *layers, keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(x, y, epochs=2, verbose=0)
        return model

    model = model_of(4)
    for actual, expected in zip(model.get_weights(), model_of(None).get_weights(), strict=True):
        assert_close(actual, expected, "float32")
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").layers[0].remat == 4


def test_an_empty_batch_and_a_number_of_numpy() -> None:
    layer = LSTM(4, remat=np.int64(2), return_sequences=True)
    assert tuple(layer(np.ones((0, 5, 3), "float32")).shape) == (0, 5, 4)
    assert type(layer.get_config()["remat"]) is int


@pytest.mark.parametrize("remat", [0, -3, 2.5, True, "many"])
def test_what_it_may_be(remat) -> None:
    with pytest.raises(ConveyorError, match="remat to be None or a number of time steps"):
        LSTM(3, remat=remat)


def test_what_it_does_not_go_with() -> None:
    given = Case(name="resets", resets=True).arguments("float32")
    with pytest.raises(ConveyorError, match="booleans for resets"):
        ops.lstm(**given, remat=2)
    with pytest.raises(ConveyorError, match="rounded between segments"):
        LSTM(3, remat=2, dtype="mixed_bfloat16")(given["x"])
