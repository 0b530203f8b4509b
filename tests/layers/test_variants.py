"""`conveyor.LSTM` beyond the plain one: each argument, its weights, files, draws, and oracles."""

from __future__ import annotations

import re
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from keras import layers

import conveyor
from conveyor import LSTM, ConveyorError, Input, LSTMCell
from frameworks import BACKEND, assert_close, to_numpy
from oracles import block_lstm_v2
from variant_layers import SINGLE
from variants import reference

B, T, F, U = 3, 6, 4, 5
X = np.random.default_rng(0).normal(size=(B, T, F)).astype("float32")
EVERY = ("hidden_states", "cell_states", "input_gates", "output_gates", "hidden_state")

VARIANTS = {
    **SINGLE,
    "clip": {"clip": 0.7, "cell_clip": 0.5},
    "output_activation": {"output_activation": "relu"},
    "everything": {
        "peephole": True,
        "coupled": True,
        "output_transform": True,
        "projection": 3,
        "layer_norm": ["cell", "joint"],
        "zoneout": (0.1, 0.2),
        "recurrent_weight_dropout": 0.3,
        "clip": 1.2,
        "cell_clip": 0.8,
        "output_activation": "sigmoid",
    },
}
# All on PyTorch; elsewhere, where each is compiled, those that have a way of their own.
OWN_WAYS = ("projection", "joint", "zoneout", "recurrent_weight_dropout", "everything")
HERE = {n: v for n, v in VARIANTS.items() if BACKEND == "torch" or n in OWN_WAYS}
by_name = pytest.mark.parametrize("variant", HERE.values(), ids=HERE)


def made(kind=LSTM, **arguments):
    """One with random weights."""
    layer = kind(U, **arguments)
    layer.build((None, F) if kind is LSTMCell else (None, None, F))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) * 0.7 for w in layer.weights])
    return layer


def of_the_equations(layer, x=X, **more):
    """The states of the equations in NumPy with the weights of a layer."""
    cell = layer.cell
    arrays = {
        "kernel": cell.kernel,
        "recurrent_kernel": cell.recurrent_kernel,
        "bias": cell.bias,
        "peephole": cell.peephole_kernel,
        "output_kernel": cell.output_kernel,
        "output_bias": cell.output_bias,
        "projection_kernel": cell.projection_kernel,
        "gate_scale": cell.gate_scale,
        "cell_scale": cell.cell_scale,
        "cell_shift": cell.cell_shift,
    }
    options = {
        "coupled": layer.coupled,
        "clip": layer.clip,
        "cell_clip": layer.cell_clip,
        "hidden_zoneout": layer.zoneout[0],
        "cell_zoneout": layer.zoneout[1],
        "output_activation": layer.output_activation and layer.output_activation.__name__,
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "go_backwards": layer.go_backwards,
    }
    weights = {name: None if w is None else to_numpy(w) for name, w in arrays.items()}
    return reference(x=x, **{**weights, **options, **more})


@by_name
@pytest.mark.parametrize("go_backwards", [False, True])
def test_the_equations_with_its_weights(variant, go_backwards) -> None:
    layer = made(**variant, outputs=EVERY, go_backwards=go_backwards)
    mask = np.random.default_rng(2).random((B, T)) < 0.7
    h, c = (np.random.default_rng(3).normal(size=(B, n)) for n in layer.cell.state_size)
    more = {"mask": mask, "hidden_state": h, "cell_state": c}
    states = layer(X, mask=mask, initial_state=[h.astype("float32"), c.astype("float32")])
    expected = of_the_equations(layer, **more)
    for name, value in zip(EVERY, states, strict=True):
        assert_close(value, expected[name])


@by_name
def test_shapes_before_there_are_values(variant) -> None:
    size = variant.get("projection", U)
    layer = LSTM(U, **variant, outputs=EVERY)
    symbolic = layer(Input((T, F)))
    assert [s.shape for s in symbolic] == list(layer.compute_output_shape((None, T, F)))
    assert [s.shape[-1] for s in symbolic] == [size, U, U, U, size]
    assert [tuple(s.shape) for s in layer.get_initial_state(B)] == [(B, size), (B, U)]
    assert [tuple(s.shape[1:]) for s in layer(X)] == [tuple(s.shape[1:]) for s in symbolic]


