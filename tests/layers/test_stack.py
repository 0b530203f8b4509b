"""Several layers and directions in one object: torch.nn.LSTM and Keras's own are the judges."""

from __future__ import annotations

import contextlib
import itertools

import keras
import numpy as np
import pytest
from keras import layers

from conveyor import LSTM, Input
from conveyor.layers import gate_weights, recording
from frameworks import BACKEND, assert_close, compiled, gradients, to_numpy

B, T, F, U = 3, 6, 4, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, F)).astype("float32")
LENGTHS = np.array([6, 2, 4])
HOLES = np.array([[1, 1, 0, 1, 1, 1], [0, 0, 1, 1, 0, 1], [1, 0, 1, 0, 0, 1]], bool)
RESETS = np.array([[1, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0]], bool)


def stack(num_layers=2, bidirectional=True, features=F, **arguments):
    """A layer with weights that are random and all different."""
    layer = LSTM(U, num_layers=num_layers, bidirectional=bidirectional, **arguments)
    layer.build((None, None, features))
    rng = np.random.default_rng(1)
    for cell in layer.cells.flat():
        for weight in cell.trainable_variables:
            weight.assign(rng.normal(size=weight.shape) * 0.5)
    return layer


def float64_allowed():
    if BACKEND != "jax":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)


def torch_twin(layer, inter_layer_dropout=0.0):
    torch = pytest.importorskip("torch")
    rows = list(layer.cells)
    module = torch.nn.LSTM(
        F, U, num_layers=len(rows), bidirectional=len(rows[0]) == 2, batch_first=True,
        dropout=inter_layer_dropout, dtype=torch.float64,
    )  # fmt: skip
    state = {}
    for n, row in enumerate(rows):
        for cell, suffix in zip(row, ("", "_reverse"), strict=False):
            kernel, recurrent, bias = (to_numpy(w).astype("float64") for w in weights_of(cell))
            state[f"weight_ih_l{n}{suffix}"] = kernel.T
            state[f"weight_hh_l{n}{suffix}"] = recurrent.T
            state[f"bias_ih_l{n}{suffix}"] = bias
            state[f"bias_hh_l{n}{suffix}"] = np.zeros_like(bias)
    module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in state.items()})
    return module


def weights_of(cell):
    return cell.kernel, cell.recurrent_kernel, cell.bias


# torch.nn.LSTM ------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_torch(num_layers, bidirectional, packed) -> None:
    torch = pytest.importorskip("torch")
    with float64_allowed():
        layer = stack(
            num_layers, bidirectional, return_sequences=True, return_state=True, dtype="float64",
            zero_output_for_mask=packed,
        )  # fmt: skip
        module = torch_twin(layer)
        both = 2 if bidirectional else 1
        rng = np.random.default_rng(2)
        x = rng.normal(size=(B, T, F))
        h, c = (rng.normal(size=(num_layers * both, B, U)) for _ in range(2))
        shapes = [(B, T, U * both), h.shape, c.shape]
        cotangents = [rng.normal(size=shape) for shape in shapes]
        others, stacked = layer.non_trainable_variables, num_layers * both > 1

        def ours(x, h, c, *weights):
            call = {"mask": np.arange(T) < LENGTHS[:, None]} if packed else {}
            (first, *states), _ = layer.stateless_call(
                weights, others, x, initial_state=(h, c) if stacked else (h[0], c[0]), **call
            )
            return first, *layer.torch_states(states)

        arrays = [x, h, c, *(to_numpy(w) for w in layer.trainable_variables)]
        outputs = [to_numpy(o) for o in ours(*map(keras.ops.convert_to_tensor, arrays))]
        slopes = gradients(ours, arrays, cotangents)

    given = [torch.tensor(a, requires_grad=True) for a in (x, h, c)]
    read = given[0]
    if packed:
        read = torch.nn.utils.rnn.pack_padded_sequence(
            read, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
        )
    y, (h_n, c_n) = module(read, (given[1], given[2]))
    if packed:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
    for actual, expected in zip(outputs, (y, h_n, c_n), strict=True):
        assert_close(actual, expected.detach().numpy(), "float64")
    wanted = zip((y, h_n, c_n), cotangents, strict=True)
    sum((o * torch.tensor(g)).sum() for o, g in wanted).backward()
    named = dict(module.named_parameters())
    expected = [a.grad.numpy() for a in given]
    for n in range(num_layers):
        for suffix in ("", "_reverse")[:both]:
            expected += [
                named[f"weight_ih_l{n}{suffix}"].grad.numpy().T,
                named[f"weight_hh_l{n}{suffix}"].grad.numpy().T,
                named[f"bias_ih_l{n}{suffix}"].grad.numpy(),
            ]
    for actual, want in zip(slopes, expected, strict=True):
        assert_close(actual, want, "float64", scale=10)


