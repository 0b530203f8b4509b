"""One time step of the portable engine: the plain LSTM, and all that a request may add to it.

Where ' is the step before, and each line but the first three is there only where it was asked for:

    z = x W + h' R + b                      for each of the four gates
    c = f * c' + i * g                      g = phi(z_g)
    h = o * psi(c)                          i, f, o = sigma(z_i), sigma(z_f), sigma(z_o)

    z_i += p_i * c', z_f += p_f * c', z_o += p_o * c        peephole
    z = max(-clip, min(clip, z)), likewise c                clip, cell_clip
    i = 1 - f                                               coupled
    z = LN(x W + h' R) gamma + b, each gate by itself       gate_scale (4U,)
    z = LN(x W) gamma_x + LN(h' R) gamma_h + b, all gates   gate_scale (2, 4U)
    h = o * psi(u), u = LN(c) gamma + beta                  cell_scale, cell_shift
    h = o * psi(u), u = c W5 + b5                           output_kernel, output_bias
    h = (o * psi(u)) P                                      projection_kernel
    c = k_c * c' + (1 - k_c) * c, likewise h                cell_zoneout, hidden_zoneout

LN(a) = (a - mean(a)) / sqrt(var(a) + epsilon). What leaves the cell is made of c before zoneout.
"""

from __future__ import annotations

from collections.abc import Callable

from keras import ops

from .._vocabulary import StateName
from . import glue
from ._request import Array, LSTMRequest
from ._variant import EPSILON

Carry = tuple[Array, Array]  # h and c before the step
Row = tuple[Array, ...]  # what one step reads, or keeps
Step = Callable[[Carry, Row], tuple[Carry, Row]]

# What one step reads besides x: (B, T), or (B, T, U).
OF_EACH_STEP = ("mask", "resets", "hidden_zoneout", "cell_zoneout")
AFTER_STEP: tuple[StateName, ...] = (
    "hidden_states",
    "cell_states",
    "input_gates",
    "forget_gates",
    "candidates",
    "output_gates",
)


def state_dtype(r: LSTMRequest) -> str:
    """Of the cell state, and of the gates on it.

    A cell state in 16 bits forgets small updates: after some hundred steps c + i * g rounds back
    to c. So the belt, and the gates on it, run in float32.
    """
    return "float64" if glue.dtype_name(r.x) == "float64" else "float32"


def make_step(
    r: LSTMRequest, names: tuple[str, ...], sequences: tuple[StateName, ...], start: Carry
) -> Step:
    """One time step that reads the named arrays, keeping only what was asked for."""
    recur, preactivate = _recur(r), _preactivate(r)
    gates_and_cell, way_out = _gates_and_cell(r), _way_out(r)

    def step(carry: Carry, inputs: Row) -> tuple[Carry, Row]:
        of_step = dict(zip(names, inputs, strict=True))
        h_before, c_before = carry
        if r.resets is not None:
            h_before, c_before = (
                begun_anew(of_step["resets"], *states) for states in zip(carry, start, strict=True)
            )
        gates, c = gates_and_cell(preactivate(of_step["z"], recur(h_before)), c_before)
        h = _zoned_out(
            way_out(gates[3], c, h_before.dtype),
            h_before,
            of_step.get("hidden_zoneout"),
            r.variant.hidden_zoneout,
        )
        c = _zoned_out(c, c_before, of_step.get("cell_zoneout"), r.variant.cell_zoneout)
        if r.mask is not None:
            counts = of_step["mask"]
            c = ops.where(counts, c, c_before)
            h = ops.where(counts, h, h_before)
            gates = tuple(ops.where(counts, a, ops.zeros_like(a)) for a in gates)
        after = dict(zip(AFTER_STEP, (h, c, *gates), strict=True))
        return (h, c), tuple(ops.cast(after[name], h.dtype) for name in sequences)

    return step


def begun_anew(reset: Array, state: Array, at_start: Array) -> Array:
    # Chosen and not multiplied: a NaN ends where a sequence ends, in the gradient, too.
    return ops.where(reset == 0, state, ops.where(reset == 2, at_start, ops.zeros_like(state)))