@by_name
def test_files_and_configs(variant, tmp_path) -> None:
    x = Input((None, F))
    model = keras.Model(x, LSTM(U, **variant, return_sequences=True)(x))
    rng = np.random.default_rng(4)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    expected = model(X)
    model.save(tmp_path / "model.keras")
    assert_close(keras.saving.load_model(tmp_path / "model.keras")(X), expected)
    model.save_weights(tmp_path / "model.weights.h5")
    clone = keras.models.clone_model(model)
    clone.load_weights(tmp_path / "model.weights.h5")
    assert_close(clone(X), expected)
    for one in (model.layers[-1], model.layers[-1].cell):
        again = type(one).from_config(one.get_config())
        assert again.get_config() == one.get_config()
        assert again.variant == one.variant


@by_name
def test_a_cell_in_rnn_is_the_layer(variant) -> None:
    layer = made(**variant, return_sequences=True, return_state=True)
    rnn = layers.RNN(made(LSTMCell, **variant), return_sequences=True, return_state=True)
    rnn.build((None, T, F))
    rnn.set_weights(layer.get_weights())
    for one, other in zip(rnn(X), layer(X), strict=True):
        assert_close(one, other)


@by_name
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(variant, policy) -> None:
    layer = made(**variant, dtype=policy, return_sequences=True)
    assert_close(layer(X), of_the_equations(layer)["hidden_states"], layer.compute_dtype, scale=2)


@by_name
def test_fit_reaches_every_weight(variant) -> None:
    layer = LSTM(U, **variant, dropout=0.1, recurrent_dropout=0.1, return_sequences=True, seed=1)
    model = keras.Sequential([Input((T, F)), layers.Masking(), layer])
    before = [to_numpy(w).copy() for w in layer.trainable_weights]
    model.compile("adam", "mse")
    target = np.random.default_rng(5).normal(size=model.output_shape[1:])
    history = model.fit(X, np.stack([target] * B), epochs=4, verbose=0, batch_size=B).history
    assert np.isfinite(history["loss"]).all()
    for weight, old in zip(layer.trainable_weights, before, strict=True):
        assert (to_numpy(weight) != old).any(), weight.path
    assert_close(model.predict(X, verbose=0), model(X))


@by_name
def test_padded_is_unpadded(variant) -> None:
    layer, lengths = made(**variant, outputs=("hidden_states", "cell_state")), [3, 6, 1]
    hs, c = layer(X, lengths=lengths)
    for b, n in enumerate(lengths):
        alone_hs, alone_c = layer(X[b : b + 1, :n])
        assert_close(hs[b : b + 1, :n], alone_hs)
        assert_close(c[b : b + 1], alone_c)


@by_name
def test_stateful_resets_remat_and_learned_states(variant) -> None:
    plain = made(**variant, return_sequences=True)
    whole = to_numpy(plain(X))

    stateful = LSTM(U, **variant, return_sequences=True, stateful=True)
    stateful.build((None, None, F))
    stateful.set_weights(plain.get_weights())
    halves = [to_numpy(stateful(X[:, :3])), to_numpy(stateful(X[:, 3:]))]
    assert_close(np.concatenate(halves, axis=1), whole)
    states = stateful.get_states()
    stateful.reset_state(states)
    assert [s.shape for s in states] == [(B, n) for n in stateful.cell.state_size]

    resets = np.zeros((B, T), bool)
    resets[:, 4] = True
    assert_close(plain(X, resets=resets)[:, 4:], plain(X[:, 4:]))

    remat = LSTM(U, **variant, return_sequences=True, remat=4)
    remat.build((None, None, F))
    remat.set_weights(plain.get_weights())
    assert_close(remat(X), whole)

    learned = made(**variant, return_sequences=True, initial_state="learned")
    start = learned.initial_hidden_state, learned.initial_cell_state
    rows = [np.broadcast_to(to_numpy(s), (B, *s.shape)) for s in start]
    expected = of_the_equations(learned, hidden_state=rows[0], cell_state=rows[1])
    assert_close(learned(X), expected["hidden_states"])


