"""trace(): every state of every LSTM, labelled, of conveyor's layers and of Keras's."""

from __future__ import annotations

import sys

import keras
import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import conveyor
from cases import CASES, Case
from conveyor import ConveyorError, trace
from conveyor._vocabulary import STATE_NAMES, has_time_axis
from conveyor.layers import running_here
from frameworks import TOLERANCE, compiled, only_on, to_numpy
from oracles import block_lstm_v2, reference_forward

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 6, 4)).astype("float32")
KINDS = [conveyor.LSTM, layers.LSTM]
# Without dropout and initial states, which a layer alone is not given.
PLAIN = [
    c
    for c in CASES
    if c.dropout == c.recurrent_dropout == "none"
    and not (c.initial_states or c.resets)
    and c.batch
    and c.time_steps
]


def layer_of(case: Case, kind=conveyor.LSTM):
    arguments = case.arguments("float32")
    layer = kind(
        case.units,
        activation=case.activation,
        recurrent_activation=case.recurrent_activation,
        use_bias=case.use_bias,
        go_backwards=case.go_backwards,
        return_sequences=True,
        name="lstm",
    )
    layer.build(arguments["x"].shape)
    names = ("kernel", "recurrent_kernel", "bias")
    layer.set_weights([arguments[n] for n in names if arguments[n] is not None])
    return layer, arguments


class Masked(keras.Model):
    """A layer under a mask."""

    def __init__(self, lstm, mask):
        super().__init__()
        self.lstm, self.mask = lstm, mask
        self.built = True

    def call(self, x):
        return self.lstm(x, mask=self.mask)


@pytest.mark.parametrize("kind", KINDS, ids=["conveyor", "keras"])
@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_all_states_are_those_of_the_reference(case: Case, kind) -> None:
    layer, arguments = layer_of(case, kind)
    expected = reference_forward(**case.arguments())
    mask = arguments["mask"]
    node = trace(Masked(layer, mask), arguments["x"], batch_size=case.batch)["lstm"]
    assert set(node.data_vars) == {*STATE_NAMES, "initial_hidden_state", "initial_cell_state"}
    for name in STATE_NAMES:
        values = expected[name]
        if has_time_axis(name):
            values = values[:, ::-1] if case.go_backwards else values
            values = values if mask is None else np.where(mask[..., None], values, np.nan)
        np.testing.assert_allclose(
            node[name], values, rtol=TOLERANCE["float32"], atol=TOLERANCE["float32"]
        )
    assert not node["initial_cell_state"].any()


@only_on("tensorflow")
def test_gates_and_cell_states_of_block_lstm_v2() -> None:
    case = Case(name="plain")
    layer, arguments = layer_of(case, layers.LSTM)
    weights = {n: arguments[n] for n in ("x", "kernel", "recurrent_kernel", "bias")}
    expected = block_lstm_v2(**weights)
    node = trace(layer, arguments["x"])["lstm"]
    for name, values in expected.items():
        np.testing.assert_allclose(node[name], values, rtol=1e-5, atol=1e-6)


def test_the_numbers_of_conveyor_are_those_of_the_forward_pass_bit_for_bit() -> None:
    layer = conveyor.LSTM(5, outputs=STATE_NAMES, name="lstm")
    returned = [to_numpy(value) for value in layer(X)]
    node = trace(layer, X)["lstm"]
    for name, values in zip(STATE_NAMES, returned, strict=True):
        np.testing.assert_array_equal(node[name], values)


