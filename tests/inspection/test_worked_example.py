"""worked_example(): the numbers of one step are those of the layer."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import conveyor
from conveyor import ConveyorError
from conveyor.inspection._worked_example import worked_example
from frameworks import Unhashable, assert_close, to_numpy

B, T, F, U = 3, 6, 5, 4
X = np.random.default_rng(0).normal(size=(B, T, F)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 0, 0], [0, 1, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]], bool)
STATES = [np.random.default_rng(n).normal(size=(B, U)).astype("float32") for n in (1, 2)]


def built(kind=conveyor.LSTM, **arguments):
    layer = kind(U, **{"return_sequences": True, "return_state": True, **arguments})
    layer.build(X.shape)
    draw = np.random.default_rng(3)
    layer.set_weights([draw.normal(size=w.shape).astype("float32") for w in layer.get_weights()])
    return layer


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("kind", [conveyor.LSTM, layers.LSTM])
def test_every_step_of_every_sample_is_what_the_layer_gives(kind, go_backwards) -> None:
    layer = built(kind, go_backwards=go_backwards)
    hidden_states, *last = map(to_numpy, layer(X, mask=MASK, initial_state=STATES))
    read = hidden_states[:, ::-1] if go_backwards else hidden_states
    for sample in range(B):
        for step in range(T):
            example = worked_example(
                layer, X, sample=sample, step=step, mask=MASK, initial_state=STATES
            )
            assert example.masked == (not MASK[sample, step])
            if MASK[sample, step]:  # elsewhere the output is Keras's own affair
                assert_close(example.hidden_state, read[sample, step])
            if step == (0 if go_backwards else T - 1):
                assert_close(example.hidden_state, last[0][sample])
                assert_close(example.cell_state, last[1][sample])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"use_bias": False},
        {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
        {"activation": keras.activations.softsign, "recurrent_activation": Unhashable()},
    ],
)
def test_the_eight_states_are_those_of_the_recording(arguments) -> None:
    layer = built(**arguments)
    with conveyor.layers.recording() as records:
        layer(X)
    states = {name: to_numpy(value) for name, value in records[0].states.items()}
    example = worked_example(layer, X, sample=1, step=3)
    assert_close(example.hidden_state_before, states["hidden_states"][1, 2])
    assert_close(example.cell_state_before, states["cell_states"][1, 2])
    for gate, name in [
        ("input", "input_gates"),
        ("forget", "forget_gates"),
        ("candidate", "candidates"),
        ("output", "output_gates"),
    ]:
        assert_close(example.gates[gate], states[name][1, 3])
    assert_close(example.cell_state, states["cell_states"][1, 3])
    assert_close(example.hidden_state, states["hidden_states"][1, 3])


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("kind", [conveyor.LSTM, layers.LSTM])
def test_a_trace_has_the_same_numbers_under_the_same_names(kind, go_backwards) -> None:
    pytest.importorskip("xarray")
    layer = built(kind, go_backwards=go_backwards, name="lstm")
    node = conveyor.trace(layer, X, preactivations=True)["lstm"].to_dataset()
    numbers = worked_example(layer, X, sample=1, step=2).to_dict()
    traced = node.isel(sample=1, time=2)
    shared = {"hidden_states": "hidden_state", "cell_states": "cell_state"}
    for name in traced.data_vars:
        single = shared.get(name) or (name.removesuffix("s") if "time" in node[name].dims else None)
        if single is not None:
            assert_close(numbers[single], traced[name].values)
            shared[name] = single
    assert len(shared) == 10


@given(step=st.integers(-T, T - 1), sample=st.integers(-B, B - 1), backwards=st.booleans())
def test_each_step_begins_where_the_one_before_ended(step, sample, backwards) -> None:
    layer = LAYERS[backwards]
    example = worked_example(layer, X, sample=sample, step=step)
    assert (example.sample, example.step) == (sample % B, step % T)
    np.testing.assert_array_equal(example.x, X[sample, step])
    np.testing.assert_array_equal(example.joined[:U], example.hidden_state_before)
    before = example.step + 1 if backwards else example.step - 1
    if 0 <= before < T:
        earlier = worked_example(layer, X, sample=sample, step=before)
        assert_close(example.hidden_state_before, earlier.hidden_state, "float64")
        assert_close(example.cell_state_before, earlier.cell_state, "float64")
    else:
        assert not example.joined[:U].any()
    assert_close(example.kept, example.gates["forget"] * example.cell_state_before, "float64")


LAYERS = {backwards: built(go_backwards=backwards) for backwards in (False, True)}


def test_a_masked_step_changes_nothing_and_says_so() -> None:
    example = worked_example(built(), X, step=4, mask=MASK)
    assert example.masked
    np.testing.assert_array_equal(example.cell_state, example.cell_state_before)
    np.testing.assert_array_equal(example.hidden_state, example.hidden_state_before)
    assert all(np.isnan(numbers).all() for numbers in example.gates.values())
    for page in (str(example), example._repr_html_()):
        assert "Step 4 is masked" in page
        assert "nan" not in page
        assert "sigmoid" not in page


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_float16"])
def test_other_dtypes_to_their_rounding(dtype) -> None:
    layer = built(dtype=dtype, recurrent_initializer="glorot_uniform")
    output = layer(X)[0]
    example = worked_example(layer, X, sample=2, step=4)
    assert_close(example.hidden_state, output[2, 4], layer.compute_dtype)


def test_the_mask_of_an_embedding_is_found() -> None:
    x = layers.Embedding(9, F, mask_zero=True)(np.array([[3, 0, 2], [1, 1, 0], [4, 5, 6]]))
    assert worked_example(built(), x, step=1).masked
    assert not worked_example(built(), x, step=2).masked


@pytest.mark.parametrize("kind", [conveyor.LSTM, layers.LSTM])
def test_a_stateful_layer_goes_on_from_what_it_remembers(kind) -> None:
    layer = built(kind, stateful=True)
    assert not worked_example(layer, X).hidden_state_before.any()
    layer(X)
    example = worked_example(layer, X, sample=2)
    assert_close(example.hidden_state, to_numpy(layer(X)[0])[2, 0])


def test_both_directions_of_a_bidirectional_in_the_time_of_the_input() -> None:
    both = layers.Bidirectional(layers.LSTM(U, return_sequences=True))
    output = to_numpy(both(X))
    for layer, columns in ((both.forward_layer, slice(U)), (both.backward_layer, slice(U, None))):
        example = worked_example(layer, X, sample=1, step=2)
        assert_close(example.hidden_state, output[1, 2, columns])


def test_the_dictionary_has_every_number_in_the_order_of_the_computation() -> None:
    numbers = worked_example(built(), X, step=2).to_dict()
    assert list(numbers) == [
        "x",
        "hidden_state_before",
        "cell_state_before",
        "joined",
        "input_preactivation",
        "forget_preactivation",
        "candidate_preactivation",
        "output_preactivation",
        *("input_gate", "forget_gate", "candidate", "output_gate"),
        *("kept", "added", "cell_state", "activated", "hidden_state"),
    ]
    assert_close(numbers["candidate"], np.tanh(numbers["candidate_preactivation"]), "float64")
    assert_close(numbers["kept"] + numbers["added"], numbers["cell_state"], "float64")
    assert_close(numbers["output_gate"] * numbers["activated"], numbers["hidden_state"], "float64")


def test_the_table_shows_the_numbers() -> None:
    example = worked_example(built(), X, sample=1, step=2)
    lines = [re.sub(r"[│\s]+", " ", line).strip() for line in str(example).splitlines()]
    shown = {" ".join(f"{v:.4f}" for v in numbers) for numbers in (example.cell_state,)}
    assert f"c_t = f * c_{{t-1}} + i * g {shown.pop()}" in lines
    assert any(line.startswith("f[0] sigmoid(") for line in lines)
    assert max(map(len, str(example).splitlines())) <= 92
    page = example._repr_html_()
    assert f"{example.hidden_state[3]:.4f}" in page


def test_a_large_layer_shows_six_units_and_counts_the_others() -> None:
    layer = conveyor.LSTM(100, name="<large>")
    layer(X)
    example = worked_example(layer, X, step=1)
    assert "94 more units: .to_dict() has them all" in str(example)
    assert max(map(len, str(example).splitlines())) <= 92
    assert "&lt;large&gt;" in example._repr_html_()
    assert example.to_dict()["cell_state"].shape == (100,)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"step": T}, "step to be a whole number from 0 to 5, or from -6 to -1; got step=6"),
        ({"step": 1.0}, "got step=1.0"),
        ({"sample": -4}, "sample to be a whole number from 0 to 2"),
        ({"x": X[0]}, "(batch, time_steps, features); got shape (6, 5)"),
        ({"x": X[..., :3]}, "5 features"),
        ({"x": X.tolist()}, "an array (batch, time_steps, features); got list"),
        ({"x": keras.Input((T, F))}, "arrays with values"),
        ({"mask": MASK[:, :2]}, "a mask of shape (batch, time_steps) = (3, 6); got shape (3, 2)"),
        ({"initial_state": STATES[0]}, "initial_state to be two tensors"),
        ({"initial_state": [s[:1] for s in STATES]}, "(batch, units) = (3, 4)"),
    ],
)
def test_inputs_that_do_not_fit(arguments, said) -> None:
    with pytest.raises(ConveyorError, match=re.escape(said)):
        worked_example(built(), **{"x": X, **arguments})


class Halved(layers.LSTMCell):
    def call(self, inputs, states, training=False):
        h, (_, c) = super().call(inputs, states, training=training)
        return h / 2, [h / 2, c]


def test_a_cell_that_computes_something_else_is_refused() -> None:
    layer = layers.RNN(Halved(U))
    layer(X)
    with pytest.raises(ConveyorError, match="Halved, which has a step of its own"):
        worked_example(layer, X)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (conveyor.LSTM(4), "it is not built.\nWrite layer.build(x.shape)"),
        (layers.Bidirectional(layers.LSTM(4)), "worked_example(layer.forward_layer, x)"),
        (
            keras.Sequential([keras.Input((T, F)), layers.LSTM(4, name="reader")]),
            'worked_example(model.get_layer("reader"), x)',
        ),
        (
            keras.Sequential(
                [keras.Sequential([layers.Bidirectional(layers.LSTM(4), name="both")], name="in")]
            ),
            'worked_example(model.get_layer("in").get_layer("both").forward_layer, x)',
        ),
        (keras.Sequential([layers.Dense(4)]), 'got the Sequential "'),
        (layers.SimpleRNN(4), "one LSTM or GRU layer with its weights; got SimpleRNN"),
        (None, "one LSTM or GRU layer with its weights; got NoneType"),
    ],
)
def test_what_is_not_one_built_lstm(layer, said) -> None:
    with pytest.raises(ConveyorError, match=re.escape(said)):
        worked_example(layer, X)
