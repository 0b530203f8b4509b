"""What the gates of an LSTM beyond the plain one are functions of, worked out from its states."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from .._engines._variant import EPSILON
from ..layers import Record


def of_variant(
    record: Record, z_x: Any, z_h: Any, bias: Any, cells_before: Any
) -> tuple[Any, Any, Any, Any]:
    """z of input gate, forget gate, candidate and output gate, (B, T, U) each.

    Coupled gates have no z of the input gate: i = 1 - f is sigma(-z_f), and -z_f stands there.

    Args:
        record: of the call.
        z_x, z_h: x W and h' R, (B, T, gates * U).
        bias: (gates * U,), or None.
        cells_before: (B, T, U), what each step began with.
    """
    cell = record.layer.cell
    v, dtype = cell.variant, keras.backend.standardize_dtype(z_x.dtype)
    z = ops.split(_with_bias(cell, z_x, z_h, bias, dtype), v.gates, axis=-1)
    if v.coupled:
        z = [None, *z]
    if v.peephole:
        weights = ops.split(
            ops.cast(ops.convert_to_tensor(cell.peephole_kernel), dtype), v.gates - 1
        )
        p_i, p_f, p_o = [None, *weights] if v.coupled else weights
        before = ops.cast(cells_before, dtype)
        z[1] = z[1] + p_f * before
        z[3] = z[3] + p_o * _cell_states(record, before, dtype)
        if not v.coupled:
            z[0] = z[0] + p_i * before
    if v.clip is not None:
        z = [None if one is None else ops.clip(one, -v.clip, v.clip) for one in z]
    i, f, g, o = z
    return -f if i is None else i, f, g, o


def _with_bias(cell: Any, z_x: Any, z_h: Any, bias: Any, dtype: str) -> Any:
    if cell.gate_scale is None:
        z = z_x + z_h
    else:
        scale = ops.cast(ops.convert_to_tensor(cell.gate_scale), dtype)
        if len(scale.shape) == 2:
            z = _normalised(z_x) * scale[0] + _normalised(z_h) * scale[1]
        else:
            gates = ops.split(z_x + z_h, cell.variant.gates, axis=-1)
            z = ops.concatenate([_normalised(one) for one in gates], axis=-1) * scale
    return z if bias is None else z + bias


def _normalised(z: Any) -> Any:
    size = z.shape[-1]
    centred = z - ops.sum(z, axis=-1, keepdims=True) / size
    return centred / (ops.sum(centred * centred, axis=-1, keepdims=True) / size + EPSILON) ** 0.5


def _cell_states(record: Record, before: Any, dtype: str) -> Any:
    """c as the output gate saw it: before zoneout."""
    states = record.states
    i, f, g = (ops.cast(states[n], dtype) for n in ("input_gates", "forget_gates", "candidates"))
    c, bound = f * before + i * g, record.layer.cell.cell_clip
    return c if bound is None else ops.clip(c, -bound, bound)
