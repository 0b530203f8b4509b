"""A stream of each variant is the layer, whichever engine makes its steps."""

from __future__ import annotations

import numpy as np
import pytest

from conveyor import GRU, LSTM, Stream, engines
from conveyor._engines import _stream_library
from frameworks import to_numpy

T, F = 7, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, T, F)).astype("float32")

LAYERS = {
    "peephole": lambda **a: LSTM(5, peephole=True, **a),
    "coupled": lambda **a: LSTM(5, coupled=True, **a),
    "coupled_peephole_gates": lambda **a: LSTM(
        5, coupled=True, peephole=True, layer_norm="gates", **a
    ),
    "clips": lambda **a: LSTM(5, clip=0.7, cell_clip=0.5, **a),
    "zoneout": lambda **a: LSTM(5, zoneout=(0.2, 0.3), **a),
    "output_activation": lambda **a: LSTM(5, output_activation="relu", **a),
    "projection": lambda **a: LSTM(5, projection=2, **a),
    "wider_projection": lambda **a: LSTM(5, projection=8, zoneout=0.1, **a),
    "output_transform": lambda **a: LSTM(5, output_transform=True, **a),
    "gates": lambda **a: LSTM(5, layer_norm="gates", use_bias=False, **a),
    "joint": lambda **a: LSTM(5, layer_norm="joint", **a),
    "joint_coupled": lambda **a: LSTM(5, layer_norm=("joint", "cell"), coupled=True, **a),
    "cell": lambda **a: LSTM(5, layer_norm="cell", **a),
    "weight_dropout": lambda **a: LSTM(5, recurrent_weight_dropout=0.5, **a),
    "everything": lambda **a: LSTM(
        5,
        coupled=True,
        peephole=True,
        layer_norm=("joint", "cell"),
        output_transform=True,
        projection=4,
        clip=1.2,
        cell_clip=0.8,
        zoneout=0.1,
        output_activation="sigmoid",
        recurrent_activation="hard_sigmoid",
        **a,
    ),
    "gru": lambda **a: GRU(5, **a),
    "gru_before": lambda **a: GRU(5, reset_after=False, activation="gelu", **a),
    "gru_without_bias": lambda **a: GRU(
        5, use_bias=False, recurrent_activation="hard_sigmoid", **a
    ),
}


@pytest.fixture(scope="module", params=LAYERS)
def case(request):
    layer = LAYERS[request.param](return_sequences=True)
    layer.build((None, None, F))
    layer.set_weights([0.5 * RNG.normal(size=w.shape) for w in layer.get_weights()])
    return layer, to_numpy(layer(X))


@pytest.mark.parametrize("engine", ["native", "portable"])
def test_stream_is_layer(case, engine) -> None:
    missing = engines()[0].missing
    if engine == "native" and missing is not None:
        pytest.skip(missing)
    layer, whole = case
    stream = Stream(layer, engine=engine)
    assert stream.explain_engine() == f"{engine} engine"
    stream.step(X[1, 0], session="b")
    # Of rows side by side and apart, by steps and by chunks.
    y = [stream.step(X[0, t], session="a") for t in range(3)]
    np.testing.assert_allclose(y, whole[0, :3], atol=1e-5)
    stream.step(X[1:, 0], session=["other", "c"])
    for t in range(1, 4):
        y = stream.step(X[[2, 1], t], session=["c", "b"])
        np.testing.assert_allclose(y, whole[[2, 1], t], atol=1e-5)
    y = stream.feed(X[[2, 1], 4:], session=["c", "b"])
    np.testing.assert_allclose(y, whole[[2, 1], 4:], atol=1e-5)
    np.testing.assert_allclose(stream.feed(X[0, 3:], session="a"), whole[0, 3:], atol=1e-5)
    # The states are those that the layer would go on from.
    sizes = [layer.units] if isinstance(layer, GRU) else [whole.shape[-1], layer.units]
    (states,) = stream.states("a").values()
    assert [s.shape for s in states] == [(n,) for n in sizes]
    np.testing.assert_allclose(states[0], whole[0, -1], atol=1e-5)


@pytest.mark.parametrize("name", ["projection", "gru"])
def test_a_core_that_is_older_than_its_streams(name, monkeypatch) -> None:
    if engines()[0].missing is not None:
        pytest.skip(engines()[0].missing)
    monkeypatch.setattr(_stream_library, "missing", lambda: "it was built before")
    layer = LAYERS[name]()
    layer.build((None, None, F))
    stream = Stream(layer)
    assert stream.explain_engine() == "portable engine\n  not native: it was built before"
    np.testing.assert_allclose(stream.feed(X[0]), to_numpy(layer(X[:1]))[0], atol=1e-5)


@pytest.mark.parametrize("name", ["output_activation", "gates", "gru"])
def test_float16_runs_on_the_portable_engine(name) -> None:
    layer = LAYERS[name](dtype="float16", recurrent_initializer="glorot_uniform")
    layer.build((None, None, F))
    stream = Stream(layer)
    assert stream.explain_engine().startswith("portable engine")
    y = stream.feed(X[0])
    assert y.dtype == "float16"
    np.testing.assert_allclose(y, to_numpy(layer(X[:1]))[0], atol=5e-3)
