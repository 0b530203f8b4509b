"""The weights of an LSTM or a GRU as articles write them: one W and one b for each gate.

Keras packs the four gates side by side and keeps x and h apart: kernel (F, 4U), recurrent_kernel
(U, 4U), bias (4U,). Articles write `f = sigma(W_f [h_{t-1}, x_t] + b_f)`, with W_f (U, U + F).
The numbers are the same.

A GRU has three, update, reset and candidate. With `reset_after` it has a bias beside x and another
one beside h: b (2, U) holds both, in this order, as the reset gate acts on the second one of the
candidate. Without, W of the candidate acts on `[r * h_{t-1}, x_t]`.
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
GRU_GATES = ("update", "reset", "candidate")


def gate_weights(layer: Any) -> GateWeights:
    """The weights of each gate in the form of articles.

    Args:
        layer: a built LSTM, GRU, LSTMCell or GRUCell, of conveyor or of Keras.

    Returns:
        `{"input": (W, b), "forget": ..., "candidate": ..., "output": ...}`, copies: W (U, U + F)
        acts on `[h_{t-1}, x_t]`; b (U,), or None for a layer without bias. With coupled gates
        there is no "input"; with a projection to P numbers W is (U, P + F). Of a GRU
        `{"update": ..., "reset": ..., "candidate": ...}`; with `reset_after` b is (2, U), what is
        added to W on x and what to W on h.

    Raises:
        ConveyorError: not an LSTM or GRU, or one without weights so far.

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
        weights[gate] = both.T.copy(), None if bias is None else bias[..., columns].copy()
    return weights


def set_gate_weights(layer: Any, weights: Mapping[str, Any]) -> None:
    """Give a layer the weights that `gate_weights` returns; nothing is set where one is wrong.

    Args:
        layer: a built LSTM, GRU, LSTMCell or GRUCell, of conveyor or of Keras.
        weights: for each of "input", "forget", "candidate" and "output", of a GRU "update",
            "reset" and "candidate", the pair (W, b): W (U, U + F), acting on `[h_{t-1}, x_t]`;
            b (U,), or None for a layer without bias; (2, U) for a GRU with `reset_after`.

    Raises:
        ConveyorError: not an LSTM or GRU, one without weights so far, a gate that is missing or
            that it does not have, or arrays of other shapes.

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
        cell.bias.assign(np.concatenate([b for _, b in pairs], axis=-1))


class WithGateWeights:
    """The two functions as methods."""

    def gate_weights(self) -> GateWeights:
        """`{"input": (W, b), "forget": ..., "candidate": ..., "output": ...}`, as articles write.

        Of a GRU `{"update": ..., "reset": ..., "candidate": ...}`. W (units, units + features)
        acts on `[h_{t-1}, x_t]`; b (units,), or None without bias; with `reset_after` (2, units).

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
    if _is_gru(cell):
        return GRU_GATES
    return GATES[4 - variant_of(cell).gates :]


def _columns(cell: Any) -> list[tuple[str, slice]]:
    units = int(cell.units)
    return [(gate, slice(n * units, (n + 1) * units)) for n, gate in enumerate(_gates(cell))]


def _is_gru(cell: Any) -> bool:
    return isinstance(cell, keras.layers.GRUCell)


def _has_two_biases(cell: Any) -> bool:
    return _is_gru(cell) and bool(cell.reset_after)


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
    if not isinstance(cell, keras.layers.LSTMCell | keras.layers.GRUCell):
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
        write = "Pass an LSTM or GRU of conveyor or of keras.layers, or an LSTMCell or GRUCell."
    return lesson(where, "one LSTM or GRU layer", type(layer).__name__, write)


def _check_names(weights: Any, gates: tuple[str, ...], where: str) -> None:
    want = f"a dictionary with the gates {', '.join(map(repr, gates))}"
    one = gates[0] if gates == GRU_GATES else "forget"
    write = (
        f'Write weights = layer.gate_weights(), change weights["{one}"] and the others, and then '
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
    two = _has_two_biases(cell)
    axes, shape = ("(2, units)", (2, units)) if two else ("(units,)", (units,))
    if use_bias and bias is not None:
        return weight, _array(bias, f"b of {gate!r}", axes, shape, where)
    if use_bias:
        raise lesson(
            where,
            f"b of {gate!r} of shape {axes} = {shape}",
            "None",
            "This layer has a bias. One that changes nothing is zeros: write "
            f'weights["{gate}"] = (W, np.zeros({shape if two else units})).',
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
        if name.startswith("W")
        else "One number for each unit"
        + (": first what is added to W on x, then what to W on h." if len(shape) == 2 else "."),
    )


def _numpy(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) else keras.ops.convert_to_numpy(value)
