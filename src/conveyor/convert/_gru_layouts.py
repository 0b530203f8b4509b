"""GRUs as each framework names and packs them: a dictionary of arrays, there and back.

keras    layers.0.forward.kernel (F, 3U), .recurrent_kernel (U, 3U), .bias (2, 3U) or (3U,)
torch    weight_ih_l0 (3U, F), weight_hh_l0, bias_ih_l0 (3U,), bias_hh_l0; _reverse; gates r, z, n
onnx     layers.0.W (D, 3U, F), .R (D, 3U, U), .B (D, 6U); gates z, r, h
flax     layers.0.forward.iz.kernel (F, U), .iz.bias (U,), ..., .hn.kernel (U, U), .hn.bias

Sources: keras.layers.GRUCell, torch.nn.GRU, the ONNX operator GRU, flax.linen.GRUCell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._errors import ConveyorError, lesson
from ._gru_weights import GRUCellWeights, GRUWeights
from ._layouts import DIRECTIONS, Arrays, Given, _directions, _numbered, listed
from ._onnx_arrays import added_up


@dataclass(frozen=True)
class GRULayout:
    """How a framework writes weights.

    Attributes:
        gate_order: what it calls the order of its gates.
        pack: all weights to arrays by name.
        unpack: back, in the form of `reset_after`. Raises KeyError for a name that is missing.
        both_forms: whether it has that without reset_after.
    """

    gate_order: str
    pack: Callable[[GRUWeights], Arrays]
    unpack: Callable[[Given, bool], GRUWeights]
    both_forms: bool = True


def pack_gru(weights: GRUWeights, name: str) -> Arrays:
    """The arrays of a layout.

    Raises:
        ConveyorError: the form without reset_after, which torch and flax do not have.
    """
    layout = GRU_LAYOUTS[name]
    if not layout.both_forms and not all(cell.reset_after for cell in weights.cells):
        raise lesson(
            "conveyor.convert",
            f"reset_after=True, the form of the GRU that {name} has",
            "reset_after=False",
            "Keras and ONNX have both. The two compute different numbers: none becomes the other.",
        )
    # As writers of files take them for granted.
    return {name: np.ascontiguousarray(array) for name, array in layout.pack(weights).items()}


def unpack_gru(arrays: Given, name: str, reset_after: bool = True) -> GRUWeights:
    """The weights in arrays of a layout.

    Raises:
        ConveyorError: names or shapes that are not those of the layout.
    """
    try:
        return GRU_LAYOUTS[name].unpack(arrays, reset_after)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, ConveyorError):
            raise
        what = f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)
        raise lesson(
            "conveyor.convert",
            f"the weights of a GRU as {name} has them",
            f"{what}; there is {listed(arrays)}",
            f"Layouts are {', '.join(GRU_LAYOUTS)}; docs/convert.md has their names and shapes.",
        ) from error


def _by_cell(
    pack_cell: Callable[[GRUCellWeights], Arrays],
    unpack_cell: Callable[[Given, bool], GRUCellWeights],
) -> tuple[Callable[[GRUWeights], Arrays], Callable[[Given, bool], GRUWeights]]:
    """A layout that has each GRU by itself."""

    def pack_all(weights: GRUWeights) -> Arrays:
        return {
            f"layers.{n}.{DIRECTIONS[d]}.{name}": array
            for n, layer in enumerate(weights.layers)
            for d, cell in enumerate(layer)
            for name, array in pack_cell(cell).items()
        }

    def unpack_all(arrays: Given, reset_after: bool) -> GRUWeights:
        return GRUWeights(
            tuple(
                tuple(unpack_cell(cell, reset_after) for cell in _directions(layer))
                for layer in _numbered(arrays)
            )
        )

    return pack_all, unpack_all


def _from_keras(cell: Given, reset_after: bool) -> GRUCellWeights:
    return GRUCellWeights(
        cell["kernel"], cell["recurrent_kernel"], cell.get("bias"), reset_after=reset_after
    )


# ------------------------------------------------------------------------------- torch


def _swapped(array: np.ndarray, axis: int = -1) -> np.ndarray:
    """Update and reset gate for each other, along an axis of 3U: there and back."""
    z, r, g = np.split(array, 3, axis=axis)
    return np.concatenate([r, z, g], axis=axis)


def _to_torch(weights: GRUWeights) -> Arrays:
    arrays: Arrays = {}
    for n, layer in enumerate(weights.layers):
        for cell, suffix in zip(layer, ("", "_reverse"), strict=False):
            end = f"_l{n}{suffix}"
            arrays[f"weight_ih{end}"] = _swapped(cell.kernel.T, 0)
            arrays[f"weight_hh{end}"] = _swapped(cell.recurrent_kernel.T, 0)
            if weights.has("bias"):
                arrays[f"bias_ih{end}"], arrays[f"bias_hh{end}"] = _swapped(cell.two_biases())
    return arrays


def _from_torch(arrays: Given, reset_after: bool) -> GRUWeights:
    def cell(end: str) -> GRUCellWeights:
        names = (f"bias_ih{end}", f"bias_hh{end}")
        bias = np.stack([arrays[name] for name in names]) if set(names) & set(arrays) else None
        return GRUCellWeights(
            _swapped(arrays[f"weight_ih{end}"], 0).T,
            _swapped(arrays[f"weight_hh{end}"], 0).T,
            None if bias is None else _swapped(bias),
        )

    layers: list[tuple[GRUCellWeights, ...]] = []
    while f"weight_ih_l{len(layers)}" in arrays or not layers:
        ends = [f"_l{len(layers)}"]
        if f"weight_ih_l{len(layers)}_reverse" in arrays:
            ends.append(f"_l{len(layers)}_reverse")
        layers.append(tuple(map(cell, ends)))
    return GRUWeights(tuple(layers))


# -------------------------------------------------------------------------------- onnx


def _to_onnx(weights: GRUWeights) -> Arrays:
    arrays: Arrays = {}
    for n, layer in enumerate(weights.layers):
        arrays[f"layers.{n}.W"] = np.stack([cell.kernel.T for cell in layer])
        arrays[f"layers.{n}.R"] = np.stack([cell.recurrent_kernel.T for cell in layer])
        if layer[0].bias is not None:
            arrays[f"layers.{n}.B"] = np.stack([cell.two_biases().reshape(-1) for cell in layer])
    return arrays


def _from_onnx(arrays: Given, reset_after: bool) -> GRUWeights:
    return GRUWeights(tuple(gru_onnx_layer(layer, reset_after) for layer in _numbered(arrays)))


def gru_onnx_layer(layer: Given, reset_after: bool) -> tuple[GRUCellWeights, ...]:
    """W, R and B of one node; the directions are in the order of the node."""
    cells = []
    for d in range(len(layer["W"])):
        bias = layer["B"][d].reshape(2, -1) if "B" in layer else None
        if bias is not None and not reset_after:
            bias = added_up(list(bias))
        cells.append(GRUCellWeights(layer["W"][d].T, layer["R"][d].T, bias, reset_after))
    return tuple(cells)


# -------------------------------------------------------------------------------- flax

_FLAX = "zrn"  # the names of its gates, in conveyor's order


def _to_flax(cell: GRUCellWeights) -> Arrays:
    of_input, of_state = np.split(cell.two_biases(), 2)
    # One bias for the two gates: of the hidden state it has the candidate's alone.
    gates = 2 * cell.units
    both = added_up([of_input[0, :gates], of_state[0, :gates]])
    biases = np.split(np.concatenate([both, of_input[0, gates:]]), 3)
    arrays: Arrays = {"hn.bias": of_state[0, gates:]}
    for n, gate in enumerate(_FLAX):
        arrays[f"i{gate}.kernel"] = np.split(cell.kernel, 3, axis=1)[n]
        arrays[f"h{gate}.kernel"] = np.split(cell.recurrent_kernel, 3, axis=1)[n]
        arrays[f"i{gate}.bias"] = biases[n]
    return arrays


def _from_flax(cell: Given, reset_after: bool) -> GRUCellWeights:
    kernel, recurrent_kernel, of_input = (
        np.concatenate([cell[which.format(gate)] for gate in _FLAX], axis=-1)
        for which in ("i{}.kernel", "h{}.kernel", "i{}.bias")
    )
    of_state = np.zeros_like(of_input)
    of_state[-len(cell["hn.bias"]) :] = cell["hn.bias"]
    return GRUCellWeights(kernel, recurrent_kernel, np.stack([of_input, of_state]))


GRU_LAYOUTS = {
    "keras": GRULayout("update, reset, candidate", *_by_cell(GRUCellWeights.arrays, _from_keras)),
    "torch": GRULayout("reset, update, candidate", _to_torch, _from_torch, both_forms=False),
    "onnx": GRULayout("update, reset, candidate", _to_onnx, _from_onnx),
    "flax": GRULayout("each gate by itself", *_by_cell(_to_flax, _from_flax), both_forms=False),
}
