"""The GRU in `keras.ops`: every backend, every option. The reference that is always there.

Maths: Cho et al. 2014 (doi:10.3115/v1/D14-1179) with the update gate of Keras, which keeps
where it is 1; `reset_after` is the form of cuDNN and PyTorch:

    z = sigma(x W_z + h' R_z + b_z)     r = sigma(x W_r + h' R_r + b_r)
    g = tanh(x W_g + (r * h') R_g + b_g)                 without reset_after
    g = tanh(x W_g + b_g + r * (h' R_g + b'_g))          with reset_after
    h = z * h' + (1 - z) * g

Products are written `@` and not `ops.matmul`, which on torch rounds float64 to float32.
"""

from __future__ import annotations

from collections.abc import Callable

from keras import ops

from . import glue
from ._gru_request import GRURequest, GRUStates
from ._portable_step import begun_anew
from ._request import Array

# h before the step, as the kernel reads it; in 16 bits also as it is added up.
Carry = tuple[Array, ...]
Row = tuple[Array, ...]  # what one step reads, or keeps
Step = Callable[[Carry, Row], tuple[Carry, Row]]

_AFTER_STEP = ("hidden_states", "update_gates", "reset_gates", "candidates")


def run(request: GRURequest) -> GRUStates:
    """Compute the states that the request names."""
    r = request
    steps: tuple[Array, ...] = (_project_inputs(r),)  # (T, B, 3U)
    for of_each_step in (r.mask, r.resets):
        if of_each_step is not None:
            steps += (ops.transpose(of_each_step)[:, :, None],)  # (T, B, 1)
    if r.go_backwards:
        steps = tuple(ops.flip(a, axis=0) for a in steps)

    sequences = tuple(dict.fromkeys(n for n in r.outputs if n in _AFTER_STEP))
    carry = _state_before(r)
    last, rows = glue.active().scan(
        _make_step(r, sequences, carry), carry, steps, kept=len(sequences), unroll=r.unroll
    )
    states: GRUStates = {"hidden_state": last[0]}
    for name, values in zip(sequences, rows, strict=True):
        states[name] = ops.transpose(values, (1, 0, 2))
    return {name: states[name] for name in r.outputs}


def _state_before(r: GRURequest) -> Carry:
    dtype, h = glue.dtype_name(r.x), r.hidden_state
    if h is None:
        h = ops.zeros((ops.shape(r.x)[0], r.recurrent_kernel.shape[0]), dtype)
    # A state in 16 bits forgets small updates: z * h' + (1 - z) * g rounds back to h'.
    return (h, ops.cast(h, "float32")) if "16" in dtype else (h,)


def _biases(r: GRURequest) -> tuple[Array | None, Array | None]:
    """What is added to x W (3U,), and what to h' R_g (U,)."""
    if r.bias is None or not r.reset_after:
        return r.bias, None
    of_input, of_state = r.bias[0], r.bias[1]
    two_gates = 2 * r.recurrent_kernel.shape[0]
    none = ops.zeros_like(of_state[two_gates:])
    return of_input + ops.concatenate([of_state[:two_gates], none]), of_state[two_gates:]


def _project_inputs(r: GRURequest) -> Array:
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
        kernels = ops.split(r.kernel, 3, axis=1)
        z = ops.concatenate([x * r.dropout_mask[n] @ w for n, w in enumerate(kernels)], axis=-1)
    bias, _ = _biases(r)
    return z if bias is None else z + bias


def _make_step(r: GRURequest, sequences: tuple[str, ...], start: Carry) -> Step:
    """One time step, keeping only what was asked for."""
    exact = glue.active().exact
    sigma, tanh = exact(r.recurrent_activation), exact(r.activation)
    dtype, exact_dtype = glue.dtype_name(start[0]), glue.dtype_name(start[-1])
    kernels = ops.split(r.recurrent_kernel, 3, axis=1)
    drop = r.recurrent_dropout_mask
    drops = [drop] * 3 if drop is None or len(drop.shape) == 2 else [drop[n] for n in range(3)]
    together = 3 if r.reset_after else 2  # gates whose products read h' as it is
    joined = ops.concatenate(kernels[:together], axis=1)
    _, bias = _biases(r)

    def wide(a: Array) -> Array:
        return ops.cast(a, exact_dtype)

    def recur(h: Array) -> list[Array]:
        if drop is None or len(drop.shape) == 2:
            products = (h if drop is None else h * drop) @ joined
            return [wide(p) for p in ops.split(products, together, axis=-1)]
        return [wide(h * drops[n] @ kernels[n]) for n in range(together)]

    def candidate(x_g: Array, reset: Array, h: Array, product: Array | None) -> Array:
        if product is None:
            h = h if drops[2] is None else h * drops[2]
            return tanh(x_g + wide(ops.cast(reset, dtype) * h @ kernels[2]))
        return tanh(x_g + reset * (product if bias is None else product + wide(bias)))

    def step(carry: Carry, inputs: Row) -> tuple[Carry, Row]:
        if r.resets is not None:
            carry = tuple(
                begun_anew(inputs[-1], *states) for states in zip(carry, start, strict=True)
            )
        h_before, before = carry[0], carry[-1]
        x_z, x_r, x_g = ops.split(wide(inputs[0]), 3, axis=-1)
        products = recur(h_before)
        z, reset = sigma(x_z + products[0]), sigma(x_r + products[1])
        g = candidate(x_g, reset, h_before, products[2] if r.reset_after else None)
        h = z * before + (1 - z) * g
        gates = (z, reset, g)
        if r.mask is not None:
            counts = inputs[1]
            h = ops.where(counts, h, before)
            gates = tuple(ops.where(counts, a, ops.zeros_like(a)) for a in gates)
        after = dict(zip(_AFTER_STEP, (h, *gates), strict=True))
        last = (ops.cast(h, dtype), h)[: len(carry)]
        return last, tuple(ops.cast(after[name], dtype) for name in sequences)

    return step
