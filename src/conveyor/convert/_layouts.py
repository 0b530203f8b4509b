"""Weights as each framework names and packs them: a dictionary of arrays, there and back.

keras    layers.0.forward.kernel (F, 4U), .recurrent_kernel (U, 4U), .bias (4U,)
torch    weight_ih_l0 (4U, F), weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_hr_l0; _reverse
onnx     layers.0.W (D, 4U, F), .R (D, 4U, U), .B (D, 8U), .P (D, 3U); gates i, o, f, c
flax     layers.0.forward.ii.kernel (F, U), ..., .hi.kernel (U, U), .hi.bias (U,)
block    layers.0.forward.w (F + U, 4U), .b (4U,), .wci, .wcf, .wco (U,); TensorFlow's BlockLSTMV2
haste    layers.0.forward.kernel, .recurrent_kernel, .bias, .gamma (2, 4U), .gamma_h, .beta_h (U,);
         gates i, c, f, o

What is no array (coupled gates, bounds, zoneout) stands beside them as settings of each layer.

Sources: keras.layers.LSTMCell, torch.nn.LSTM, the ONNX operator LSTM, flax.linen.LSTMCell and
OptimizedLSTMCell, tf.raw_ops.BlockLSTMV2, lmnt-com/haste.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .._errors import ConveyorError, lesson
from ._haste_arrays import from_haste, to_haste
from ._onnx_arrays import added_up, onnx_layer, to_onnx
from ._weights import PARTS, SETTINGS, CellWeights, LSTMWeights, no_place

Arrays = dict[str, np.ndarray]
Given = Mapping[str, np.ndarray]
Settings = list[dict[str, Any]]  # of each layer; an empty list for none

DIRECTIONS = ("forward", "backward")


@dataclass(frozen=True)
class Layout:
    """How a framework writes weights.

    Attributes:
        gate_order: what it calls the order of its gates.
        biases: how many it has for each gate.
        pack: all weights to arrays by name.
        unpack: back, with the settings. Raises KeyError for a name that is missing.
        parts: what it has a place for beside kernels and bias.
    """

    gate_order: str
    biases: int
    pack: Callable[[LSTMWeights], Arrays]
    unpack: Callable[[Given, Settings], LSTMWeights]
    parts: tuple[str, ...] = ()


def pack(weights: LSTMWeights, name: str) -> Arrays:
    """The arrays of a layout.

    Raises:
        ConveyorError: something that the layout has no place for.
    """
    layout = LAYOUTS[name]
    for part in PARTS:
        if weights.has(part) and part not in layout.parts:
            raise no_place(part, name, _instead(part))
    return layout.pack(weights)


def _instead(part: str) -> str:
    if part == "coupled":
        return "Write weights_of(source).uncoupled(): the same numbers with four gates."
    able = [other for other, has in LAYOUTS.items() if part in has.parts]
    return f'Write save(source, "weights.safetensors") to keep it; {", ".join(able)} have one.'


def unpack(arrays: Given, name: str, settings: Settings | None = None) -> LSTMWeights:
    """The weights in arrays of a layout, with the settings of each layer.

    Raises:
        ConveyorError: names or shapes that are not those of the layout.
    """
    try:
        return LAYOUTS[name].unpack(arrays, settings or [])
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


def _with_settings(layers: list[Any], settings: Settings) -> list[tuple[Any, dict[str, Any]]]:
    return list(zip(layers, settings or [{}] * len(layers), strict=True))


def _by_cell(
    pack_cell: Callable[[CellWeights], Arrays], unpack_cell: Callable[..., CellWeights]
) -> tuple[Callable[[LSTMWeights], Arrays], Callable[[Given, Settings], LSTMWeights]]:
    """A layout that has each LSTM by itself."""

    def pack_all(weights: LSTMWeights) -> Arrays:
        return {
            f"layers.{n}.{DIRECTIONS[d]}.{name}": array
            for n, layer in enumerate(weights.layers)
            for d, cell in enumerate(layer)
            for name, array in pack_cell(cell).items()
        }

    def unpack_all(arrays: Given, settings: Settings) -> LSTMWeights:
        return LSTMWeights(
            tuple(
                tuple(unpack_cell(cell, **given) for cell in _directions(layer))
                for layer, given in _with_settings(_numbered(arrays), settings)
            )
        )

    return pack_all, unpack_all


# ------------------------------------------------------------------------------- keras


def _from_keras(cell: Given, **settings: Any) -> CellWeights:
    known: dict[str, Any] = {name: array for name, array in cell.items() if name in _FIELDS}
    for name in ("kernel", "recurrent_kernel"):
        known[name] = cell[name]
    return CellWeights(**known, **settings)


_FIELDS = {field.name for field in fields(CellWeights)} - SETTINGS.keys()


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


def _from_torch(arrays: Given, settings: Settings) -> LSTMWeights:
    def cell(end: str) -> CellWeights:
        biases = [arrays[name] for name in (f"bias_ih{end}", f"bias_hh{end}") if name in arrays]
        projection = arrays.get(f"weight_hr{end}")
        return CellWeights(
            arrays[f"weight_ih{end}"].T,
            arrays[f"weight_hh{end}"].T,
            added_up(biases) if biases else None,
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


# -------------------------------------------------------------------------------- onnx


def _from_onnx(arrays: Given, settings: Settings) -> LSTMWeights:
    layers = _with_settings(_numbered(arrays), settings)
    return LSTMWeights(tuple(onnx_layer(layer, **given) for layer, given in layers))


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


def _from_flax(cell: Given, **settings: Any) -> CellWeights:
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
    return CellWeights(kernel, recurrent_kernel, added_up(biases) if biases else None, **settings)


# ------------------------------------------------------------------------------- block


def _to_block(cell: CellWeights) -> Arrays:
    bias = np.zeros(4 * cell.units, cell.kernel.dtype) if cell.bias is None else cell.bias
    arrays = {"w": np.concatenate([cell.kernel, cell.recurrent_kernel]), "b": bias}
    if cell.peepholes is not None:
        arrays |= dict(zip(("wci", "wcf", "wco"), cell.peepholes, strict=True))
    return arrays


def _from_block(cell: Given, **settings: Any) -> CellWeights:
    units = cell["w"].shape[1] // 4
    peepholes = [cell[name] for name in ("wci", "wcf", "wco") if name in cell]
    return CellWeights(
        cell["w"][:-units],
        cell["w"][-units:],
        cell["b"],
        peepholes=np.stack(peepholes) if peepholes else None,
        **settings,
    )


LAYOUTS = {
    "keras": Layout(
        "input, forget, candidate, output",
        1,
        *_by_cell(CellWeights.arrays, _from_keras),
        parts=tuple(PARTS),
    ),
    "torch": Layout("input, forget, candidate, output", 2, _to_torch, _from_torch, ("projection",)),
    "onnx": Layout(
        "input, output, forget, candidate",
        2,
        to_onnx,
        _from_onnx,
        ("peepholes", "coupled", "clip"),
    ),
    "flax": Layout("each gate by itself", 1, *_by_cell(_to_flax, _from_flax)),
    "block": Layout(
        "input, forget, candidate, output",
        1,
        *_by_cell(_to_block, _from_block),
        ("peepholes", "cell_clip"),
    ),
    "haste": Layout(
        "input, candidate, forget, output",
        1,
        *_by_cell(to_haste, from_haste),
        ("gate_scale", "cell_scale", "zoneout"),
    ),
}
