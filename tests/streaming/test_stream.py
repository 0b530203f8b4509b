"""A stream computes what the model does, however its steps are cut and mixed."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from conveyor import GRU, LSTM, ConveyorError, Stream, engines
from conveyor.streaming import _stream
from full_disk import full_disk

T, F = 12, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, T, F)).astype("float32")
X[0, 8:] = X[1, :2] = X[2, 4:6] = 0.0  # what Masking leaves out
IDS = RNG.integers(0, 9, size=(4, T))


def tagger():
    x = keras.Input((None, F))
    y = layers.LSTM(5, return_sequences=True, name="below")(layers.Masking()(x))
    y = layers.LayerNormalization()(layers.Dropout(0.5)(y))
    y = LSTM(4, return_sequences=True, name="above")(y) + layers.Dense(4)(y)
    y = layers.Concatenate()([y, x])
    return keras.Model(x, layers.TimeDistributed(layers.Dense(2, activation="softmax"))(y))


def classifier():
    return keras.Sequential(
        [
            keras.Input((None,)),
            layers.Embedding(9, 6, mask_zero=True),
            LSTM(5, return_sequences=True, zero_output_for_mask=True),
            layers.RNN([layers.LSTMCell(4), layers.LSTMCell(3)]),
            layers.BatchNormalization(),
            layers.Dense(2, activation="elu"),
            layers.Reshape((2, 1)),
        ]
    )


def nested():
    x = keras.Input((None, F))
    inner = keras.Model(x, layers.Dense(4)(LSTM(5, return_sequences=True)(x)), name="inner")
    outer = keras.Sequential([keras.Input((None, 4)), layers.LSTM(3), layers.Dense(2)])
    return keras.Sequential([keras.Input((None, F)), inner, layers.ReLU(), outer])


def states():
    x = keras.Input((None, F))
    hs, h, c = LSTM(4, return_sequences=True, return_state=True)(layers.Masking()(x))
    cs = LSTM(3, outputs="cell_states", activation="relu")(hs)
    return keras.Model(x, {"all": cs, "last": [h, c]})


def beyond_plain():
    x = keras.Input((None, F))
    y = LSTM(5, coupled=True, peephole=True, projection=2, return_sequences=True, name="below")(
        layers.Masking()(x)
    )
    hs, c = LSTM(
        4,
        output_transform=True,
        layer_norm=("joint", "cell"),
        zoneout=0.1,
        cell_clip=0.5,
        outputs=("hidden_states", "cell_state"),
        name="above",
    )(y)
    return keras.Model(x, [hs, c])


MODELS = {
    "tagger": (tagger, X),
    "classifier": (classifier, IDS),
    "nested": (nested, X),
    "states": (states, X),
    "beyond_plain": (beyond_plain, X),
}


@pytest.fixture(scope="module", params=MODELS)
def case(request):
    make, x = MODELS[request.param]
    keras.utils.set_random_seed(3)
    model = make()
    model.set_weights([w + 0.3 * RNG.normal(size=w.shape) ** 2 for w in model.get_weights()])
    return model, x


def leaves(nest):
    return [np.asarray(keras.ops.convert_to_numpy(leaf)) for leaf in keras.tree.flatten(nest)]


def expected(model, x):
    return leaves(model(x))


def over_time(model):
    return [tensor.shape[1] is None for tensor in keras.tree.flatten(model.outputs)]


def assert_close(actual, wanted):
    for a, b in zip(leaves(actual), wanted, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("engine", ["auto", "portable"])
def test_step_by_step(case, engine):
    model, x = case
    stream = Stream(model, engine=engine)
    for t in range(T):
        y = stream.step(x[0, t])
        if t not in (0, 5, T - 1):  # JAX compiles each length anew
            continue
        wanted = zip(expected(model, x[:1, : t + 1]), over_time(model), strict=True)
        assert_close(y, [w[0, -1] if every else w[0] for w, every in wanted])


@given(data=st.data())
def test_any_chunks_of_any_sessions(case, data):
    model, x = case
    stream = Stream(model)
    at = dict.fromkeys("abcd", 0)
    parts = {key: [] for key in at}
    rows = {key: n for n, key in enumerate(at)}
    while any(t < T for t in at.values()):
        ready = [key for key, t in at.items() if t < T]
        keys = data.draw(st.permutations(ready), "who")
        keys = keys[: data.draw(st.integers(1, len(keys)), "how many")]
        left = min(T - at[key] for key in keys)
        # Of few lengths: JAX compiles each anew.
        length = data.draw(st.sampled_from([n for n in (1, 4, T) if n <= left]), "steps")
        chunk = np.stack([x[rows[key], at[key] : at[key] + length] for key in keys])
        if len(keys) == 1 and data.draw(st.booleans(), "alone"):
            y = [leaf[None] for leaf in leaves(stream.feed(chunk[0], session=keys[0]))]
        else:
            y = leaves(stream.feed(chunk, session=keys))
        for n, key in enumerate(keys):
            parts[key].append([leaf[n] for leaf in y])
            at[key] += length
    for n, (wanted, every) in enumerate(zip(expected(model, x), over_time(model), strict=True)):
        for key, row in rows.items():
            mine = [part[n] for part in parts[key]]
            actual = np.concatenate(mine) if every else mine[-1]
            np.testing.assert_allclose(actual, wanted[row], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", [tagger, classifier, states])
def test_a_model_read_from_a_file(make, tmp_path):
    model, x = make(), MODELS[make.__name__][1]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(Stream(loaded).feed(x[0]), leaves(Stream(model).feed(x[0])))


def test_long_chunks_go_in_blocks(monkeypatch):
    model = tagger()
    monkeypatch.setattr(_stream, "_BLOCK", 5)
    y = Stream(model).feed(X, session=[*"abcd"])
    np.testing.assert_allclose(y, expected(model, X)[0], atol=1e-5)


@pytest.mark.parametrize("engine", ["auto", "portable"])
def test_what_is_returned_stays_and_what_is_given_too(engine):
    x = keras.Input((None, F))
    hs = LSTM(4, return_sequences=True)(x)
    stream = Stream(keras.Model(x, [hs, layers.Dropout(0.5)(x)]), engine=engine)
    row = X[3, 0].copy()
    for returned in (stream.step(row), stream.step(row[None], session=["a"])):
        kept = leaves(returned)
        for array in returned:
            assert not np.shares_memory(array, row)
        stream.step(X[3, 1])
        stream.step(X[3, 1:2], session=["a"])
        for array, before in zip(returned, kept, strict=True):
            np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("engine", ["auto", "portable"])
def test_bfloat16(engine, tmp_path):
    keras.config.set_dtype_policy("bfloat16")  # its cell state is float32
    layer = LSTM(33, return_sequences=True, recurrent_initializer="glorot_uniform", name="lstm")
    model = keras.Sequential([keras.Input((None, F)), layer])
    stream, other = (Stream(model, engine=engine) for _ in range(2))
    y = [stream.step(x_t).astype("float32") for x_t in X[3]]
    np.testing.assert_allclose(y, expected(model, X[3:])[0][0].astype("float32"), atol=0.02)
    other.load(stream.save(tmp_path / "sessions.npz"))
    for a, b in zip(*(s.states()["lstm"] for s in (stream, other)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_layer_alone():
    layer = layers.LSTM(4, return_sequences=True)
    layer.build((None, None, F))
    np.testing.assert_allclose(Stream(layer).feed(X[0]), leaves(layer(X[:1]))[0][0], atol=1e-5)


def test_sessions_fork_reset_and_go():
    model = tagger()
    stream = Stream(model)
    whole = expected(model, X)[0]
    stream.feed(X[3, :5], session="a")
    stream.fork("a", "b")
    for key in ("a", "b"):
        np.testing.assert_allclose(stream.feed(X[3, 5:], session=key), whole[3, 5:], atol=1e-5)
    stream.reset("a")
    np.testing.assert_allclose(stream.feed(X[3], session="a"), whole[3], atol=1e-5)
    assert stream.sessions == ["a", "b"]
    stream.drop("a")
    # The next one gets the place, and begins with zeros all the same.
    np.testing.assert_allclose(stream.feed(X[3], session="c"), whole[3], atol=1e-5)
    assert stream.sessions == ["b", "c"]
    h, c = stream.states("b")["below"]
    assert h.shape == c.shape == (5,)
    stream.set_states(stream.states("b"), session="d")
    for name in ("a", "x"):
        with pytest.raises(ConveyorError, match="'b', 'c', 'd'"):
            stream.reset(name)


def test_sessions_in_a_file(tmp_path, monkeypatch):
    model = tagger()
    stream, other = Stream(model), Stream(model)
    for key in (None, "a", 7):
        stream.feed(X[3, :5], session=key)
    path = stream.save(tmp_path / "sessions.npz")
    assert other.load(path) == [None, "a", 7]
    for key in (None, "a", 7):
        np.testing.assert_array_equal(
            other.feed(X[3, 5:], session=key), stream.feed(X[3, 5:], session=key)
        )
    before = path.read_bytes()
    with full_disk(monkeypatch, 100), pytest.raises(OSError, match="No space"):
        stream.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    stream.step(X[0, 0], session=(1, 2))
    with pytest.raises(ConveyorError, match="whole numbers"):
        stream.save(path)
    with pytest.raises(ConveyorError, match="belong to the model"):
        Stream(states()).load(path)


@given(data=st.data())
def test_damaged_files_change_nothing(data, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    model = _small()
    stream = Stream(model)
    stream.step(X[0, 0], session="a")
    content = bytearray(stream.save(folder / "whole.npz").read_bytes())
    content = content[: data.draw(st.integers(0, len(content) - 1))]
    (folder / "cut.npz").write_bytes(content)
    other = Stream(model)
    with pytest.raises(ConveyorError):
        other.load(folder / "cut.npz")
    assert other.sessions == []


_SMALL = []


def _small():
    if not _SMALL:
        _SMALL.append(keras.Sequential([keras.Input((None, F)), LSTM(2)]))
    return _SMALL[0]


def backwards():
    x = keras.Input((None, F))
    h = layers.LSTM(4, return_state=True)(x)
    return keras.Model(x, layers.LSTM(4)(x, initial_state=h[1:]))


def with_layer(layer):
    return lambda: Stream(
        keras.Sequential([keras.Input((8, F)), LSTM(4, return_sequences=True), layer])
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.lstm = LSTM(4)

    def call(self, x):
        return self.lstm(x)


def joined_with_the_end():
    x = keras.Input((T, F))
    end = layers.RepeatVector(T)(LSTM(4)(x))
    return keras.Model(x, layers.Concatenate(name="both")([LSTM(4, return_sequences=True)(x), end]))


def subclassed():
    model = Subclassed()
    model(X)
    return model


def with_a_mask():
    x, mask = keras.Input((None, F)), keras.Input((None,), dtype="bool")
    return keras.Model([x, mask], LSTM(4)(x, mask=mask))


REFUSED = {
    "mask is given at the call": lambda: Stream(with_a_mask()),
    "wait for the end": with_layer(layers.Bidirectional(layers.LSTM(4), name="both")),
    '"back", which reads the last': with_layer(layers.LSTM(4, go_backwards=True, name="back")),
    "Conv1D": with_layer(layers.Conv1D(2, 2)),
    "Flatten": with_layer(layers.Flatten()),
    "SimpleRNNCell, which is neither": with_layer(layers.SimpleRNN(4)),
    "whose initial_state is given": lambda: Stream(backwards()),
    "has states alone|states alone": with_layer(LSTM(4, outputs="forget_gates")),
    "LayerNormalization": with_layer(layers.LayerNormalization(axis=1)),
    '"both", which joins': lambda: Stream(joined_with_the_end()),
    "cannot be looked into": lambda: Stream(subclassed()),
    "not built": lambda: Stream(keras.Sequential([LSTM(4)])),
    "got int": lambda: Stream(3),
    "holds none": lambda: Stream(keras.Sequential([keras.Input((8, F)), layers.Dense(1)])),
    r"shape \(3,\); got shape \(4,\)|shape \(3\)": lambda: Stream(_small()).step(np.zeros(4)),
    r"\(2, 3\)": lambda: Stream(_small()).step(X[0, 0], session=["a", "b"]),
    r"\(time_steps, 3\)": lambda: Stream(_small()).feed(X[0, 0]),
    "at least one time step": lambda: Stream(_small()).feed(X[0, :0]),
    "'a' twice": lambda: Stream(_small()).step(X[:2, 0], session=["a", "a"]),
    "ids from 0 to 8": lambda: Stream(classifier()).step(9),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_refused(message):
    with pytest.raises(ConveyorError, match=message):
        REFUSED[message]()


def test_about_itself():
    stream = Stream(_small())
    assert "engine" in stream.explain_engine()
    stream.step(X[0, 0])
    assert "1 sessions" in repr(stream)


def test_a_stream_beyond_the_plain_lstm_says_what_runs() -> None:
    model = beyond_plain()
    stream = Stream(model)
    if engines()[0].missing is None:
        assert stream.explain_engine() == "native engine"
        assert Stream(model, engine="native").explain_engine() == "native engine"
    stream.step(X[0, 0])
    states = stream.states()
    assert [s.shape for s in states["below"]] == [(2,), (5,)]
    with pytest.raises(ConveyorError, match=r"below \(2,\) and \(5,\)"):
        stream.set_states({**states, "below": states["below"][::-1]})


def test_what_the_native_engine_lacks_runs_on_the_portable_one() -> None:
    layer = LSTM(4, activation="softmax", projection=3, return_sequences=True)
    layer.build((None, None, F))
    stream = Stream(layer)
    assert "activation=softmax" in stream.explain_engine()
    np.testing.assert_allclose(stream.feed(X[3]), leaves(layer(X[3:]))[0][0], atol=1e-5)
    with pytest.raises(ConveyorError, match=f'LSTM "{layer.name}".*'):
        Stream(layer, engine="native")


@pytest.mark.parametrize("make", [lambda: LSTM(5), lambda: LSTM(5, projection=2), lambda: GRU(5)])
@pytest.mark.parametrize("engine", ["auto", "portable"])
def test_weights_are_copied_once(make, engine) -> None:
    layer = make()
    layer.build((None, None, F))
    stream, other = Stream(layer, engine=engine), Stream(layer, engine=engine)
    keys = [*"abcde"]
    x = X[[0, 1, 2, 3, 0]]
    expected = other.step(x[:, 0], session=keys)
    layer.set_weights([np.full(w.shape, 7.0) for w in layer.get_weights()])
    # Each is more than before, so that there must be room for more.
    for n in (1, 2, 5):
        y = stream.step(x[:n, 0], session=[(n, key) for key in keys[:n]])
        np.testing.assert_allclose(y, expected[:n], atol=1e-6)


@pytest.mark.parametrize("engine", ["auto", "portable"])
def test_bfloat16_beyond_the_plain_lstm(engine) -> None:
    layer = LSTM(
        9,
        layer_norm="gates",
        output_transform=True,
        projection=5,
        return_sequences=True,
        recurrent_initializer="glorot_uniform",
        dtype="bfloat16",
    )
    layer.build((None, None, F))
    layer.set_weights([0.5 * RNG.normal(size=w.shape) for w in layer.get_weights()])
    stream = Stream(layer, engine=engine)
    y = np.stack([stream.step(x_t).astype("float32") for x_t in X[3]])
    whole = leaves(keras.ops.cast(layer(X[3:]), "float32"))[0][0]
    np.testing.assert_allclose(y, whole, atol=0.05)
    again = Stream(layer, engine=engine).feed(X[3]).astype("float32")
    np.testing.assert_array_equal(again, y)
