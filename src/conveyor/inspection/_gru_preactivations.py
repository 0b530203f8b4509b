"""What the gates and the candidate of a GRU are functions of, worked out from its states."""

from __future__ import annotations

from typing import Any

from keras import ops

from ..layers import Record


def of_gru(record: Record, z_x: Any, z_h: Any, bias: Any, before: Any) -> tuple[Any, Any, Any]:
    """z of update gate, reset gate and candidate, (B, T, U) each.

    Args:
        record: of the call.
        z_x, z_h: x W and h' R, (B, T, 3U).
        bias: (2, 3U) with `reset_after`, else (3U,), or None.
        before: (B, T, U), the hidden state that each step began with.
    """
    cell = record.layer.cell
    r = ops.cast(record.states["reset_gates"], z_x.dtype)
    if bias is not None:
        z_x = z_x + (bias[0] if cell.reset_after else bias)
        z_h = z_h + bias[1] if cell.reset_after else z_h
    (x_z, x_r, x_g), (h_z, h_r, h_g) = (ops.split(z, 3, axis=-1) for z in (z_x, z_h))
    if not cell.reset_after:
        kernel = ops.cast(ops.convert_to_tensor(cell.recurrent_kernel), z_x.dtype)
        h_g = ops.matmul(r * before, kernel[:, 2 * int(cell.units) :])
    return x_z + h_z, x_r + h_r, x_g + (r * h_g if cell.reset_after else h_g)
