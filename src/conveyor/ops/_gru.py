"""`conveyor.ops.gru`: check the axes, choose an engine, run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import keras

from .. import _engines
from .._engines import Array, Decision, GRURequest
from .._vocabulary import GRU_STATE_NAMES, GRUStateName
from . import _gru_checks
from ._arrays import all_numpy, as_numpy, as_tensors, in_their_width, steps_that_count
from ._outputs import check_names
from ._resets import begin_anew


def gru(
    x: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array | None = None,
    *,
    hidden_state: Array | None = None,
    mask: Array | None = None,
    lengths: Array | Sequence[int] | None = None,
    resets: Array | None = None,
    dropout_mask: Array | None = None,
    recurrent_dropout_mask: Array | None = None,
    activation: Any = "tanh",
    recurrent_activation: Any = "sigmoid",
    reset_after: bool = True,
    go_backwards: bool = False,
    unroll: bool = False,
    outputs: str | Sequence[str] = "hidden_states",
    engine: str = "auto",
) -> Any:
    """Run a GRU over a batch of sequences and return the states that `outputs` names.

    A pure function of arrays of the framework that Keras runs on: jit it, differentiate
    it, vmap it. NumPy arrays go in and NumPy arrays come out. With B sequences, T time
    steps, F features and U units, and the gates packed along the last axis in the order
    update, reset, candidate:

        z = sigma(x W_z + h' R_z + b_z)     r = sigma(x W_r + h' R_r + b_r)
        g = tanh(x W_g + b_g + r * (h' R_g + b'_g))     with reset_after
        g = tanh(x W_g + (r * h') R_g + b_g)            without
        h = z * h' + (1 - z) * g

    (Cho et al. 2014, doi:10.3115/v1/D14-1179; `reset_after` is the form of cuDNN and PyTorch.)

    Args:
        x: (B, T, F) floats; all other float arrays have the same dtype.
        kernel: (F, 3U), what Keras calls so.
        recurrent_kernel: (U, 3U).
        bias: (2, 3U) with `reset_after`, added to x W and to h' R; (3U,) without; or None.
        hidden_state: (B, U) before the first step; zeros if None.
        mask: (B, T), False at steps to skip, in any pattern. A skipped step leaves the
            state as it was, its gates are zero, and its input has no influence.
        lengths: (B,) integers, the same for padding on the right; with `mask`, a step
            counts where both say so.
        resets: (B, T), True at the first time step of a sequence that has nothing to do with
            what was before it, as in `lstm`; 2 in place of True begins it with `hidden_state`.
        dropout_mask: (B, F) factors on the input, shared over time; or (3, B, F), one
            for each gate.
        recurrent_dropout_mask: (B, U) or (3, B, U) factors on the hidden state where it
            enters the gates; what the update gate keeps is not dropped.
        activation: name or function for the candidate.
        recurrent_activation: name or function for the two gates.
        reset_after: which of the two candidates, see above.
        go_backwards: read the last step first; time axes are returned in that order.
        unroll: write the loop out (T must be known).
        outputs: one name or several of `hidden_states` (B, T, U), `hidden_state` (B, U),
            `update_gates`, `reset_gates`, `candidates` (B, T, U). Nothing else is kept.
        engine: "auto" for the fastest that can do it, "native" or "portable".

    Returns:
        One array for one name, else a tuple in the order of the names.

    Raises:
        ConveyorError: arrays whose axes or dtypes do not fit, each with the line to write.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x, kernel, recurrent_kernel = (rng.normal(size=s) for s in [(2, 5, 3), (3, 12), (4, 12)])
    >>> hs, h = gru(x, kernel, recurrent_kernel, outputs=("hidden_states", "hidden_state"))
    >>> hs.shape, h.shape, bool((hs[:, -1] == h).all())
    ((2, 5, 4), (2, 4), True)
    """
    returned, _ = gru_and_decision(
        x,
        kernel,
        recurrent_kernel,
        bias,
        hidden_state=hidden_state,
        mask=mask,
        lengths=lengths,
        resets=resets,
        dropout_mask=dropout_mask,
        recurrent_dropout_mask=recurrent_dropout_mask,
        activation=activation,
        recurrent_activation=recurrent_activation,
        reset_after=reset_after,
        go_backwards=go_backwards,
        unroll=unroll,
        outputs=outputs,
        engine=engine,
        where="conveyor.ops.gru",
    )
    return returned[0] if len(returned) == 1 else returned


def check_gru_outputs(outputs: str | Sequence[str], where: str) -> tuple[GRUStateName, ...]:
    """The names as a tuple.

    Raises:
        ConveyorError: no name, an unknown one, or one given twice.

    >>> check_gru_outputs("update_gates", "GRU")
    ('update_gates',)
    """
    return cast(tuple[GRUStateName, ...], check_names(outputs, GRU_STATE_NAMES, "GRU", where))


def gru_and_decision(
    x: Array,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array | None = None,
    *,
    hidden_state: Array | None = None,
    mask: Array | None = None,
    lengths: Array | Sequence[int] | None = None,
    resets: Array | None = None,
    dropout_mask: Array | None = None,
    recurrent_dropout_mask: Array | None = None,
    activation: Any,
    recurrent_activation: Any,
    reset_after: bool,
    go_backwards: bool = False,
    unroll: bool = False,
    outputs: str | Sequence[str],
    engine: str,
    where: str,
) -> tuple[tuple[Array, ...], Decision]:
    """`gru`, and which engine ran; `where` is the name to put before an error."""
    names = check_gru_outputs(outputs, where)
    reset_after = bool(reset_after)
    arrays = {
        "x": x,
        "kernel": kernel,
        "recurrent_kernel": recurrent_kernel,
        "bias": bias,
        "hidden_state": hidden_state,
        "dropout_mask": dropout_mask,
        "recurrent_dropout_mask": recurrent_dropout_mask,
    }
    _gru_checks.check_inputs(arrays, mask, resets, reset_after, where)
    in_numpy = all_numpy(*arrays.values(), mask, lengths, resets)
    with in_their_width(x, in_numpy):
        tensors = as_tensors(arrays)
        x = tensors["x"]
        request = GRURequest(
            **tensors,
            mask=steps_that_count(x, mask, lengths, where),
            resets=None if resets is None else begin_anew(x, resets, go_backwards, where),
            activation=keras.activations.get(activation),
            recurrent_activation=keras.activations.get(recurrent_activation),
            reset_after=reset_after,
            go_backwards=go_backwards,
            unroll=unroll,
            outputs=names,
        )
        decision = _engines.choose_gru(request, engine, where)
        states = _engines.run_gru(request, decision)
        returned = tuple(states[name] for name in names)
        returned = as_numpy(returned) if in_numpy else returned
    return returned, decision