# keras.layers -------------------------------------------------------------------------


def keras_stack(layer, merge_mode, last):
    """The same of layers of Keras, with the weights of `layer`."""
    model = keras.Sequential()
    for n, row in enumerate(layer.cells):
        top = n == len(layer.cells) - 1
        one = layers.LSTM(U, return_sequences=not (top and last))
        mode = merge_mode if top or merge_mode else "concat"
        model.add(layers.Bidirectional(one, merge_mode=mode) if len(row) == 2 else one)
    model.build((None, T, F))
    model.set_weights([to_numpy(w) for cell in layer.cells.flat() for w in weights_of(cell)])
    return model


@pytest.mark.parametrize("mask", [None, HOLES], ids=["all", "holes"])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("merge_mode", ["concat", "sum", "mul", "ave", None])
def test_keras(merge_mode, last, mask) -> None:
    # Keras's Bidirectional asks for zeros by itself.
    layer = stack(merge_mode=merge_mode, return_sequences=not last, zero_output_for_mask=not last)
    theirs = keras_stack(layer, merge_mode, last)
    y: object = X
    for each in theirs.layers:
        y = each(y, mask=mask)
    ours = layer(X, mask=mask)
    pairs = zip(ours, y, strict=True) if merge_mode is None else [(ours, y)]
    for a, e in pairs:
        assert_close(a, e)


def test_keras_one_direction_backwards() -> None:
    cells = [layers.LSTMCell(U), layers.LSTMCell(U)]
    theirs = layers.RNN(cells, return_sequences=True, return_state=True, go_backwards=True)
    theirs.build((None, T, F))
    ours = stack(2, False, return_sequences=True, return_state=True, go_backwards=True)
    theirs.set_weights([to_numpy(w) for w in ours.trainable_weights])
    expected = keras.tree.flatten(theirs(X))
    for a, e in zip(ours(X), expected, strict=True):
        assert_close(a, e)


# Masks, lengths, resets ---------------------------------------------------------------


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_padded_is_unpadded_with_holes(bidirectional, go_backwards) -> None:
    if bidirectional and go_backwards:
        pytest.skip("refused")
    layer = stack(3, bidirectional, return_sequences=True, return_state=True,
                  go_backwards=go_backwards, initial_state="learned")  # fmt: skip
    padded = [to_numpy(v) for v in layer(X, mask=HOLES)]
    for b, row in enumerate(HOLES):
        alone = [to_numpy(v) for v in layer(X[b : b + 1, row])]
        kept = row[::-1] if go_backwards else row
        assert_close(padded[0][b : b + 1, kept], alone[0])
        for a, e in zip(padded[1:], alone[1:], strict=True):
            assert_close(a[b : b + 1], e)


def test_resets_part_the_sequences_in_every_layer() -> None:
    layer = stack(return_sequences=True)
    whole = to_numpy(layer(X, resets=RESETS))
    for b, row in enumerate(RESETS):
        edges = [0, *(t for t in range(1, T) if row[t]), T]
        for start, stop in itertools.pairwise(edges):
            assert_close(whole[b : b + 1, start:stop], layer(X[b : b + 1, start:stop]))


def test_masks_go_on_and_zero_output() -> None:
    x = Input((T, F))
    y = layers.Masking(0.0)(x)
    y = LSTM(U, num_layers=2, bidirectional=True, return_sequences=True)(y)
    model = keras.Model(x, LSTM(3)(y))
    given = X * HOLES[:, :, None]
    first, last = model.layers[-2], model.layers[-1]
    assert_close(model(given), last(first(given, mask=HOLES), mask=HOLES))
    layer = stack(return_sequences=True, zero_output_for_mask=True)
    assert not to_numpy(layer(X, mask=HOLES))[~HOLES].any()


# States -------------------------------------------------------------------------------


def test_both_forms_of_initial_states_and_names_of_what_comes_back() -> None:
    layer = stack(return_state=True)
    first, *states = layer(X)
    assert layer.output_names() == ("hidden_state", *("hidden_state", "cell_state") * 4)
    assert_close(first, np.concatenate([to_numpy(s) for s in (states[4], states[6])], axis=1))
    pair = layer.torch_states(states)
    for a, e in zip(layer(X, initial_state=pair), layer(X, initial_state=states), strict=True):
        assert_close(a, e)


