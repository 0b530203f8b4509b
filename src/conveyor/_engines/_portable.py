"""The LSTM in `keras.ops`: every backend, every option. The reference that is always there.

Maths: Hochreiter & Schmidhuber 1997 (doi:10.1162/neco.1997.9.8.1735), with the forget
gate of Gers, Schmidhuber & Cummins 2000 (doi:10.1162/089976600300015015), as in Keras:

    i = sigma(x W_i + h' R_i + b_i)     f = sigma(x W_f + h' R_f + b_f)
    g = tanh (x W_c + h' R_c + b_c)     o = sigma(x W_o + h' R_o + b_o)
    c = f * c' + i * g                  h = o * tanh(c)

Products are written `@` and not `ops.matmul`, which on torch rounds float64 to float32.
"""

from __future__ import annotations

from collections.abc import Callable

from keras import ops

from .._vocabulary import StateName
from . import glue
from ._request import Array, LSTMRequest

Carry = tuple[Array, Array]  # h and c before the step
Row = tuple[Array, ...]  # what one step reads, or keeps
Step = Callable[[Carry, Row], tuple[Carry, Row]]


def run(request: LSTMRequest) -> dict[StateName, Array]:
    """Compute the states that the request names."""
    r = request
    z_x = _project_inputs(r)  # (T, B, 4U)
    steps: tuple[Array, ...] = (z_x,)
    for of_each_step in (r.mask, r.resets):
        if of_each_step is not None:
            steps += (ops.transpose(of_each_step)[:, :, None],)  # (T, B, 1)
    if r.go_backwards:
        steps = tuple(ops.flip(a, axis=0) for a in steps)

    sequences = tuple(dict.fromkeys(n for n in r.outputs if n in _AFTER_STEP))
    carry = _states_before(r)
    (h, c), rows = glue.active().scan(
        _make_step(r, sequences, carry), carry, steps, kept=len(sequences), unroll=r.unroll
    )
    states: dict[StateName, Array] = {"hidden_state": h, "cell_state": ops.cast(c, h.dtype)}
    for name, values in zip(sequences, rows, strict=True):
        states[name] = ops.transpose(values, (1, 0, 2))
    return {name: states[name] for name in r.outputs}


def _state_dtype(r: LSTMRequest) -> str:
    # A cell state in 16 bits forgets small updates: after some hundred steps c + i * g
    # rounds back to c. So the belt, and the gates on it, run in float32.
    return "float64" if glue.dtype_name(r.x) == "float64" else "float32"


def _states_before(r: LSTMRequest) -> Carry:
    shape = (ops.shape(r.x)[0], r.recurrent_kernel.shape[0])
    h, c = r.hidden_state, r.cell_state
    h = ops.zeros(shape, glue.dtype_name(r.x)) if h is None else h
    return h, ops.zeros(shape, _state_dtype(r)) if c is None else ops.cast(c, _state_dtype(r))


def _project_inputs(r: LSTMRequest) -> Array:
    """x W + b for all steps in one product; only h' R is left to the loop."""
    x = r.x
    if r.mask is not None:
        # What stands in a masked step must not matter, not even a NaN in the gradient.
        x = ops.where(r.mask[:, :, None], x, ops.zeros_like(x))
    x = ops.transpose(x, (1, 0, 2))
    if r.dropout_mask is None:
        z = x @ r.kernel
    elif len(r.dropout_mask.shape) == 2:
        z = x * r.dropout_mask @ r.kernel
    else:
        kernels = ops.split(r.kernel, 4, axis=1)
        z = ops.concatenate([x * r.dropout_mask[n] @ w for n, w in enumerate(kernels)], axis=-1)
    return z if r.bias is None else z + r.bias


def _recur(r: LSTMRequest) -> Callable[[Array], Array]:
    """h' -> h' R, with the recurrent dropout of the request."""
    kernel, drop = r.recurrent_kernel, r.recurrent_dropout_mask
    if drop is None:
        return lambda h: h @ kernel
    if len(drop.shape) == 2:
        return lambda h: h * drop @ kernel
    kernels = ops.stack(ops.split(kernel, 4, axis=1))  # (4, U, U)

    def per_gate(h: Array) -> Array:
        z = h * drop @ kernels  # (4, B, U)
        return ops.concatenate([z[n] for n in range(4)], axis=-1)

    return per_gate


_AFTER_STEP: tuple[StateName, ...] = (
    "hidden_states",
    "cell_states",
    "input_gates",
    "forget_gates",
    "candidates",
    "output_gates",
)


def _make_step(r: LSTMRequest, sequences: tuple[StateName, ...], start: Carry) -> Step:
    """One time step, keeping only what was asked for."""
    recur = _recur(r)
    exact = glue.active().exact
    sigma, tanh = exact(r.recurrent_activation), exact(r.activation)
    state_dtype = _state_dtype(r)

    def step(carry: Carry, inputs: Row) -> tuple[Carry, Row]:
        h_before, c_before = carry
        if r.resets is not None:
            h_before, c_before = (
                _begun_anew(inputs[-1], *states) for states in zip(carry, start, strict=True)
            )
        z = ops.cast(inputs[0] + recur(h_before), state_dtype)
        z_i, z_f, z_g, z_o = ops.split(z, 4, axis=-1)
        i, f, g, o = sigma(z_i), sigma(z_f), tanh(z_g), sigma(z_o)
        c = f * c_before + i * g
        h = ops.cast(o * tanh(c), h_before.dtype)
        gates = (i, f, g, o)
        if r.mask is not None:
            counts = inputs[1]
            c = ops.where(counts, c, c_before)
            h = ops.where(counts, h, h_before)
            gates = tuple(ops.where(counts, a, ops.zeros_like(a)) for a in gates)
        after = dict(zip(_AFTER_STEP, (h, c, *gates), strict=True))
        return (h, c), tuple(ops.cast(after[name], h.dtype) for name in sequences)

    return step


def _begun_anew(reset: Array, state: Array, at_start: Array) -> Array:
    # Chosen and not multiplied: a NaN ends where a sequence ends, in the gradient, too.
    return ops.where(reset == 0, state, ops.where(reset == 2, at_start, ops.zeros_like(state)))