def test_layers_of_keras_from_a_file(tmp_path) -> None:
    inputs = keras.Input((None,), dtype="int32")
    h = layers.Embedding(20, 4, mask_zero=True)(inputs)
    h = layers.Bidirectional(layers.LSTM(3, return_sequences=True, name="a"), name="both")(h)
    outputs = layers.Dense(2)(layers.LSTM(5, name="b")(h))
    keras.Model(inputs, outputs).save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    words = np.array([[3, 4, 5, 6], [7, 8, 0, 0], [1, 2, 3, 0]])
    before = to_numpy(model(words))
    tree = trace(model, words, batch_size=2)
    np.testing.assert_array_equal(to_numpy(model(words)), before)
    assert set(tree.groups) == {"/", "/both", "/both/forward_a", "/both/backward_a", "/b"}
    last = tree["b"]
    dense = model.layers[-1]
    np.testing.assert_allclose(
        last["hidden_state"].values @ to_numpy(dense.kernel) + to_numpy(dense.bias),
        before,
        rtol=1e-4,
        atol=1e-5,
    )
    forward, backward = tree["both/forward_a"], tree["both/backward_a"]
    assert (forward.attrs["direction"], backward.attrs["direction"]) == ("forward", "backward")
    assert last.attrs["layer"] == "keras.layers.LSTM"
    counts = words != 0
    for node in (last, forward, backward):
        np.testing.assert_array_equal(np.isfinite(node["cell_states"]).all("unit"), counts)
    # The last step that counts holds the last state; backwards that is the first step.
    lengths = counts.sum(1)
    for node, at in ((forward, lengths - 1), (backward, lengths * 0)):
        np.testing.assert_array_equal(
            node["hidden_states"].values[np.arange(3), at], node["hidden_state"]
        )


def test_preactivations() -> None:
    layer, arguments = layer_of(Case(name="back", go_backwards=True), layers.LSTM)
    node = trace(layer, arguments["x"], preactivations=True)["lstm"]
    for gate, function in (
        ("input", keras.ops.sigmoid),
        ("forget", keras.ops.sigmoid),
        ("candidate", keras.ops.tanh),
        ("output", keras.ops.sigmoid),
    ):
        z = node[f"{gate}_preactivations"].values
        states = node["candidates" if gate == "candidate" else f"{gate}_gates"]
        np.testing.assert_allclose(to_numpy(function(z)), states, rtol=1e-5, atol=1e-6)


def test_a_layer_that_runs_twice_and_one_in_a_model_in_a_model() -> None:
    inner = keras.Sequential([keras.Input((None, 4)), layers.LSTM(3, name="deep")], name="inner")
    shared = conveyor.LSTM(4, return_sequences=True, name="shared")
    inputs = keras.Input((None, 4))
    tree = trace(keras.Model(inputs, inner(shared(shared(inputs)))), X)
    first, second = tree["shared"], tree["shared (call 2)"]
    assert tree["inner/deep"]["cell_states"].shape == (7, 6, 3)
    again = to_numpy(shared(first["hidden_states"].values))
    np.testing.assert_allclose(second["hidden_states"], again, rtol=1e-6, atol=1e-6)


def test_in_16_bits() -> None:
    layer = conveyor.LSTM(4, dtype="mixed_bfloat16", name="lstm")
    layer.build(X.shape)
    node = trace(layer, X, preactivations=True)["lstm"]
    assert {array.dtype for array in node.data_vars.values()} == {np.dtype("float32")}


@pytest.mark.parametrize("kind", KINDS, ids=["conveyor", "keras"])
def test_a_stateful_layer_goes_on_where_it_was(kind) -> None:
    layer = kind(3, stateful=True, name="lstm")
    inputs = keras.Input(batch_shape=(7, 6, 4))
    model = keras.Model(inputs, layer(inputs))
    model(X)
    before = [to_numpy(keras.ops.copy(state)) for state in layer.states]
    node = trace(model, X)["lstm"]
    np.testing.assert_array_equal(node["initial_cell_state"], before[1])
    for state, was in zip(layer.states, before, strict=True):
        np.testing.assert_array_equal(to_numpy(state), was)


def test_zero_output_for_mask_is_as_in_keras() -> None:
    layer = layers.LSTM(3, return_sequences=True, return_state=True, zero_output_for_mask=True)
    mask = np.array([[1, 1, 0, 1, 0, 0]] * 7, bool)
    layer.build(X.shape)
    expected = [to_numpy(value) for value in layer(X, mask=mask)]
    with running_here([layer]):
        actual = layer(X, mask=mask)
    assert "inner_loop" not in vars(layer)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(to_numpy(a), e, rtol=1e-5, atol=1e-6)


