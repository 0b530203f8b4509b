"""The weights of an LSTM as articles write them: one W and one b for each gate.

Keras packs the four gates side by side and keeps x and h apart: kernel (F, 4U), recurrent_kernel
(U, 4U), bias (4U,). Articles write `f = sigma(W_f [h_{t-1}, x_t] + b_f)`, with W_f (U, U + F).
The numbers are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from .._errors import ConveyorError, lesson
from ._variant import variant_of

GateWeights = dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any] | None]]

GATES = ("input", "forget", "candidate", "output")  # as Keras packs them


def gate_weights(layer: Any) -> GateWeights:
    """The weights of each gate in the form of articles.

    Args:
        layer: a built LSTM or LSTMCell, of conveyor or of Keras.

    Returns:
        `{"input": (W, b), "forget": ..., "candidate": ..., "output": ...}`, copies: W (U, U + F)
        acts on `[h_{t-1}, x_t]`; b (U,), or None for a layer without bias. With coupled gates
        there is no "input"; with a projection to P numbers W is (U, P + F).

    Raises:
        ConveyorError: not an LSTM, or one without weights so far.

    >>> import keras
    >>> lstm = keras.layers.LSTM(4)
    >>> lstm.build((None, 20, 3))
    >>> W, b = gate_weights(lstm)["forget"]
    >>> W.shape, b.tolist()  # Keras begins with gates that keep
    ((4, 7), [1.0, 1.0, 1.0, 1.0])
    """
    cell = _cell(layer, "gate_weights")
    to_numpy = keras.ops.convert_to_numpy
    kernel, recurrent_kernel = to_numpy(cell.kernel), to_numpy(cell.recurrent_kernel)
    bias = None if cell.bias is None else to_numpy(cell.bias)
    weights: GateWeights = {}
    for gate, columns in _columns(cell):
        both = np.concatenate([recurrent_kernel[:, columns], kernel[:, columns]])
        weights[gate] = both.T.copy(), None if bias is None else bias[columns].copy()
    return weights


def set_gate_weights(layer: Any, weights: Mapping[str, Any]) -> None:
    """Give a layer the weights that `gate_weights` returns; nothing is set where one is wrong.

    Args:
        layer: a built LSTM or LSTMCell, of conveyor or of Keras.
        weights: for each of "input", "forget", "candidate" and "output" the pair (W, b):
            W (U, U + F), acting on `[h_{t-1}, x_t]`; b (U,), or None for a layer without bias.

    Raises:
        ConveyorError: not an LSTM, one without weights so far, a gate that is missing or that
            no LSTM has, or arrays of other shapes.

    >>> import keras
    >>> lstm = keras.layers.LSTM(4)
    >>> lstm.build((None, 20, 3))
    >>> weights = gate_weights(lstm)
    >>> weights["forget"][1][:] = -1  # gates that forget
    >>> set_gate_weights(lstm, weights)
    >>> gate_weights(lstm)["forget"][1].tolist()
    [-1.0, -1.0, -1.0, -1.0]
    """
    cell = _cell(layer, "set_gate_weights")
    where = f'set_gate_weights of {type(layer).__name__} "{layer.name}"'
    gates, size = _gates(cell), int(cell.recurrent_kernel.shape[0])
    _check_names(weights, gates, where)
    pairs = [_pair(weights[gate], gate, cell, where) for gate in gates]
    both = np.concatenate([W.T for W, _ in pairs], axis=1)
    cell.recurrent_kernel.assign(both[:size])
    cell.kernel.assign(both[size:])
    if cell.use_bias:
        cell.bias.assign(np.concatenate([b for _, b in pairs]))


class WithGateWeights:
    """The two functions as methods."""

    def gate_weights(self) -> GateWeights:
        """`{"input": (W, b), "forget": ..., "candidate": ..., "output": ...}`, as articles write.

        W (units, units + features) acts on `[h_{t-1}, x_t]`; b (units,), or None without bias.

        >>> from conveyor import LSTM
        >>> lstm = LSTM(64)
        >>> lstm.build((None, 20, 32))
        >>> W, b = lstm.gate_weights()["forget"]
        >>> W.shape, b.shape
        ((64, 96), (64,))
        """
        return gate_weights(self)

    def set_gate_weights(self, weights: Mapping[str, Any]) -> None:
        """Take the weights in the form in which `gate_weights()` gives them.

        >>> from conveyor import LSTM
        >>> one, other = LSTM(4), LSTM(4)
        >>> one.build((None, 20, 3)), other.build((None, 20, 3))
        (None, None)
        >>> other.set_gate_weights(one.gate_weights())
        """
        set_gate_weights(self, weights)


def _gates(cell: Any) -> tuple[str, ...]:
    """Those that have weights: with coupled gates not the first."""
    return GATES[4 - variant_of(cell).gates :]


def _columns(cell: Any) -> list[tuple[str, slice]]:
    units = int(cell.units)
    return [(gate, slice(n * units, (n + 1) * units)) for n, gate in enumerate(_gates(cell))]


def _cell(layer: Any, where: str) -> Any:
    """The cell that holds the weights, once it has some."""
    cell = getattr(layer, "cell", layer)
    if getattr(layer, "parts", ()):
        raise lesson(
            f'{where} of {type(layer).__name__} "{layer.name}"',
            "the LSTM of one layer and direction",
            f"{len(layer.cells.flat())} of them",
            f"Write {where}(layer.cells[0][0]): the layer first, then the direction.",
        )
    if not isinstance(cell, keras.layers.LSTMCell):
        raise _not_an_lstm(layer, where)
    if not cell.built:
        raise lesson(
            f'{where} of {type(layer).__name__} "{layer.name}"',
            "a layer with weights",
            "one that has seen no input so far: it is not built",
            "Write layer.build((None, time_steps, features)), or call it once on real data."
            if cell is not layer
            else "Write cell.build((None, features)), or call it once on real data.",
        )
    return cell


def _not_an_lstm(layer: Any, where: str) -> ConveyorError:
    if isinstance(layer, keras.layers.Bidirectional):
        write = f"Write {where}(layer.forward_layer), or layer.backward_layer."
    elif isinstance(layer, keras.Model):
        names = [x.name for x in layer.layers if hasattr(x, "cell")]
        write = f'Write {where}(model.get_layer("{names[0] if names else "the LSTM"}")).'
    else:
        write = "Pass a conveyor.LSTM, keras.layers.LSTM or an LSTMCell."
    return lesson(where, "one LSTM layer", type(layer).__name__, write)


def _check_names(weights: Any, gates: tuple[str, ...], where: str) -> None:
    want = f"a dictionary with the gates {', '.join(map(repr, gates))}"
    write = (
        'Write weights = layer.gate_weights(), change weights["forget"] and the others, and then '
        "layer.set_gate_weights(weights)."
    )
    if not isinstance(weights, Mapping):
        raise lesson(where, want, type(weights).__name__, write)
    missing = [gate for gate in gates if gate not in weights]
    unknown = [gate for gate in weights if gate not in gates]
    if missing or unknown:
        told = (("without", missing), ("with", unknown))
        got = " and ".join(f"one {how} {', '.join(map(repr, g))}" for how, g in told if g)
        raise lesson(where, want, got, write)


def _pair(pair: Any, gate: str, cell: Any, where: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(W, b) of one gate as arrays; an empty b where there is no bias."""
    units, use_bias = int(cell.units), cell.use_bias
    joined = int(cell.recurrent_kernel.shape[0]) + int(cell.kernel.shape[0])
    want = f"(W, b) for {gate!r}"
    write = f'Write weights["{gate}"] = (W, b){"" if use_bias else ", with b None"}.'
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise lesson(where, want, type(pair).__name__, write)
    weight, bias = pair
    hidden = "units" if variant_of(cell).projection is None else "projection"
    axes = f"(units, {hidden} + features)"
    weight = _array(weight, f"W of {gate!r}", axes, (units, joined), where)
    if use_bias and bias is not None:
        return weight, _array(bias, f"b of {gate!r}", "(units,)", (units,), where)
    if use_bias:
        raise lesson(
            where,
            f"b of {gate!r} of shape (units,) = ({units},)",
            "None",
            "This layer has a bias. One that changes nothing is zeros: write "
            f'weights["{gate}"] = (W, np.zeros({units})).',
        )
    if bias is not None:
        raise lesson(
            where,
            f"b of {gate!r} to be None, as this layer has use_bias=False",
            f"an array of shape {np.shape(bias)}",
            f'Write weights["{gate}"] = (W, None), or make the layer with use_bias=True.',
        )
    return weight, np.zeros(0)


def _array(
    value: Any, name: str, axes: str, shape: tuple[int, ...], where: str
) -> npt.NDArray[Any]:
    array = np.asarray(value if isinstance(value, (list, tuple)) else _numpy(value))
    if array.shape == shape and array.dtype.kind in "fiuV":  # V: bfloat16 of JAX
        return array
    if array.shape == shape:
        write = f'Write {name[0]}.astype("float32").'
        raise lesson(where, f"{name} in real numbers", f"dtype {array.dtype}", write)
    raise lesson(
        where,
        f"{name} of shape {axes} = {shape}",
        f"shape {array.shape}",
        "W acts on [h_{t-1}, x_t]: its rows are units, its columns first those of h, then those "
        "of x. Keras's kernel and recurrent_kernel are set with layer.set_weights."
        if len(shape) == 2
        else "One number for each unit.",
    )


def _numpy(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) else keras.ops.convert_to_numpy(value)
