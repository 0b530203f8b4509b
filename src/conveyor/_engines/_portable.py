"""The LSTM in `keras.ops`: every backend, every option. The reference that is always there.

Maths: Hochreiter & Schmidhuber 1997 (doi:10.1162/neco.1997.9.8.1735), with the forget
gate of Gers, Schmidhuber & Cummins 2000 (doi:10.1162/089976600300015015), as in Keras:

    i = sigma(x W_i + h' R_i + b_i)     f = sigma(x W_f + h' R_f + b_f)
    g = tanh (x W_c + h' R_c + b_c)     o = sigma(x W_o + h' R_o + b_o)
    c = f * c' + i * g                  h = o * tanh(c)

Products are written `@` and not `ops.matmul`, which on torch rounds float64 to float32.
"""

from __future__ import annotations

from keras import ops

from .._vocabulary import StateName
from . import glue
from ._portable_step import AFTER_STEP, OF_EACH_STEP, Carry, make_step, state_dtype
from ._request import Array, LSTMRequest


def run(request: LSTMRequest) -> dict[StateName, Array]:
    """Compute the states that the request names."""
    r = request
    steps = {"z": _project_inputs(r)}  # (T, B, 4U)
    for name in OF_EACH_STEP:
        if (array := getattr(r, name)) is not None:
            array = array[:, :, None] if len(array.shape) == 2 else array
            steps[name] = ops.transpose(array, (1, 0, 2))  # (T, B, 1), (T, B, U)
    if r.go_backwards:
        steps = {name: ops.flip(array, axis=0) for name, array in steps.items()}

    sequences = tuple(dict.fromkeys(n for n in r.outputs if n in AFTER_STEP))
    carry = _states_before(r)
    (h, c), rows = glue.active().scan(
        make_step(r, tuple(steps), sequences, carry),
        carry,
        tuple(steps.values()),
        kept=len(sequences),
        unroll=r.unroll,
    )
    states: dict[StateName, Array] = {"hidden_state": h, "cell_state": ops.cast(c, h.dtype)}
    for name, values in zip(sequences, rows, strict=True):
        states[name] = ops.transpose(values, (1, 0, 2))
    return {name: states[name] for name in r.outputs}


def _states_before(r: LSTMRequest) -> Carry:
    batch, dtype = ops.shape(r.x)[0], state_dtype(r)
    h, c = r.hidden_state, r.cell_state
    h = ops.zeros((batch, r.hidden_size), glue.dtype_name(r.x)) if h is None else h
    return h, ops.zeros((batch, r.units), dtype) if c is None else ops.cast(c, dtype)


def _project_inputs(r: LSTMRequest) -> Array:
    """x W + b for all steps in one product; only h' R is left to the loop.

    A layer normalisation comes before the bias, which is then left to the loop, too.
    """
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
    return z if r.bias is None or r.gate_scale is not None else z + r.bias