# --------------------------------------------------------------------- what is kept, and where

KEPT = (*STATE_NAMES, "initial_hidden_state", "initial_cell_state")


def two_layers():
    inputs = keras.Input((None, 4))
    h = layers.LSTM(5, return_sequences=True, name="a")(layers.Masking()(inputs))
    return keras.Model(inputs, layers.LSTM(3, name="b")(h))


@given(
    batch_size=st.integers(1, 9),
    units=st.one_of(st.none(), st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True)),
    states=st.one_of(
        st.none(), st.lists(st.sampled_from(KEPT), min_size=1, max_size=4, unique=True)
    ),
)
def test_batches_and_selections_are_parts_of_the_whole(batch_size, units, states) -> None:
    model = _model()
    whole = _whole()
    select = {"units": units, "states": states}
    tree = trace(model, X, batch_size=batch_size, select=select)
    for path in ("a", "b"):
        expected = whole[path].to_dataset()
        if states is not None:
            expected = expected[states]
        if units is not None:
            expected = expected.isel(unit=units)
        assert dict(tree[path].to_dataset().sizes) == dict(expected.sizes)
        for name in expected.data_vars:
            np.testing.assert_allclose(tree[path][name], expected[name], rtol=1e-6, atol=1e-6)


_kept: dict = {}


def _model():
    return _kept.setdefault("model", two_layers())


def _whole():
    if "whole" not in _kept:
        _kept["whole"] = trace(_model(), X)
    return _kept["whole"]


def test_only_some_layers() -> None:
    inner = keras.Sequential([keras.Input((None, 4)), layers.LSTM(3, name="deep")], name="inner")
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, inner(layers.LSTM(4, return_sequences=True, name="a")(inputs)))
    assert trace(model, X, select={"layers": ["inner"]}).groups == ("/", "/inner", "/inner/deep")
    assert trace(model, X, select={"layers": "a"}).groups == ("/", "/a")


def test_on_disk_is_as_in_memory(tmp_path) -> None:
    model, x = two_layers(), X.copy()
    x[2, 3:] = 0
    tokens = [[f"token {n}" for n in range(3 if k == 2 else 6)] for k in range(7)]
    kept = {"tokens": tokens, "time": np.arange(6) * 0.5, "preactivations": True}
    path = tmp_path / "folder" / "trace.zarr"
    lazy = trace(model, x, **kept, to=path, batch_size=3, progress=False)
    assert not isinstance(lazy["a"]["cell_states"].variable._data, np.ndarray)
    xarray.testing.assert_identical(lazy.load(), trace(model, x, **kept, batch_size=3))
    xarray.testing.assert_identical(xarray.open_datatree(path, engine="zarr").load(), lazy)
    assert [p.name for p in path.parent.iterdir()] == ["trace.zarr"]
    with pytest.raises(ConveyorError, match="which is there"):
        trace(model, x, to=path)


def test_tokens_stand_at_the_steps_that_count() -> None:
    x = X.copy()
    x[0, :2] = x[1, 4:] = 0
    tokens = ["abcd", "efgh", *["ijklmn"] * 5]
    node = trace(two_layers(), x, tokens=tokens, batch_size=2)["b"]
    assert "".join(node["token"].values[0]) == "abcd"
    assert list(node["token"].values[0]) == ["", "", *"abcd"]
    assert list(node["token"].values[1]) == [*"efgh", "", ""]
    assert list(node["token"].values[6]) == [*"ijklmn"]


def test_tokens_of_layers_with_time_axes_of_their_own() -> None:
    inputs = keras.Input((None, 4))
    a = layers.LSTM(4, return_sequences=True, name="a")(inputs)
    model = keras.Model(inputs, layers.LSTM(3, name="b")(layers.MaxPooling1D(2)(a)))
    tree = trace(model, X, tokens={"a": ["abcdef"] * 7, "b": ["xyz"] * 7}, time=range(10, 16))
    assert list(tree["a"]["token"].values[0]) == [*"abcdef"]
    assert list(tree["b"]["token"].values[0]) == [*"xyz"]
    assert list(tree["a"]["time"].values) == [*range(10, 16)]
    assert list(tree["b"]["time"].values) == [0, 1, 2]
    assert "token" not in trace(model, X, tokens=["abcdef"] * 7)["b"].coords


