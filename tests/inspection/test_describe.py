"""describe(): the numbers of every LSTM, wherever it stands in a model."""

from __future__ import annotations

import keras
import pytest
from keras import layers

import conveyor
from conveyor import ConveyorError
from conveyor.inspection import describe


def names_and_numbers(model, input_shape=None):
    return [
        (flow.name, flow.direction, flow.time_steps, flow.features, flow.units)
        for flow in describe(model, input_shape)
    ]


@pytest.mark.parametrize("layer_class", [layers.LSTM, conveyor.LSTM])
def test_the_numbers_of_the_article(layer_class):
    (flow,) = describe(layer_class(64, name="lstm"), input_shape=(20, 32))
    assert (flow.time_steps, flow.features, flow.units, flow.joined) == (20, 32, 64, 96)
    assert flow.kernel_shape == (32, 256)
    assert flow.recurrent_kernel_shape == (64, 256)
    assert flow.bias_shape == (256,)
    assert flow.gate_weight_shape == (64, 96)
    assert flow.gate_bias_shape == (64,)
    assert flow.parameters == 4 * ((64 + 32) * 64 + 64) == 24_832


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(("units", "features"), [(1, 1), (3, 7), (8, 2)])
@pytest.mark.parametrize("layer_class", [layers.LSTM, conveyor.LSTM])
def test_shapes_and_formula_agree_with_the_weights(layer_class, units, features, use_bias):
    layer = layer_class(units, use_bias=use_bias)
    layer.build((None, 5, features))
    (flow,) = describe(layer)
    assert flow.parameters == layer.count_params()
    assert flow.kernel_shape == tuple(layer.cell.kernel.shape)
    assert flow.recurrent_kernel_shape == tuple(layer.cell.recurrent_kernel.shape)
    assert flow.bias_shape == (tuple(layer.cell.bias.shape) if use_bias else None)
    assert flow.time_steps == 5


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("return_state", [False, True])
@pytest.mark.parametrize("layer_class", [layers.LSTM, conveyor.LSTM])
def test_what_is_returned_is_what_keras_returns(layer_class, return_sequences, return_state):
    layer = layer_class(4, return_sequences=return_sequences, return_state=return_state)
    output = layer(keras.Input((6, 3)))
    shapes = [tensor.shape for tensor in output] if return_state else [output.shape]
    (flow,) = describe(layer)
    assert [item.shape for item in flow.returned] == shapes
    first = "hidden_states" if return_sequences else "hidden_state"
    states = ["hidden_state", "cell_state"] if return_state else []
    assert [item.name for item in flow.returned] == [first, *states]
    assert flow.returned[0].because == f"return_sequences={return_sequences}"
    assert {item.because for item in flow.returned[1:]} <= {"return_state=True"}


def test_named_outputs_come_in_their_order():
    layer = conveyor.LSTM(4, outputs=("forget_gates", "cell_state", "hidden_states"))
    tensors = layer(keras.Input((6, 3)))
    (flow,) = describe(layer)
    assert [item.name for item in flow.returned] == ["forget_gates", "cell_state", "hidden_states"]
    assert [item.shape for item in flow.returned] == [tensor.shape for tensor in tensors]
    assert flow.class_name == "conveyor.LSTM"


def test_bidirectional_is_two_lstms():
    layer = layers.Bidirectional(layers.LSTM(4, return_sequences=True, name="lstm"), name="both")
    model = keras.Sequential([keras.Input((9, 5)), layer])
    forward, backward = describe(model)
    assert (forward.name, forward.direction) == ("both/forward_lstm", "forward")
    assert (backward.name, backward.direction) == ("both/backward_lstm", "backward")
    assert forward.merge_mode == backward.merge_mode == "concat"
    assert forward.parameters + backward.parameters == layer.count_params()


def test_every_lstm_of_a_nested_functional_model_once():
    shared = layers.LSTM(4, return_sequences=True, name="shared")
    inner = keras.Sequential([keras.Input((None, 4)), conveyor.LSTM(3, name="deep")], name="inner")
    x = keras.Input((7, 4))
    model = keras.Model(x, inner(shared(shared(x))))
    assert sorted(names_and_numbers(model)) == [
        ("inner/deep", "forward", None, 4, 3),
        ("shared", "forward", 7, 4, 4),
    ]


