"""Weights as each framework names and packs them: a dictionary of arrays, there and back.

keras    layers.0.forward.kernel (F, 4U), .recurrent_kernel (U, 4U), .bias (4U,)
torch    weight_ih_l0 (4U, F), weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_hr_l0; _reverse
onnx     layers.0.W (D, 4U, F), .R (D, 4U, U), .B (D, 8U), .P (D, 3U); gates i, o, f, c
flax     layers.0.forward.ii.kernel (F, U), ..., .hi.kernel (U, U), .hi.bias (U,)
block    layers.0.forward.w (F + U, 4U), .b (4U,), .wci, .wcf, .wco (U,); TensorFlow's BlockLSTMV2

Sources: keras.layers.LSTMCell, torch.nn.LSTM, the ONNX operator LSTM, flax.linen.LSTMCell and
OptimizedLSTMCell, tf.raw_ops.BlockLSTMV2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .._errors import ConveyorError, lesson
from ._gates import ONNX_ORDER, from_order, to_order
from ._weights import CellWeights, LSTMWeights

Arrays = dict[str, np.ndarray]
Given = Mapping[str, np.ndarray]

DIRECTIONS = ("forward", "backward")


@dataclass(frozen=True)
class Layout:
    """How a framework writes weights.

    Attributes:
        gate_order: what it calls the order of its gates.
        biases: how many it has for each gate.
        pack: all weights to arrays by name.
        unpack: back. Raises KeyError for a name that is missing.
        parts: what it has a place for beside kernels and bias.
    """

    gate_order: str
    biases: int
    pack: Callable[[LSTMWeights], Arrays]
    unpack: Callable[[Given], LSTMWeights]
    parts: tuple[str, ...] = ()


def pack(weights: LSTMWeights, name: str) -> Arrays:
    """The arrays of a layout.

    Raises:
        ConveyorError: something that the layout has no place for.
    """
    layout = LAYOUTS[name]
    for part in ("projection", "peepholes"):
        if weights.has(part) and part not in layout.parts:
            able = [other for other, has in LAYOUTS.items() if part in has.parts]
            raise no_place(part, name, f"{', '.join(able)} have one")
    return layout.pack(weights)


def no_place(part: str, where: str, write: str) -> ConveyorError:
    """For a variant that the other side does not have."""
    return lesson("conveyor.convert", f"weights that {where} has a place for", f"a {part}", write)


def unpack(arrays: Given, name: str) -> LSTMWeights:
    """The weights in arrays of a layout.

    Raises:
        ConveyorError: names or shapes that are not those of the layout.
    """
    try:
        return LAYOUTS[name].unpack(arrays)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, ConveyorError):
            raise
        what = f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)
        raise lesson(
            "conveyor.convert",
            f"the weights of an LSTM as {name} has them",
            f"{what}; there is {listed(arrays)}",
            f"Layouts are {', '.join(LAYOUTS)}; docs/convert.md has their names and shapes.",
        ) from error


def listed(arrays: Given) -> str:
    """Names and shapes, the first few."""
    shown = [f"{name} {tuple(np.shape(array))}" for name, array in list(arrays.items())[:8]]
    return ", ".join(shown) + (f" and {len(arrays) - 8} more" if len(arrays) > 8 else "")


def _numbered(arrays: Given) -> list[dict[str, np.ndarray]]:
    """What follows `layers.0.`, `layers.1.`, ..."""
    layers: list[dict[str, np.ndarray]] = []
    while found := {
        name.removeprefix(prefix): array
        for prefix in (f"layers.{len(layers)}.",)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }:
        layers.append(found)
    if not layers:
        raise KeyError("layers.0.*")
    return layers


def _directions(layer: Given) -> list[dict[str, np.ndarray]]:
    found = [
        {
            name.removeprefix(f"{direction}."): array
            for name, array in layer.items()
            if name.startswith(f"{direction}.")
        }
        for direction in DIRECTIONS
    ]
    if not found[0]:
        raise KeyError("layers.0.forward.*")
    return [cell for cell in found if cell]


def _by_cell(
    pack_cell: Callable[[CellWeights], Arrays], unpack_cell: Callable[[Given], CellWeights]
) -> tuple[Callable[[LSTMWeights], Arrays], Callable[[Given], LSTMWeights]]:
    """A layout that has each LSTM by itself."""

    def pack_all(weights: LSTMWeights) -> Arrays:
        return {
            f"layers.{n}.{DIRECTIONS[d]}.{name}": array
            for n, layer in enumerate(weights.layers)
            for d, cell in enumerate(layer)
            for name, array in pack_cell(cell).items()
        }

    def unpack_all(arrays: Given) -> LSTMWeights:
        return LSTMWeights(
            tuple(tuple(map(unpack_cell, _directions(layer))) for layer in _numbered(arrays))
        )

    return pack_all, unpack_all


# ------------------------------------------------------------------------------- keras


def _from_keras(cell: Given) -> CellWeights:
    names = ("bias", "projection", "peepholes")
    return CellWeights(
        cell["kernel"], cell["recurrent_kernel"], **{name: cell.get(name) for name in names}
    )


# ------------------------------------------------------------------------------- torch


def _to_torch(weights: LSTMWeights) -> Arrays:
    arrays: Arrays = {}
    biased = weights.has("bias")
    for n, layer in enumerate(weights.layers):
        for cell, suffix in zip(layer, ("", "_reverse"), strict=False):
            end = f"_l{n}{suffix}"
            arrays[f"weight_ih{end}"] = np.ascontiguousarray(cell.kernel.T)
            arrays[f"weight_hh{end}"] = np.ascontiguousarray(cell.recurrent_kernel.T)
            if biased:
                bias = np.zeros(4 * cell.units, weights.dtype) if cell.bias is None else cell.bias
                arrays[f"bias_ih{end}"], arrays[f"bias_hh{end}"] = bias, np.zeros_like(bias)
            if cell.projection is not None:
                arrays[f"weight_hr{end}"] = np.ascontiguousarray(cell.projection.T)
    return arrays


def _from_torch(arrays: Given) -> LSTMWeights:
    def cell(end: str) -> CellWeights:
        biases = [arrays[name] for name in (f"bias_ih{end}", f"bias_hh{end}") if name in arrays]
        projection = arrays.get(f"weight_hr{end}")
        return CellWeights(
            arrays[f"weight_ih{end}"].T,
            arrays[f"weight_hh{end}"].T,
            _sum(biases) if biases else None,
            None if projection is None else projection.T,
        )

    count = 0
    layers: list[tuple[CellWeights, ...]] = []
    while f"weight_ih_l{count}" in arrays or not layers:
        ends = [f"_l{count}"]
        if f"weight_ih_l{count}_reverse" in arrays:
            ends.append(f"_l{count}_reverse")
        layers.append(tuple(map(cell, ends)))
        count += 1
    return LSTMWeights(tuple(layers))


def _sum(biases: list[np.ndarray]) -> np.ndarray:
    # In float64, so that b_ih + b_hh is rounded once. A damaged file may hold a signalling NaN.
    with np.errstate(invalid="ignore"):
        total = sum(np.asarray(bias, np.float64) for bias in biases)
        return np.asarray(total, np.result_type(*biases))


# -------------------------------------------------------------------------------- onnx


def _to_onnx(weights: LSTMWeights) -> Arrays:
    arrays: Arrays = {}
    for n, layer in enumerate(weights.layers):
        name = f"layers.{n}."
        arrays[f"{name}W"] = np.stack([to_order(c.kernel.T, ONNX_ORDER, 0) for c in layer])
        arrays[f"{name}R"] = np.stack(
            [to_order(c.recurrent_kernel.T, ONNX_ORDER, 0) for c in layer]
        )
        if any(cell.bias is not None for cell in layer):
            both = [
                np.zeros(4 * c.units, c.kernel.dtype) if c.bias is None else c.bias for c in layer
            ]
            arrays[f"{name}B"] = np.stack(
                [np.concatenate([to_order(b, ONNX_ORDER), np.zeros_like(b)]) for b in both]
            )
        if layer[0].peepholes is not None:
            # Input, output, forget.
            arrays[f"{name}P"] = np.stack(
                [c.peepholes[[0, 2, 1]].reshape(-1) for c in layer if c.peepholes is not None]
            )
    return arrays


def _from_onnx(arrays: Given) -> LSTMWeights:
    return LSTMWeights(tuple(map(onnx_layer, _numbered(arrays))))


def onnx_layer(layer: Given) -> tuple[CellWeights, ...]:
    """W, R, B and P of one node; the directions are in the order of the node."""
    cells = []
    for d in range(len(layer["W"])):
        w, r = layer["W"][d], layer["R"][d]
        b, p = (layer[name][d] if name in layer else None for name in "BP")
        cells.append(
            CellWeights(
                from_order(w, ONNX_ORDER, 0).T,
                from_order(r, ONNX_ORDER, 0).T,
                None if b is None else from_order(_sum(np.split(b, 2)), ONNX_ORDER),
                None,
                None if p is None else p.reshape(3, -1)[[0, 2, 1]],
            )
        )
    return tuple(cells)


# -------------------------------------------------------------------------------- flax

_FLAX = "ifgo"  # the names of its gates, in conveyor's order


def _to_flax(cell: CellWeights) -> Arrays:
    bias = np.zeros(4 * cell.units, cell.kernel.dtype) if cell.bias is None else cell.bias
    arrays: Arrays = {}
    for n, gate in enumerate(_FLAX):
        arrays[f"i{gate}.kernel"] = np.split(cell.kernel, 4, axis=1)[n]
        arrays[f"h{gate}.kernel"] = np.split(cell.recurrent_kernel, 4, axis=1)[n]
        arrays[f"h{gate}.bias"] = np.split(bias, 4)[n]
    return arrays


def _from_flax(cell: Given) -> CellWeights:
    def joined(which: str) -> np.ndarray | None:
        parts = [cell.get(which.format(gate)) for gate in _FLAX]
        there = [part for part in parts if part is not None]
        if there and len(there) < len(parts):
            raise KeyError(which.format(_FLAX[parts.index(None)]))
        return np.concatenate(there, axis=-1) if there else None

    kernel, recurrent_kernel = joined("i{}.kernel"), joined("h{}.kernel")
    if kernel is None or recurrent_kernel is None:
        raise KeyError("ii.kernel" if kernel is None else "hi.kernel")
    biases = [bias for bias in (joined("i{}.bias"), joined("h{}.bias")) if bias is not None]
    return CellWeights(kernel, recurrent_kernel, _sum(biases) if biases else None)


# ------------------------------------------------------------------------------- block


def _to_block(cell: CellWeights) -> Arrays:
    bias = np.zeros(4 * cell.units, cell.kernel.dtype) if cell.bias is None else cell.bias
    arrays = {"w": np.concatenate([cell.kernel, cell.recurrent_kernel]), "b": bias}
    if cell.peepholes is not None:
        arrays |= dict(zip(("wci", "wcf", "wco"), cell.peepholes, strict=True))
    return arrays


def _from_block(cell: Given) -> CellWeights:
    units = cell["w"].shape[1] // 4
    peepholes = [cell[name] for name in ("wci", "wcf", "wco") if name in cell]
    return CellWeights(
        cell["w"][:-units],
        cell["w"][-units:],
        cell["b"],
        None,
        np.stack(peepholes) if peepholes else None,
    )


LAYOUTS = {
    "keras": Layout(
        "input, forget, candidate, output",
        1,
        *_by_cell(CellWeights.arrays, _from_keras),
        parts=("projection", "peepholes"),
    ),
    "torch": Layout("input, forget, candidate, output", 2, _to_torch, _from_torch, ("projection",)),
    "onnx": Layout("input, output, forget, candidate", 2, _to_onnx, _from_onnx, ("peepholes",)),
    "flax": Layout("each gate by itself", 1, *_by_cell(_to_flax, _from_flax)),
    "block": Layout(
        "input, forget, candidate, output", 1, *_by_cell(_to_block, _from_block), ("peepholes",)
    ),
}