def test_every_state() -> None:
    layer = stack(outputs=("hidden_states", "cell_state", "forget_gates"))
    hs, c, f = layer(X, mask=HOLES)
    states = layer.every_state(X, mask=HOLES)
    forward, backward = states[1]
    for name, value in {"hidden_states": hs, "cell_state": c, "forget_gates": f}.items():
        both = [to_numpy(s[name]) for s in (forward, backward)]
        assert_close(value, np.concatenate(both, axis=-1))
    below = np.concatenate([to_numpy(s["hidden_states"]) for s in states[0]], axis=-1)
    top = LSTM(U, outputs="hidden_states")
    top.build((None, T, 2 * U))
    top.set_weights([to_numpy(w) for w in weights_of(layer.cells[1][0])])
    assert_close(top(below, mask=HOLES), forward["hidden_states"])
    single = LSTM(U)
    assert_close(single.every_state(X)[0][0]["hidden_state"], single(X))


def test_stateful_goes_on_where_it_stopped() -> None:
    layer = stack(2, False, return_sequences=True, stateful=True)
    whole = to_numpy(layer(X))
    layer.reset_state()
    parts = [to_numpy(layer(X[:, :4])), to_numpy(layer(X[:, 4:]))]
    assert_close(np.concatenate(parts, axis=1), whole)
    states = layer.get_states()
    assert len(states) == 4
    after = to_numpy(layer(X))
    layer.set_states(layer.torch_states(states))
    assert_close(layer(X), after)
    layer.reset_state()
    assert_close(layer(X), whole)
    assert len({id(v) for v in layer.variables}) == len(layer.variables)


def test_stateful_in_predict() -> None:
    layer = LSTM(U, num_layers=2, stateful=True)
    model = keras.Sequential([Input(batch_shape=(B, T, F)), layer])
    first, second = (model.predict(X, batch_size=B, verbose=0) for _ in range(2))
    assert abs(first - second).max() > 1e-4


# Dropout ------------------------------------------------------------------------------


def test_inter_layer_dropout_is_drawn_at_each_step_and_in_training_alone() -> None:
    rate = 0.3
    layer = LSTM(64, num_layers=2, inter_layer_dropout=rate, seed=3)
    x = np.random.default_rng(0).normal(size=(8, 50, F)).astype("float32")
    with recording() as records:
        layer(x, training=True)
    below, read = to_numpy(records[0].states["hidden_states"]), to_numpy(records[1].inputs)
    kept = read != 0
    assert abs(kept.mean() - (1 - rate)) < 0.01
    assert_close(read[kept], (below / (1 - rate))[kept])
    assert (kept[:, 0] != kept[:, 1]).any()
    assert abs(kept.mean(axis=(0, 2)) - (1 - rate)).max() < 0.1
    assert not (kept[:, 0] == kept[:, 1]).all(axis=1).any()
    with recording() as records:
        layer(x)
    assert_close(records[1].inputs, records[0].states["hidden_states"])


def test_inter_layer_dropout_is_as_often_as_in_torch() -> None:
    torch = pytest.importorskip("torch")
    layer = stack(2, True, inter_layer_dropout=0.4, return_sequences=True, seed=0)
    module = torch_twin(layer, 0.4)
    x = np.repeat(X[:1], 4000, axis=0)
    torch.manual_seed(0)
    ours = to_numpy(layer(x, training=True)).reshape(4000, -1)
    theirs = module(torch.tensor(x, dtype=torch.float64))[0].detach().numpy().reshape(4000, -1)
    assert abs(ours.mean(0) - theirs.mean(0)).max() < 0.05
    assert abs(ours.std(0) - theirs.std(0)).max() < 0.05


def test_dropout_is_reproducible_and_each_cell_has_its_own() -> None:
    rates = {"dropout": 0.4, "recurrent_dropout": 0.2, "inter_layer_dropout": 0.3}
    one, other = (stack(**rates, seed=5) for _ in range(2))
    first = to_numpy(one(X, training=True))
    assert_close(other(X, training=True), first)
    assert abs(to_numpy(one(X, training=True)) - first).max() > 1e-3
    seeds = {tuple(np.ravel(to_numpy(c.seed_generator.state))) for c in one.cells.flat()}
    assert len(seeds) == 4
    assert_close(one(X), other(X))


def test_all_dropped() -> None:
    assert np.isfinite(to_numpy(stack(inter_layer_dropout=1.0)(X, training=True))).all()


