"""All layers and directions of one torch.nn.LSTM in one conveyor.LSTM, and back."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from conveyor import LSTM, ConveyorError, convert
from conveyor.convert._reference import hidden_states
from frameworks import to_numpy

from .examples import X, assert_equal, weights


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_there_and_back(count, directions, bias, tmp_path) -> None:
    given = weights(count, directions, bias=bias)
    model = convert.to_keras(given, one_layer=True, verbose=False)
    (layer,) = model.layers
    assert [len(row) for row in layer.cells] == [directions] * count
    np.testing.assert_allclose(to_numpy(model(X)), hidden_states(given, X), atol=2e-6)
    assert_equal(convert.weights_of(layer), given)
    assert_equal(convert.weights_of(model), given)
    for suffix in (".safetensors", ".keras"):
        path = convert.save(layer, tmp_path / f"a{suffix}", verbose=False)
        assert_equal(convert.weights_of(path), given)


# What PyTorch says of itself.
@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(("bidirectional", "projected"), [(True, 0), (False, 0), (True, 2)])
def test_torch(bidirectional, projected) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(
        3, 4, num_layers=2, bidirectional=bidirectional, batch_first=True, proj_size=projected
    )
    model = convert.to_keras(module, one_layer=True, verbose=False)
    expected = module(torch.from_numpy(X))[0].detach().numpy()
    np.testing.assert_allclose(to_numpy(model(X)), expected, atol=2e-6)
    again = convert.to_torch(model.layers[0], verbose=False)
    np.testing.assert_allclose(again(torch.from_numpy(X))[0].detach(), expected, atol=2e-6)
    assert again.num_layers == 2
    assert again.proj_size == projected
    assert again.bidirectional is bidirectional


def test_what_has_no_place_is_refused() -> None:
    for layer, words in (
        (LSTM(4, bidirectional=True, merge_mode="sum"), "merge_mode='sum'"),
        (LSTM(4, num_layers=2, go_backwards=True), "go_backwards"),
        (LSTM(4, num_layers=2, initial_state="learned"), "learned"),
        (keras.layers.Bidirectional(LSTM(4, num_layers=2)), "Bidirectional"),
    ):
        layer.build((None, None, 3))
        with pytest.raises(ConveyorError, match=words):
            convert.weights_of(layer)
    with pytest.raises(ConveyorError, match="not built"):
        convert.weights_of(LSTM(4, num_layers=2))
    sizes = convert.LSTMWeights((weights(1, 1, units=3).layers[0], _of_3_features(5)))
    with pytest.raises(ConveyorError, match="one size"):
        convert.to_keras(sizes, one_layer=True, verbose=False)


def _of_3_features(units):
    return weights(1, 1, units=units).layers[0]
