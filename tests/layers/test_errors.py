"""Mistakes that users of LSTMs make, and what they are told."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from conveyor import LSTM, ConveyorError, Input, LSTMCell

X = np.zeros((2, 6, 4), "float32")
STATE = np.zeros((2, 5), "float32")


def built(**arguments):
    layer = LSTM(5, name="encoder", **arguments)
    layer.build((None, None, 4))
    return layer


def stacked_without_sequences():
    x = Input((6, 4))
    LSTM(5, name="upper")(layers.Dropout(0.1)(LSTM(5, name="lower")(x)))


def stacked_in_sequential():
    keras.Sequential([Input((6, 4)), LSTM(5, name="lower"), LSTM(5, name="upper")])


MISTAKES = {
    "one sequence": (
        lambda: LSTM(5, name="encoder")(X[0]),
        [
            'LSTM "encoder" expects (batch, time_steps, features)',
            "(6, 4)",
            "One sequence of 6 steps with 4 features? Write x[None]",
            "6 sequences of 4 steps with one feature? Write x[..., None]",
        ],
    ),
    "after build too": (lambda: built()(X[0]), ["(6, 4)", "x[None]"]),
    "symbolic": (lambda: LSTM(5)(Input((4,))), ["(None, 4)", "x[..., None]"]),
    "4-D": (lambda: built()(X[None]), ["(1, 2, 6, 4)", "TimeDistributed"]),
    "batch in Input": (
        lambda: LSTM(5)(Input(shape=(32, 6, 4))),
        ["from Input(shape=(32, 6, 4))", "Input(shape=(6, 4))"],
    ),
    "stacked": (
        stacked_without_sequences,
        ['LSTM "upper"', "LSTM 'lower'", "return_sequences=True, name='lower'"],
    ),
    "stacked on outputs": (
        lambda: LSTM(5)(LSTM(5, outputs="cell_state", name="lower")(Input((6, 4)))),
        ["LSTM 'lower'", "outputs=\"hidden_states\", name='lower'"],
    ),
    "stacked in Sequential": (stacked_in_sequential, ["LSTM 'lower'", "return_sequences=True"]),
    "features": (
        lambda: built()(X[:, :, :3]),
        ["4 features", "kernel (4, 4 * units)", "got 3", "(batch, time_steps, 4)"],
    ),
    "features, symbolic": (lambda: built()(Input((6, 3))), ["4 features", "got 3"]),
    "units float": (lambda: LSTM(5.0), ["positive integer", "units=5.0", "LSTM(5)"]),
    "units text": (lambda: LSTM("10"), ["positive integer", "units='10'", "LSTM(10)"]),
    "units zero": (lambda: LSTM(0), ["positive integer", "units=0", "LSTM("]),
    "units bool": (lambda: LSTM(True), ["positive integer", "units=True"]),
    "units of a cell": (lambda: LSTMCell(-3), ["LSTMCell expects", "units=-3"]),
    "no steps": (lambda: built()(X[:, :0]), ["at least one time step", "(2, 0, 4)"]),
    "mask length": (
        lambda: built()(X, mask=np.ones((2, 5), bool)),
        ["(2, 6)", "(2, 5)", "tokens != 0"],
    ),
    "mask rank": (lambda: built()(X, mask=np.ones(6, bool)), ["(batch, time_steps)", "(6,)"]),
    "mask batch": (lambda: built()(X, mask=np.ones((3, 6), bool)), ["(2, 6)", "(3, 6)"]),
    "lengths beyond": (lambda: built()(X, lengths=[7, 6]), ["time_steps = 6", "lengths[0] = 7"]),
    "lengths negative": (lambda: built()(X, lengths=[6, -2]), ["lengths[1] = -2"]),
    "lengths count": (lambda: built()(X, lengths=[6]), ["(batch,) = (2,)", "(1,)"]),
    "nested list": (lambda: built()(X.tolist()), ["array (batch", "got list", "np.asarray(x"]),
    "text": (lambda: built()("mardi"), ["got str", "Embedding"]),
    "nothing": (lambda: built()(None), ["got NoneType"]),
    "complex": (lambda: built()(X.astype("complex64")), ["floating-point", "complex64"]),
    "ragged lengths": (lambda: built()(X, lengths=[[1], [2, 3]]), ["whole numbers", "[[1], [2,"]),
    "no states": (lambda: built()(X, initial_state=[None, None]), ["hidden_state", "NoneType"]),
    "lists as states": (
        lambda: built()(X, initial_state=[[[0.0] * 5] * 2] * 2),
        ["got list", "np.asarray(hidden_state)"],
    ),
    "one state for a cell": (lambda: LSTMCell(5)(X[:, 0], [STATE]), ["two tensors", "1 tensors"]),
    "outputs number": (lambda: LSTM(5, outputs=5), ["got 5", "The names are hidden_states"]),
    "dropout text": (lambda: LSTM(5, dropout="a"), ["between 0 and 1", "dropout='a'"]),
    "one state": (
        lambda: built()(X, initial_state=STATE),
        ["two tensors", "one tensor of shape (2, 5)", "initial_state=[hidden_state, cell_state]"],
    ),
    "one state in a list": (
        lambda: built()(X, initial_state=[STATE]),
        ["two tensors", "1 tensors"],
    ),
    "state width": (
        lambda: built()(X, initial_state=[STATE, STATE[:, :4]]),
        ["cell_state of shape (batch, units) = (2, 5)", "(2, 4)"],
    ),
    "state batch": (
        lambda: built()(X, initial_state=[STATE[:1], STATE]),
        ["hidden_state", "(1, 5)"],
    ),
    "unknown output": (
        lambda: LSTM(5, outputs=("hidden_states", "cell")),
        ["'cell'", "Did you mean 'cell_state'?"],
    ),
    "outputs and flags": (
        lambda: LSTM(5, outputs="cell_states", return_sequences=True, return_state=True),
        [
            "return_sequences=True and return_state=True",
            "outputs=('hidden_states', 'hidden_state', 'cell_state')",
        ],
    ),
    "dropout": (lambda: LSTM(5, dropout=1.5), ["between 0 and 1", "dropout=1.5"]),
    "dropout in percent": (lambda: LSTM(5, dropout=20), ["dropout=20", "Write dropout=0.2"]),
    "dropout negative": (lambda: LSTM(5, recurrent_dropout=-0.1), ["recurrent_dropout=-0.1"]),
    "token ids": (
        lambda: built()(np.zeros((2, 6), "int32")),
        ["floating-point", "int32", "Embedding"],
    ),
    "integers": (
        lambda: LSTM(5)(X[:, :, :1].astype("int64")),
        ["floating-point", "int64", 'astype("float32")'],
    ),
    "integers, symbolic": (lambda: LSTM(5)(Input((6,), dtype="int32")), ["int32", "Embedding"]),
    "use_cudnn": (lambda: LSTM(5, use_cudnn="yes"), ["'auto', True or False", "use_cudnn='yes'"]),
    "engine": (lambda: LSTM(5, engine="gpu"), ["engine='gpu'", 'engine="auto"']),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_teaches(mistake) -> None:
    act, says = MISTAKES[mistake]
    with pytest.raises(ConveyorError) as error:
        act()
    for part in says:
        assert part in str(error.value), str(error.value)


def test_unknown_time_axis_cannot_be_unrolled() -> None:
    x = Input((None, 4))
    with pytest.raises(ConveyorError, match=r"unroll=True(.|\n)*Input"):
        LSTM(5, unroll=True)(x)


def test_nan_propagates() -> None:
    x = X.copy()
    x[0, 2] = np.nan
    hs = keras.ops.convert_to_numpy(built(return_sequences=True)(x))
    assert np.isnan(hs[0, 2:]).all()
    assert np.isfinite(hs[1]).all()