def test_encoder_and_decoder_with_handed_over_states():
    source, target = keras.Input((None, 5)), keras.Input((None, 6))
    _, h, c = layers.LSTM(4, return_state=True, name="encoder")(source)
    decoded = layers.LSTM(4, return_sequences=True, name="decoder")(target, initial_state=[h, c])
    assert names_and_numbers(keras.Model([source, target], decoded)) == [
        ("encoder", "forward", None, 5, 4),
        ("decoder", "forward", None, 6, 4),
    ]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.stack = [
            layers.LSTM(4, return_sequences=True, name="lstm"),
            layers.LSTM(2, name="lstm"),
        ]

    def call(self, x):
        for layer in self.stack:
            x = layer(x)
        return x


def test_a_subclassed_model_whose_layers_share_a_name():
    model = Subclassed()
    model(keras.ops.ones((2, 7, 3)))
    assert names_and_numbers(model) == [
        ("lstm", "forward", 7, 3, 4),
        ("lstm (2)", "forward", 7, 4, 2),
    ]


def test_input_shape_is_followed_and_builds_nothing():
    model = keras.Sequential(
        [
            layers.Embedding(10, 5),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True, name="a"), name="both"),
            layers.LSTM(2, name="last"),
            layers.Dense(1),
        ]
    )
    assert names_and_numbers(model, (20,)) == [
        ("both/forward_a", "forward", 20, 5, 4),
        ("both/backward_a", "backward", 20, 5, 4),
        ("last", "forward", 20, 8, 2),
    ]
    assert not any(layer.built for layer in model.layers)


def test_layers_behind_the_last_lstm_may_be_of_any_kind():
    class NoShapes(keras.layers.Layer):
        def call(self, x):
            return x

    model = keras.Sequential([layers.LSTM(2, name="lstm"), NoShapes(), layers.Dense(1)])
    assert names_and_numbers(model, (20, 5)) == [("lstm", "forward", 20, 5, 2)]


def test_a_cell_in_keras_rnn_counts_as_lstm():
    (flow,) = describe(layers.RNN(layers.LSTMCell(4)), (6, 3))
    assert flow.class_name == "keras.layers.RNN(LSTMCell)"
    assert flow.units == 4


def test_an_unbuilt_layer_teaches_the_line_to_write():
    with pytest.raises(ConveyorError) as error:
        describe(layers.LSTM(64, name="reader"))
    text = str(error.value)
    assert 'LSTM "reader" expects' in text
    assert "explain(layer, input_shape=(20, 32))" in text


def test_an_unbuilt_model_teaches_to_begin_with_input():
    with pytest.raises(ConveyorError, match=r"begin it with Input\(shape=\(20, 32\)\)"):
        describe(keras.Sequential([layers.LSTM(4)]))


def test_the_batch_does_not_belong_into_input_shape():
    with pytest.raises(ConveyorError, match=r"without the batch; got \(8, 20, 32\)"):
        describe(layers.LSTM(64), (8, 20, 32))


def test_features_other_than_built_for():
    layer = layers.LSTM(4)
    layer.build((None, None, 3))
    with pytest.raises(ConveyorError, match=r"3 features.*input_shape=\(7, 4\)"):
        describe(layer, (7, 4))
    assert describe(layer, (7, 3))[0].time_steps == 7


def test_input_shape_into_a_model_that_cannot_be_followed():
    x = keras.Input((7, 3))
    with pytest.raises(ConveyorError, match=r"Write explain\(model\)"):
        describe(keras.Model(x, layers.LSTM(4)(x)), (7, 3))


def test_a_model_without_lstm():
    with pytest.raises(ConveyorError, match="holds none"):
        describe(layers.Dense(3))


def test_more_parameters_than_an_lstm_has_are_not_explained_away():
    class Peephole(layers.LSTM):
        def build(self, shape):
            super().build(shape)
            self.peephole = self.add_weight(shape=(3, self.units), name="peephole")

    layer = Peephole(4)
    layer.build((None, 5, 2))
    with pytest.raises(ConveyorError, match=r"112 parameters.*124"):
        describe(layer)


def test_what_is_no_layer_is_refused():
    with pytest.raises(ConveyorError, match="a Keras model or layer; got int"):
        describe(3)