def test_inputs_in_lists_and_dicts() -> None:
    one, two = keras.Input((None, 4), name="one"), keras.Input((3,), name="two")
    state = layers.LSTM(3, name="lstm")(one, initial_state=[two, two])
    x = {"one": X, "two": np.ones((7, 3), "float32")}
    tree = trace(keras.Model({"one": one, "two": two}, state), x, batch_size=3)
    assert (tree["lstm"]["initial_hidden_state"] == 1).all()
    again = trace(keras.Model([one, two], state), [*x.values()])
    xarray.testing.assert_allclose(again["lstm"].to_dataset(), tree["lstm"].to_dataset())


# --------------------------------------------------------------------- what teaches


class OwnStep(layers.LSTMCell):
    def call(self, inputs, states, training=False):
        return super().call(inputs, states, training)


def built(layer):
    layer.build((None, None, 4))
    return layer


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (lambda: 3, {}, "a Keras model or layer; got int"),
        (lambda: built(layers.Dense(3)), {}, "holds none"),
        (lambda: layers.LSTM(3, name="new"), {}, 'LSTM "new", which is not built'),
        (lambda: keras.Sequential([layers.LSTM(3)]), {}, "which is not built"),
        (lambda: built(layers.RNN(OwnStep(3))), {}, "OwnStep, which has a step of its own"),
        (two_layers, {"x": X[:0]}, "one or more samples"),
        (two_layers, {"x": {"one": X, "two": X[:3]}}, "as many in each"),
        (two_layers, {"batch_size": 0}, "batch_size to be a whole number"),
        (two_layers, {"tokens": ["abc"] * 7}, r"each of the 6 steps of sample 0; got 3 tokens"),
        (two_layers, {"tokens": ["abcdef"]}, "each of the 7 samples; got 1 of them"),
        (two_layers, {"tokens": "abcdef"}, "got one text"),
        (two_layers, {"tokens": {"c": ["abcdef"] * 7}}, "layers of the model: a, b; got tokens"),
        (two_layers, {"time": range(5)}, "each of the 6 steps; got 5 values"),
        (two_layers, {"time": np.zeros((7, 6))}, r"time=\(time_steps,\)"),
        (two_layers, {"to": "trace.nc"}, r"ends in .zarr; got 'trace.nc'"),
        (two_layers, {"select": {"layer": "a"}}, "the key 'layer'"),
        (two_layers, {"select": {"layers": ["c"]}}, "select= with a, b; got the layer 'c'"),
        (two_layers, {"select": {"states": ["cells"]}}, "got the state 'cells'"),
        (two_layers, {"select": {"units": [3]}}, "numbers from 0 to 2"),
        (two_layers, {"select": {"units": []}}, "numbers from 0 to 2"),
    ],
)
def test_mistakes(model, options, message) -> None:
    with pytest.raises(ConveyorError, match=message):
        trace(model(), **{"x": X, **options})


@only_on("jax", "tensorflow")
def test_a_model_that_compiles_its_layers() -> None:
    class Compiled(keras.Model):
        def __init__(self):
            super().__init__()
            self.lstm = built(layers.LSTM(3))
            self.built = True

        def call(self, x):
            return compiled(self.lstm)(x)

    with pytest.raises(ConveyorError, match="inside of a compiled function"):
        trace(Compiled(), X)


def test_units_may_be_a_slice() -> None:
    tree = trace(two_layers(), X, select={"units": slice(0, 5, 2), "layers": "a"})
    assert list(tree["a"]["unit"].values) == [0, 2, 4]


def test_without_xarray_the_line_to_write(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ConveyorError, match=r'pip install "conveyor\[inspect\]"'):
        trace(two_layers(), X)


def test_the_engine_is_told() -> None:
    layer = built(conveyor.LSTM(3, engine="portable", name="lstm"))
    assert trace(layer, X)["lstm"].attrs["engine"] == "portable"