@by_name
def test_bidirectional_keeps_it(variant) -> None:
    both = layers.Bidirectional(made(**variant, return_sequences=True))
    hs = to_numpy(both(X))
    assert both.backward_layer.variant == both.forward_layer.variant
    assert both.forward_layer.use_cudnn is False
    backward = of_the_equations(both.backward_layer)["hidden_states"][:, ::-1]
    assert_close(hs[..., hs.shape[-1] // 2 :], backward)


# Neutral settings ---------------------------------------------------------------------


def assert_plain(layer, plain) -> None:
    layer.build((None, None, F))
    layer.set_weights([*plain.get_weights(), *layer.get_weights()[len(plain.get_weights()) :]])
    for one, other in zip(layer(X), plain(X), strict=True):
        assert_close(one, other)


@pytest.mark.parametrize(
    "variant",
    [
        {"peephole": True},
        {"output_transform": True},
        {"projection": U, "kernel_initializer": "identity"},
        {"zoneout": (0, 0)},
        {"clip": 1e6, "cell_clip": 1e6},
        {"output_activation": "tanh"},
    ],
    ids=str,
)
def test_at_its_neutral_setting_it_is_the_plain_one(variant) -> None:
    assert_plain(LSTM(U, **variant, outputs=EVERY), made(outputs=EVERY))


def test_coupled_is_a_plain_one_whose_input_gate_is_the_forget_gate_upside_down() -> None:
    coupled, plain = made(coupled=True, outputs=EVERY), LSTM(U, outputs=EVERY)
    plain.build((None, None, F))
    # 1 - sigma(z) = sigma(-z)
    plain.set_weights([np.concatenate([-w[..., :U], w], -1) for w in coupled.get_weights()])
    for one, other in zip(coupled(X), plain(X), strict=True):
        assert_close(one, other)


def test_coupled_weights_begin_as_the_plain_ones() -> None:
    layer = LSTM(U, coupled=True)
    layer.build((None, None, F))
    assert [w.shape for w in layer.weights] == [(F, 3 * U), (U, 3 * U), (3 * U,)]
    assert to_numpy(layer.cell.bias).tolist() == [1.0] * U + [0.0] * 2 * U
    weights = layer.gate_weights()
    assert list(weights) == ["forget", "candidate", "output"]
    layer.set_gate_weights({gate: (2 * W, 3 * b) for gate, (W, b) in weights.items()})
    assert to_numpy(layer.cell.bias).tolist() == [3.0] * U + [0.0] * 2 * U


def test_gate_weights_of_a_projection_act_on_it() -> None:
    layer = made(projection=2)
    weights = layer.gate_weights()
    assert weights["input"][0].shape == (U, 2 + F)
    before = layer.get_weights()
    layer.set_gate_weights(weights)
    assert all((a == b).all() for a, b in zip(before, layer.get_weights(), strict=True))


def test_defaults_are_keras() -> None:
    ours, theirs = LSTM(U), layers.LSTM(U)
    ours.build((B, T, F)), theirs.build((B, T, F))
    ends = [w.path.split("/")[-1] for w in ours.weights]
    assert ends == ["kernel", "recurrent_kernel", "bias"]
    theirs.set_weights(ours.get_weights())
    assert_close(ours(X), theirs(X))
    assert ours.variant is LSTM(U, zoneout=(0, 0), recurrent_weight_dropout=0).variant


def test_penalties_and_bounds_are_of_the_recurrent_kernel_alone() -> None:
    layer = LSTM(
        U,
        projection=2,
        peephole=True,
        output_transform=True,
        recurrent_regularizer="l2",
        recurrent_constraint="non_neg",
    )
    layer(X)
    penalty = 0.01 * (to_numpy(layer.cell.recurrent_kernel) ** 2).sum()
    assert_close(sum(map(to_numpy, layer.losses)), penalty)
    bounded = [w.name for w in layer.weights if w.constraint is not None]
    assert bounded == ["recurrent_kernel"]


# Oracles ------------------------------------------------------------------------------


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_projection_is_that_of_torch() -> None:
    import torch

    layer = made(projection=2, outputs=("hidden_states", "hidden_state", "cell_state"))
    theirs = torch.nn.LSTM(F, U, proj_size=2, batch_first=True, dtype=torch.float64)
    kernel, recurrent_kernel, bias, projection = map(np.float64, layer.get_weights())
    arrays = (kernel.T, recurrent_kernel.T, bias, 0 * bias, projection.T)
    with torch.no_grad():
        for parameter, array in zip(theirs.parameters(), arrays, strict=True):
            parameter.copy_(torch.tensor(array))
        hs, (h, c) = theirs(torch.tensor(X, dtype=torch.float64))
    for actual, expected in zip(layer(X), (hs, h[0], c[0]), strict=True):
        assert_close(actual, expected.numpy())


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")
@pytest.mark.parametrize("bound", [None, 0.4])
def test_peepholes_and_the_clip_of_the_cell_are_those_of_tensorflow(bound) -> None:
    names = ("hidden_states", "cell_states", "input_gates", "forget_gates", "output_gates")
    layer = made(peephole=True, cell_clip=bound, outputs=names)
    kernel, recurrent_kernel, bias, peephole = layer.get_weights()
    expected = block_lstm_v2(
        X, kernel, recurrent_kernel, bias, peephole=peephole, cell_clip=bound or 0.0
    )
    for name, value in zip(names, layer(X), strict=True):
        assert_close(value, expected[name])


# Draws --------------------------------------------------------------------------------


def test_zoneout_keeps_units_in_training_as_often_as_it_says() -> None:
    layer = made(zoneout=(0.2, 0.5), outputs=("hidden_states", "cell_states"), seed=1)
    x = np.random.default_rng(6).normal(size=(40, 30, F)).astype("float32")
    drawn = [to_numpy(states) for states in layer(x, training=True)]
    for states, part in zip(drawn, layer.zoneout, strict=True):
        kept = states[:, 1:] == states[:, :-1]
        assert abs(kept.mean() - part) < 0.02
        assert abs(kept.mean(axis=(0, 1)) - part).max() < 0.05
        assert abs(kept.mean(axis=(0, 2)) - part).max() < 0.12
    again = to_numpy(layer(x, training=True)[1])
    assert (again != drawn[1]).any()


def test_one_step_of_zoneout_is_in_the_mean_that_of_inference() -> None:
    layer = made(zoneout=(0.3, 0.6), outputs=("hidden_state", "cell_state"), seed=1)
    rows = 4000
    x = np.repeat(X[:1, :1], rows, axis=0)
    states = [np.full((rows, U), value, "float32") for value in (0.9, -0.8)]
    drawn = layer(x, initial_state=states, training=True)
    expected = layer(x[:1], initial_state=[s[:1] for s in states])
    for many, one in zip(drawn, expected, strict=True):
        assert abs(to_numpy(many).mean(axis=0) - to_numpy(one)[0]).max() < 0.03


def test_recurrent_weight_dropout_is_one_mask_a_call() -> None:
    layer = LSTM(
        U,
        activation="linear",
        recurrent_activation="linear",
        recurrent_weight_dropout=0.5,
        use_bias=False,
        seed=3,
        outputs="candidates",
    )
    layer.build((None, None, F))
    ones = np.ones((U, 4 * U))
    layer.set_weights([np.zeros((F, 4 * U)), ones])
    # Gates and candidate are h' R, and h' is a unit vector: the sums of R's columns by rows.
    start = [np.eye(U, dtype="float32"), np.zeros((U, U), "float32")]
    x = np.zeros((U, 1, F), "float32")
    first, second = (to_numpy(layer(x, initial_state=start, training=True))[:, 0] for _ in range(2))
    assert set(np.unique([first, second])) == {0.0, 2.0}
    assert (first != second).any()
    assert_close(layer(x, initial_state=start)[:, 0], np.ones((U, U)))
    assert layer.cell._recurrent_kernel_mask is None


def test_recurrent_weight_dropout_is_the_same_at_all_steps() -> None:
    layer = made(recurrent_weight_dropout=0.5, return_sequences=True, seed=3)
    masks, draw = [], layer.cell.get_recurrent_kernel_mask
    layer.cell.get_recurrent_kernel_mask = lambda: masks.append(draw()) or masks[-1]
    actual = layer(X, training=True)
    kernel = to_numpy(layer.cell.recurrent_kernel)
    expected = of_the_equations(layer, recurrent_kernel=kernel * to_numpy(masks[-1]))
    assert_close(actual, expected["hidden_states"])


@pytest.mark.parametrize("unroll", [False, True])
def test_a_cell_in_rnn_draws(unroll) -> None:
    cell = made(LSTMCell, recurrent_weight_dropout=0.5, seed=3)
    rnn = layers.RNN(cell, return_sequences=True, unroll=unroll)
    first, second = (to_numpy(rnn(X, training=True)) for _ in range(2))
    assert (first != second).any()
    assert_close(rnn(X), rnn(X))


def test_zoneout_of_a_cell_in_rnn() -> None:
    rnn = layers.RNN(made(LSTMCell, zoneout=0.5, seed=3), return_sequences=True)
    x = np.random.default_rng(6).normal(size=(20, 30, F)).astype("float32")
    if BACKEND == "jax":
        with pytest.raises(ConveyorError, match=r"Write conveyor.LSTM\(units, zoneout=...\)"):
            rnn(x, training=True)
        return
    hs = to_numpy(rnn(x, training=True))
    assert abs((hs[:, 1:] == hs[:, :-1]).mean() - 0.5) < 0.05


# Refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"peephole": 1}, "peephole to be True or False; got peephole=1"),
        ({"coupled": "yes"}, "coupled to be True or False"),
        ({"output_transform": None}, "output_transform to be True or False"),
        ({"projection": 0}, "projection to be a positive integer"),
        ({"projection": True}, "projection to be a positive integer"),
        ({"projection": 2.0}, "projection to be a positive integer"),
        ({"layer_norm": True}, 'layer_norm to be "gates" or "joint"'),
        ({"layer_norm": "batch"}, "got layer_norm='batch'"),
        ({"layer_norm": ("gates", "joint")}, "got layer_norm=('gates', 'joint')"),
        ({"layer_norm": ()}, "layer_norm to be"),
        ({"layer_norm": ("cell", "cell")}, "layer_norm to be"),
        ({"layer_norm": "gates", "units": 1}, "the mean of one number is that number"),
        ({"zoneout": 1}, "zoneout to be the probability of a unit to keep its old state"),
        ({"zoneout": (0.1, -0.1)}, "got zoneout=-0.1"),
        ({"zoneout": (0.1, 0.1, 0.1)}, "the pair (hidden, cell); got 3 of them"),
        ({"zoneout": None}, "got zoneout=None"),
        ({"zoneout": float("nan")}, "got zoneout=nan"),
        ({"recurrent_weight_dropout": 1.0}, "the fraction of the recurrent kernel to drop"),
        ({"clip": 0}, "clip to be a positive number"),
        ({"cell_clip": -1.0}, "cell_clip to be a positive number"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [LSTM, LSTMCell])
def test_what_makes_no_sense_is_refused(kind, arguments, said) -> None:
    with pytest.raises(ConveyorError, match=re.escape(said)) as error:
        kind(**{"units": U, **arguments})
    assert str(error.value).startswith(f"{kind.__name__} expects")


def test_states_of_another_size_than_the_projection() -> None:
    layer = made(projection=2, name="encoder")
    wide = np.zeros((B, U), "float32")
    with pytest.raises(ConveyorError, match=r"hidden_state of shape \(batch, projection\)"):
        layer(X, initial_state=[wide, wide])
    with pytest.raises(ConveyorError, match=r"\(3, 2\) with the numbers of the projection"):
        layer(X, initial_state=[wide])


# Elsewhere ----------------------------------------------------------------------------


@by_name
def test_accelerate_and_truncated_back_propagation(variant) -> None:
    x = Input((None, F))
    rnn = layers.RNN(LSTMCell(U, **variant), return_sequences=True)
    model = keras.Model(x, rnn(x))
    expected = to_numpy(model(X))
    conveyor.accelerate(model, verbose=False)
    (layer,) = model.layers[1:]
    assert type(layer) is LSTM
    assert layer.get_config()["projection"] == variant.get("projection")
    assert_close(model(X), expected)
    again = LSTM.from_config(layer.get_config())
    assert again.variant == layer.variant
    model.compile("sgd", "mse")
    history = conveyor.tbptt(model, window=2).fit(X, 0 * expected, batch_size=B, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