def test_dropout_in_fit() -> None:
    model = keras.Sequential(
        [Input((T, F)), LSTM(3, num_layers=2, bidirectional=True, dropout=0.2,
                             inter_layer_dropout=0.4), layers.Dense(1)]
    )  # fmt: skip
    model.compile("adam", "mse")
    before = model.get_weights()
    history = model.fit(X, np.ones((B, 1)), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    weights = zip(before, model.get_weights(), strict=True)
    assert sum(np.any(a != b) for a, b in weights) >= 14
    assert_close(model.predict(X, verbose=0), model(X))


# Weights, files, places ---------------------------------------------------------------


def test_paths_of_weights() -> None:
    layer = stack(name="reader")
    assert [w.path for w in layer.trainable_weights[::3]] == [
        f"reader/layer_{n}_{way}/lstm_cell/kernel"
        for n in (0, 1)
        for way in ("forward", "backward")
    ]
    assert [w.path for w in stack(2, False, name="one").weights[:1]] == [
        "one/layer_0/lstm_cell/kernel"
    ]
    assert LSTM(3).cells[0][0].name == "lstm_cell"


def test_each_part_begins_with_weights_of_its_own() -> None:
    for initializer in ("glorot_uniform", keras.initializers.GlorotUniform(seed=3),
                        keras.initializers.GlorotUniform(), "orthogonal"):  # fmt: skip
        layer = LSTM(3, num_layers=2, bidirectional=True, recurrent_initializer=initializer)
        layer.build((None, None, F))
        found = [to_numpy(cell.recurrent_kernel) for cell in layer.cells.flat()]
        assert all(np.any(found[0] != other) for other in found[1:])
    single = LSTM(3, recurrent_initializer=keras.initializers.GlorotUniform(seed=3))
    single.build((None, None, F))
    again = LSTM(3, num_layers=2, recurrent_initializer=keras.initializers.GlorotUniform(seed=3))
    again.build((None, None, F))
    assert_close(again.cells[0][0].recurrent_kernel, single.cell.recurrent_kernel)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.reader = LSTM(U, num_layers=2, bidirectional=True)

    def call(self, x):
        return self.reader(x)


def sequential():
    return keras.Sequential(
        [Input((None, F)), LSTM(U, num_layers=2, bidirectional=True, merge_mode="sum",
                                inter_layer_dropout=0.2, initial_state="learned")]
    )  # fmt: skip


def functional():
    x = Input((T, F))
    first, *states = LSTM(U, num_layers=2, return_sequences=True, return_state=True)(x)
    y = LSTM(U, num_layers=2, name="decoder")(first, initial_state=states)
    both = LSTM(U, bidirectional=True, merge_mode=None, return_sequences=True)(x)
    return keras.Model(x, [y, *both])


def subclassed():
    model = Subclassed()
    model(X)
    return model


@pytest.mark.parametrize("place", [sequential, functional, subclassed])
def test_weight_files(place, tmp_path) -> None:
    one, other = place(), place()
    rng = np.random.default_rng(4)
    one.set_weights([rng.normal(size=w.shape) * 0.5 for w in one.get_weights()])
    one.save_weights(tmp_path / "a.weights.h5")
    other.load_weights(tmp_path / "a.weights.h5")
    for a, e in zip(keras.tree.flatten(other(X)), keras.tree.flatten(one(X)), strict=True):
        assert_close(a, e)


@pytest.mark.parametrize("place", [sequential, functional])
def test_model_files_and_clones(place, tmp_path) -> None:
    model = place()
    rng = np.random.default_rng(4)
    model.set_weights([rng.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    model.save(tmp_path / "a.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (keras.saving.load_model(tmp_path / "a.keras"), clone):
        for a, e in zip(keras.tree.flatten(other(X)), keras.tree.flatten(model(X)), strict=True):
            assert_close(a, e)


def test_config_gives_back_the_arguments() -> None:
    given = {"num_layers": 3, "bidirectional": True, "merge_mode": None,
             "inter_layer_dropout": 0.25, "seed": 7, "dropout": 0.1}  # fmt: skip
    config = LSTM(4, **given).get_config()
    assert {name: config[name] for name in given} == given
    assert LSTM.from_config(config).get_config() == config
    plain = LSTM(4).get_config()
    assert [plain[n] for n in given][:4] == [1, False, "concat", 0.0]


def test_places_of_keras() -> None:
    rows = np.stack([X, X], axis=1)
    layer = stack()
    assert_close(layers.TimeDistributed(layer)(rows)[:, 1], layer(X))
    wrapped = layers.Bidirectional(stack(2, False, return_sequences=True, return_state=True))
    assert [tuple(v.shape) for v in wrapped(X)] == [(B, T, 2 * U), *[(B, U)] * 8]


def test_shapes_and_masks_of_symbolic_calls() -> None:
    for merge_mode, width in (("concat", 2 * U), ("ave", U)):
        layer = stack(merge_mode=merge_mode, outputs=("cell_state", "input_gates"))
        symbols = layer(Input((T, F)))
        assert [s.shape for s in symbols] == [(None, width), (None, T, width)]
        assert [tuple(v.shape)[1:] for v in layer(X)] == [s.shape[1:] for s in symbols]
        assert [m is None for m in layer.compute_mask(X, HOLES)] == [True, False]


# Options ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"engine": "portable"}, {"unroll": True}, {"remat": 2}, {"implementation": 1},
     {"use_cudnn": False}],
    ids=str,
)  # fmt: skip
def test_options_go_to_every_part(options) -> None:
    usual, other = stack(return_sequences=True), stack(return_sequences=True, **options)
    assert_close(other(X, mask=HOLES), usual(X, mask=HOLES))
    ((name, value),) = options.items()
    assert all(getattr(part, name) == value for part in other.parts.flat())


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_dtype_policies(policy) -> None:
    layer = stack(dtype=policy, return_sequences=True)
    assert keras.backend.standardize_dtype(layer(X).dtype) == layer.compute_dtype
    assert_close(layer(X), stack(return_sequences=True)(X), layer.compute_dtype)
    assert {str(w.dtype) for w in layer.trainable_weights} == {"float32"}


def test_no_bias_regularizers_and_an_activity_regularizer_once() -> None:
    layer = LSTM(U, num_layers=2, bidirectional=True, use_bias=False, kernel_regularizer="l2",
                 activity_regularizer="l2")  # fmt: skip
    y = to_numpy(layer(X))
    kernels = sum(0.01 * (to_numpy(c.kernel) ** 2).sum() for c in layer.cells.flat())
    wanted = kernels + 0.01 * (y**2).sum() / B
    assert_close(sum(to_numpy(loss) for loss in layer.losses), wanted)


def test_compiled_and_explained() -> None:
    layer = stack(return_sequences=True)
    assert_close(compiled(layer)(X), layer(X))
    assert layer.explain_engine() in (*(p.explain_engine() for p in layer.parts.flat()),)
    assert layer.use_cudnn is False
    layer.trainable = False
    assert not layer.trainable_weights


# Errors -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_layers": 0}, "num_layers=0"),
        ({"num_layers": True}, "num_layers=True"),
        ({"num_layers": 2.0}, "num_layers=2.0"),
        ({"bidirectional": "yes"}, "bidirectional='yes'"),
        ({"merge_mode": "sum"}, "bidirectional=True"),
        ({"bidirectional": True, "merge_mode": "add"}, "merge_mode='add'"),
        ({"num_layers": 2, "inter_layer_dropout": 2}, "inter_layer_dropout=0.02"),
        ({"inter_layer_dropout": 0.1}, "num_layers=2"),
        ({"bidirectional": True, "go_backwards": True}, "go_backwards"),
        ({"bidirectional": True, "stateful": True}, "stateful"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(arguments, words) -> None:
    with pytest.raises(ValueError, match=words):
        LSTM(3, **arguments)


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ([X[:, 0]] * 2, "got 2 tensors"),
        (3, "one int"),
        ([3] * 8, "int among them"),
        ([np.zeros((B, U + 1), "float32")] * 8, "6"),
        ([np.zeros((B + 1, U), "float32")] * 8, "4, 5"),
        ([np.zeros((2, B, U), "float32")] * 2, "pair of shapes"),
        ([np.zeros((4, B, U + 1), "float32")] * 2, "h_n, c_n of torch"),
    ],
)  # fmt: skip
def test_states_that_do_not_fit(states, words) -> None:
    with pytest.raises(ValueError, match=words):
        stack()(X, initial_state=states)


def test_errors_of_a_part_name_the_whole() -> None:
    layer = stack(2, False, stateful=True, name="reader")
    layer(X)
    with pytest.raises(ValueError, match="reader/layer_0"):
        layer(X[:1])


def test_methods_of_one_lstm() -> None:
    layer = stack()
    with pytest.raises(ValueError, match=r"cells\[0\]\[0\]"):
        layer.gate_weights()
    assert gate_weights(layer.cells[1][1])["forget"][0].shape == (U, 3 * U)
    with pytest.raises(ValueError, match=r"conveyor\.trace"):
        layer.every_state(Input((T, F)))
    with pytest.raises(ValueError, match="stateful=True"):
        layer.get_states()