def _recur(r: LSTMRequest) -> Callable[[Array], Array]:
    """h' -> h' R, with the recurrent dropout of the request."""
    kernel, drop = r.recurrent_kernel, r.recurrent_dropout_mask
    if drop is None:
        return lambda h: h @ kernel
    if len(drop.shape) == 2:
        return lambda h: h * drop @ kernel
    kernels = ops.stack(ops.split(kernel, 4, axis=1))  # (4, H, U)

    def per_gate(h: Array) -> Array:
        z = h * drop @ kernels  # (4, B, U)
        return ops.concatenate([z[n] for n in range(4)], axis=-1)

    return per_gate


def _preactivate(r: LSTMRequest) -> Callable[[Array, Array], Array]:
    """x W + b and h' R -> z, in the dtype of the cell state."""
    dtype = state_dtype(r)
    scale = r.gate_scale
    if scale is None:
        return lambda z_x, z_h: ops.cast(z_x + z_h, dtype)
    scale = ops.cast(scale, dtype)
    bias = 0 if r.bias is None else ops.cast(r.bias, dtype)
    first = r.units if r.variant.coupled else 0  # an input gate that is not there has no say

    def together(z: Array) -> Array:
        z = ops.cast(z, dtype)
        return ops.concatenate([z[..., :first], _normalised(z[..., first:])], axis=-1)

    if len(scale.shape) == 2:
        return lambda z_x, z_h: together(z_x) * scale[0] + together(z_h) * scale[1] + bias

    def gate_by_gate(z_x: Array, z_h: Array) -> Array:
        z = ops.split(ops.cast(z_x + z_h, dtype), 4, axis=-1)
        return ops.concatenate([_normalised(one) for one in z], axis=-1) * scale + bias

    return gate_by_gate


def _normalised(z: Array) -> Array:
    # Not ops.mean and ops.sqrt, which round float64 to float32.
    size = z.shape[-1]
    centred = z - ops.sum(z, axis=-1, keepdims=True) / size
    variance = ops.sum(centred * centred, axis=-1, keepdims=True) / size
    return centred / (variance + EPSILON) ** 0.5


def _gates_and_cell(r: LSTMRequest) -> Callable[[Array, Array], tuple[Row, Array]]:
    """z and c' -> the four gates, and c before zoneout."""
    exact, v, dtype = glue.active().exact, r.variant, state_dtype(r)
    sigma, phi = exact(r.recurrent_activation), exact(r.activation)
    p_i, p_f, p_o = (
        (None, None, None) if r.peephole is None else ops.split(ops.cast(r.peephole, dtype), 3)
    )

    def gates_and_cell(z: Array, c_before: Array) -> tuple[Row, Array]:
        z_i, z_f, z_g, z_o = ops.split(z, 4, axis=-1)
        f = sigma(_clipped(_peeped(z_f, p_f, c_before), v.clip))
        i = 1 - f if v.coupled else sigma(_clipped(_peeped(z_i, p_i, c_before), v.clip))
        g = phi(_clipped(z_g, v.clip))
        c = _clipped(f * c_before + i * g, v.cell_clip)
        o = sigma(_clipped(_peeped(z_o, p_o, c), v.clip))
        return (i, f, g, o), c

    return gates_and_cell


def _peeped(z: Array, peephole: Array | None, c: Array) -> Array:
    return z if peephole is None else z + peephole * c


def _clipped(z: Array, bound: float) -> Array:
    if not bound:
        return z
    # Not ops.clip, which takes bounds in float32.
    high = ops.zeros_like(z) + bound
    return ops.where(z > high, high, ops.where(z < -high, -high, z))


def _way_out(r: LSTMRequest) -> Callable[[Array, Array, str], Array]:
    """o and c -> h before zoneout, in the dtype that is named."""
    psi = glue.active().exact(r.output_activation or r.activation)
    dtype = state_dtype(r)

    def way_out(o: Array, c: Array, real: str) -> Array:
        if r.cell_scale is not None:
            c = _normalised(c) * ops.cast(r.cell_scale, dtype) + ops.cast(r.cell_shift, dtype)
        if r.output_kernel is not None:
            c = ops.cast(ops.cast(c, real) @ r.output_kernel + r.output_bias, dtype)
        h = ops.cast(o * psi(c), real)
        return h if r.projection_kernel is None else h @ r.projection_kernel

    return way_out


def _zoned_out(state: Array, before: Array, keeps: Array | None, part: float) -> Array:
    if keeps is not None:
        return ops.where(keeps, before, state)
    return part * before + (1 - part) * state if part else state
