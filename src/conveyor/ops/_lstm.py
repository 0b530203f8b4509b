"""`conveyor.ops.lstm`: check the axes, choose an engine, run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import keras
from keras import ops

from .. import _engines
from .._engines import Array, Decision, LSTMRequest, glue
from . import _checks
from ._arrays import all_numpy, as_numpy, as_tensors, in_their_width, steps_that_count
from ._outputs import check_outputs
from ._remat import check_remat, check_remat_suits, within
from ._resets import begin_anew
from ._variants import (
    ZONEOUTS,
    VariantArguments,
    arrays_of,
    as_activation,
    as_variant,
    check_variant,
    with_input_gate,
)


def lstm(
    x: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array | None = None,
    *,
    hidden_state: Array | None = None,
    cell_state: Array | None = None,
    mask: Array | None = None,
    lengths: Array | Sequence[int] | None = None,
    resets: Array | None = None,
    dropout_mask: Array | None = None,
    recurrent_dropout_mask: Array | None = None,
    activation: Any = "tanh",
    recurrent_activation: Any = "sigmoid",
    go_backwards: bool = False,
    unroll: bool = False,
    remat: int | None = None,
    outputs: str | Sequence[str] = "hidden_states",
    engine: str = "auto",
    **variant: Unpack[VariantArguments],
) -> Any:
    """Run an LSTM over a batch of sequences and return the states that `outputs` names.

    A pure function of arrays of the framework that Keras runs on: jit it, differentiate
    it, vmap it. NumPy arrays go in and NumPy arrays come out. With B sequences, T time
    steps, F features and U units, and the gates packed along the last axis in the order
    input, forget, candidate, output:

        i = sigma(x W_i + h' R_i + b_i)     f = sigma(x W_f + h' R_f + b_f)
        g = tanh (x W_c + h' R_c + b_c)     o = sigma(x W_o + h' R_o + b_o)
        c = f * c' + i * g                  h = o * tanh(c)

    (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.)

    Args:
        x: (B, T, F) floats; all other float arrays have the same dtype.
        kernel: (F, 4U), what Keras calls so.
        recurrent_kernel: (U, 4U).
        bias: (4U,), or None for no bias.
        hidden_state: (B, U) before the first step; zeros if None.
        cell_state: (B, U) before the first step; zeros if None. Also float32 beside a
            16-bit `x`: the cell state is kept in float32 inside.
        mask: (B, T), False at steps to skip, in any pattern. A skipped step leaves both
            states as they were, its gates are zero, and its input has no influence.
        lengths: (B,) integers, the same for padding on the right; with `mask`, a step
            counts where both say so.
        resets: (B, T), True at the first time step of a sequence that has nothing to do with
            what was before it: no state crosses from time step t - 1 to t, in either direction
            of reading, nor does a gradient. It begins with zeros; an integer 2 in place of True
            begins it with `hidden_state` and `cell_state`.
        dropout_mask: (B, F) factors on the input, shared over time; or (4, B, F), one
            for each gate.
        recurrent_dropout_mask: (B, U) or (4, B, U) factors on the hidden state where it
            enters the gates.
        activation: name or function for the candidate and on the way out.
        recurrent_activation: name or function for the three gates.
        go_backwards: read the last step first; time axes are returned in that order.
        unroll: write the loop out (T must be known).
        remat: keep the states of every `remat`-th step alone for the gradient, and compute the
            rest again on the way back: T steps take memory of T / remat pairs of states and
            `remat` whole steps. The same gradients for one more forward pass; see
            `conveyor.memory_estimate`.
        outputs: one name or several of `hidden_states`, `cell_states` (B, T, U),
            `hidden_state`, `cell_state` (B, U), `input_gates`, `forget_gates`,
            `candidates`, `output_gates` (B, T, U). Nothing else is kept.
        engine: "auto" for the fastest that can do it, "native" or "portable".

    Returns:
        One array for one name, else a tuple in the order of the names.

    Raises:
        ConveyorError: arrays whose axes or dtypes do not fit, each with the line to write.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x, kernel, recurrent_kernel = (rng.normal(size=s) for s in [(2, 5, 3), (3, 16), (4, 16)])
    >>> cs, c = lstm(x, kernel, recurrent_kernel, outputs=("cell_states", "cell_state"))
    >>> cs.shape, c.shape, bool((cs[:, -1] == c).all())
    ((2, 5, 4), (2, 4), True)
    """
    returned, _ = lstm_and_decision(
        x,
        kernel,
        recurrent_kernel,
        bias,
        hidden_state=hidden_state,
        cell_state=cell_state,
        mask=mask,
        lengths=lengths,
        resets=resets,
        dropout_mask=dropout_mask,
        recurrent_dropout_mask=recurrent_dropout_mask,
        activation=activation,
        recurrent_activation=recurrent_activation,
        go_backwards=go_backwards,
        unroll=unroll,
        remat=remat,
        outputs=outputs,
        engine=engine,
        where="conveyor.ops.lstm",
        **variant,
    )
    return returned[0] if len(returned) == 1 else returned


def lstm_and_decision(x: Array, *weights: Any, **call: Any) -> tuple[tuple[Array, ...], Decision]:
    """`lstm`, and which engine ran; `where` is the name to put before an error."""
    request, decision, in_numpy = _ready(x, *weights, **call)
    with in_their_width(x, in_numpy):
        states = _engines.run(request, decision)
        return _named(states, request.outputs, in_numpy), decision


def lstms_and_decisions(
    calls: Sequence[dict[str, Any]], *, stack: bool = False
) -> list[tuple[tuple[Array, ...], Decision]]:
    """The same for several, on arrays of one width: that do not wait for each other, or a stack.

    In a stack each reads the hidden states of the one before, which are among its outputs, and of
    its own x only the shape counts.
    """
    ready = [_ready(**call) for call in calls]
    in_numpy = ready[0][2]
    with in_their_width(calls[0]["x"], in_numpy):
        run = _engines.run_stack if stack else _engines.run_together
        every = run([r for r, _, _ in ready], [d for _, d, _ in ready])
        return [
            (_named(states, request.outputs, in_numpy), decision)
            for states, (request, decision, _) in zip(every, ready, strict=True)
        ]


def _named(states: _engines.States, names: Sequence[Any], in_numpy: bool) -> tuple[Array, ...]:
    returned = tuple(states[name] for name in names)
    return as_numpy(returned) if in_numpy else returned


def _ready(
    x: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array | None = None,
    *,
    hidden_state: Array | None = None,
    cell_state: Array | None = None,
    mask: Array | None = None,
    lengths: Array | Sequence[int] | None = None,
    resets: Array | None = None,
    dropout_mask: Array | None = None,
    recurrent_dropout_mask: Array | None = None,
    activation: Any,
    recurrent_activation: Any,
    go_backwards: bool = False,
    unroll: bool = False,
    remat: int | None = None,
    outputs: str | Sequence[str],
    engine: str,
    where: str,
    **variant: Unpack[VariantArguments],
) -> tuple[LSTMRequest, Decision, bool]:
    """The request, the engine for it, and whether all that came is NumPy."""
    names = check_outputs(outputs, where)
    check_variant(variant, where)
    arrays = {
        "x": x,
        "kernel": kernel,
        "recurrent_kernel": recurrent_kernel,
        "bias": bias,
        "hidden_state": hidden_state,
        "cell_state": cell_state,
        "dropout_mask": dropout_mask,
        "recurrent_dropout_mask": recurrent_dropout_mask,
        **arrays_of(variant),
    }
    coupled = bool(variant.get("coupled"))
    _checks.check_inputs(arrays, mask, resets, coupled, where)
    check_remat(remat, where)
    if remat is not None:
        check_remat_suits(glue.dtype_name(x), resets, where)
    in_numpy = all_numpy(*arrays.values(), mask, lengths, resets)
    with in_their_width(x, in_numpy):
        tensors = as_tensors(arrays)
        x = tensors["x"]
        for name in ZONEOUTS:
            tensors[name] = None if tensors[name] is None else ops.cast(tensors[name], "bool")
        request = LSTMRequest(
            **tensors,
            mask=steps_that_count(x, mask, lengths, where),
            resets=None if resets is None else begin_anew(x, resets, go_backwards, where),
            activation=keras.activations.get(activation),
            recurrent_activation=keras.activations.get(recurrent_activation),
            go_backwards=go_backwards,
            unroll=unroll,
            remat=0 if remat is None else within(remat, x),
            outputs=names,
            output_activation=as_activation(variant),
            variant=as_variant(variant),
        )
        request = with_input_gate(request)
        return request, _engines.choose(request, engine, where), in_numpy
