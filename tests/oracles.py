"""Judges of every engine: an LSTM to read, two foreign ones, and finite differences.

The equations are those of Hochreiter & Schmidhuber, "Long Short-Term Memory", Neural
Computation 9(8), 1997, with the forget gate of Gers, Schmidhuber & Cummins, "Learning to
Forget: Continual Prediction with LSTM", Neural Computation 12(10), 2000. At each step

    z = (x * dropout_mask) w + (h' * recurrent_dropout_mask) r + b      for each of four gates
    i = sigma(z_i)    f = sigma(z_f)    g = phi(z_g)    o = sigma(z_o)
    c = f * c' + i * g
    h = o * phi(c)

where ' is the step before, sigma the recurrent activation and phi the activation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, NotRequired, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conveyor._vocabulary import GATE_NAMES, STATE_NAMES, StateName, has_time_axis

if TYPE_CHECKING:
    import tensorflow as tf
    import torch

Array = NDArray[np.float64]


# ------------------------------------------------------------------------------ activations


def _sigmoid(z: Array) -> Array:
    # 1 / (1 + exp(-z)), which overflows for a large negative z.
    return 0.5 * (1.0 + np.tanh(0.5 * z))


class _Activation(NamedTuple):
    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]  # d value / dz, at z


_ACTIVATIONS: dict[str, _Activation] = {
    "tanh": _Activation(np.tanh, lambda z: 1.0 - np.tanh(z) ** 2),
    "sigmoid": _Activation(_sigmoid, lambda z: _sigmoid(z) * (1.0 - _sigmoid(z))),
    # Keras 3's: relu6(z + 3) / 6. Keras 2's had the slope 0.2.
    "hard_sigmoid": _Activation(
        lambda z: np.clip(z + 3.0, 0.0, 6.0) / 6.0,
        lambda z: np.where(np.abs(z) < 3.0, 1.0 / 6.0, 0.0),
    ),
    "relu": _Activation(lambda z: np.maximum(z, 0.0), lambda z: np.where(z > 0.0, 1.0, 0.0)),
    "linear": _Activation(lambda z: z, np.ones_like),
}


# -------------------------------------------------------------------------------- reference


class Arguments(TypedDict):
    """What every LSTM here is given; dropout masks come whole or with one a gate in front."""

    x: ArrayLike  # (B, T, F)
    kernel: ArrayLike  # (F, 4U)
    recurrent_kernel: ArrayLike  # (U, 4U)
    bias: NotRequired[ArrayLike | None]  # (4U,)
    hidden_state: NotRequired[ArrayLike | None]  # (B, U), before the first step
    cell_state: NotRequired[ArrayLike | None]  # (B, U), before the first step
    mask: NotRequired[ArrayLike | None]  # (B, T), True where a step counts
    resets: NotRequired[ArrayLike | None]  # (B, T), as conveyor.ops.lstm has it
    dropout_mask: NotRequired[ArrayLike | None]  # (B, F) or (4, B, F)
    recurrent_dropout_mask: NotRequired[ArrayLike | None]  # (B, U) or (4, B, U)
    activation: NotRequired[str]
    recurrent_activation: NotRequired[str]
    go_backwards: NotRequired[bool]


class _Inputs(NamedTuple):
    """All arguments in float64, none missing, gates on a first axis of their own: G = 4."""

    x: Array  # (T, B, F), in processing order
    mask: NDArray[np.bool_]  # (T, B, 1), in processing order
    resets: NDArray[np.uint8]  # (T, B, 1), before each step: 1 zeros, 2 the states at the start
    w: Array  # (G, F, U)
    r: Array  # (G, U, U)
    b: Array  # (G, 1, U)
    h: Array  # (B, U), before the first step
    c: Array  # (B, U), before the first step
    dropout: Array  # (G, B, F)
    recurrent_dropout: Array  # (G, B, U)
    sigma: _Activation
    phi: _Activation


class _Step(NamedTuple):
    """What one step leaves behind; each (B, U), but z (G, B, U)."""

    z: Array
    i: Array
    f: Array
    g: Array
    o: Array
    c: Array  # that of the step before, where masked; h likewise
    h: Array


def reference_forward(**arguments: Unpack[Arguments]) -> dict[StateName, Array]:
    """All eight states, in float64; the time axis in processing order."""
    inputs = _read(**arguments)
    steps = _run(inputs)

    def over_time(arrays: Iterable[Array]) -> Array:
        return np.stack(list(arrays), axis=1)  # (B, T, U)

    def unmasked(arrays: Iterable[Array]) -> Array:
        return np.where(inputs.mask.swapaxes(0, 1), over_time(arrays), 0.0)

    return {
        "hidden_states": over_time(s.h for s in steps),
        "cell_states": over_time(s.c for s in steps),
        # A masked step repeats the state before it: the last kept is the last not masked.
        "hidden_state": steps[-1].h,
        "cell_state": steps[-1].c,
        "input_gates": unmasked(s.i for s in steps),
        "forget_gates": unmasked(s.f for s in steps),
        "candidates": unmasked(s.g for s in steps),
        "output_gates": unmasked(s.o for s in steps),
    }


def reference_backward(
    gradients: Mapping[StateName, ArrayLike], **arguments: Unpack[Arguments]
) -> dict[str, Array]:
    """The gradients of x, kernel, recurrent_kernel, bias, hidden_state and cell_state.

    `gradients` holds what arrives at the named states; an absent name is a zero. Below, dq is
    the gradient that has arrived at q. A bias of None still gets the gradient that a bias of
    zeros would, and so do initial states of None.
    """
    inputs = _read(**arguments)
    steps = _run(inputs)
    arriving = _complete(gradients, inputs)
    sigma, phi = inputs.sigma, inputs.phi

    dx = np.zeros_like(inputs.x)
    dw = np.zeros_like(inputs.w)
    dr = np.zeros_like(inputs.r)
    db = np.zeros_like(inputs.b)
    dh = arriving["hidden_state"]
    dc = arriving["cell_state"]
    dh_start, dc_start = np.zeros_like(dh), np.zeros_like(dc)

    for t in reversed(range(len(steps))):
        step, m = steps[t], inputs.mask[t]
        h_before, c_before = _before(inputs, t, *((steps[t - 1].h, steps[t - 1].c) if t else ()))

        dh = dh + arriving["hidden_states"][:, t]
        dc = dc + arriving["cell_states"][:, t]

        # h = o * phi(c)
        do = dh * phi.value(step.c) + arriving["output_gates"][:, t]
        dc_through = dc + dh * step.o * phi.slope(step.c)

        # c = f * c' + i * g
        di = dc_through * step.g + arriving["input_gates"][:, t]
        df = dc_through * c_before + arriving["forget_gates"][:, t]
        dg = dc_through * step.i + arriving["candidates"][:, t]

        # i = sigma(z_i), f = sigma(z_f), g = phi(z_g), o = sigma(z_o)
        z_i, z_f, z_g, z_o = step.z
        dz = np.stack(
            [
                di * sigma.slope(z_i),
                df * sigma.slope(z_f),
                dg * phi.slope(z_g),
                do * sigma.slope(z_o),
            ]
        )
        dz = np.where(m, dz, 0.0)  # a masked step computes nothing

        # z = (x * dropout_mask) w + (h' * recurrent_dropout_mask) r + b
        dx[t] = ((dz @ _transposed(inputs.w)) * inputs.dropout).sum(axis=0)
        dw += _transposed(inputs.x[t] * inputs.dropout) @ dz
        dr += _transposed(h_before * inputs.recurrent_dropout) @ dz
        db += dz.sum(axis=1, keepdims=True)

        # To the step before: through the equations, or past a masked step unchanged.
        dh_before = ((dz @ _transposed(inputs.r)) * inputs.recurrent_dropout).sum(axis=0)
        dh = np.where(m, dh_before, dh)
        dc = np.where(m, dc_through * step.f, dc)

        reset = inputs.resets[t]
        dh_start += np.where(reset == 2, dh, 0.0)
        dc_start += np.where(reset == 2, dc, 0.0)
        dh, dc = (np.where(reset == 0, d, 0.0) for d in (dh, dc))

    if arguments.get("go_backwards", False):
        dx = dx[::-1]
    return {
        "x": dx.swapaxes(0, 1),
        "kernel": _packed(dw),
        "recurrent_kernel": _packed(dr),
        "bias": _packed(db)[0],
        "hidden_state": dh + dh_start,
        "cell_state": dc + dc_start,
    }


def _before(inputs: _Inputs, t: int, h: Array | None = None, c: Array | None = None) -> list[Array]:
    """What step t begins with, of the states after the one before it."""
    reset = inputs.resets[t]
    return [
        np.where(reset == 1, 0.0, np.where(reset == 2, start, start if state is None else state))
        for state, start in ((h, inputs.h), (c, inputs.c))
    ]


def _run(inputs: _Inputs) -> list[_Step]:
    h, c = inputs.h, inputs.c
    steps = []
    for t, (x, m) in enumerate(zip(inputs.x, inputs.mask, strict=True)):
        h, c = _before(inputs, t, h, c)
        z = (x * inputs.dropout) @ inputs.w + (h * inputs.recurrent_dropout) @ inputs.r + inputs.b
        z_i, z_f, z_g, z_o = z
        i = inputs.sigma.value(z_i)
        f = inputs.sigma.value(z_f)
        g = inputs.phi.value(z_g)
        o = inputs.sigma.value(z_o)
        c_new = f * c + i * g
        h_new = o * inputs.phi.value(c_new)
        c = np.where(m, c_new, c)
        h = np.where(m, h_new, h)
        steps.append(_Step(z, i, f, g, o, c, h))
    return steps


def _read(
    *,
    x: ArrayLike,
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
    hidden_state: ArrayLike | None = None,
    cell_state: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    resets: ArrayLike | None = None,
    dropout_mask: ArrayLike | None = None,
    recurrent_dropout_mask: ArrayLike | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    go_backwards: bool = False,
) -> _Inputs:
    sequence = _float64(x)
    r = _unpacked(_float64(recurrent_kernel))
    batch, time_steps, features = sequence.shape
    units = r.shape[1]
    steps = np.ones((batch, time_steps), bool) if mask is None else np.asarray(mask, bool)
    begins = np.zeros((batch, time_steps), np.uint8) if resets is None else np.asarray(resets)
    if go_backwards:  # nothing crosses from t - 1 to t: it begins anew before t - 1 is read
        begins = np.pad(begins[:, 1:], ((0, 0), (0, 1)))
    order = slice(None, None, -1 if go_backwards else 1)
    return _Inputs(
        x=sequence.swapaxes(0, 1)[order],
        mask=steps.swapaxes(0, 1)[order, :, None],
        resets=begins.swapaxes(0, 1)[order, :, None],
        w=_unpacked(_float64(kernel)),
        r=r,
        b=_unpacked(_or_fill(bias, 0.0, (4 * units,))[None]),
        h=_or_fill(hidden_state, 0.0, (batch, units)),
        c=_or_fill(cell_state, 0.0, (batch, units)),
        dropout=_or_fill(dropout_mask, 1.0, (4, batch, features)),
        recurrent_dropout=_or_fill(recurrent_dropout_mask, 1.0, (4, batch, units)),
        sigma=_ACTIVATIONS[recurrent_activation],
        phi=_ACTIVATIONS[activation],
    )


def _complete(gradients: Mapping[StateName, ArrayLike], inputs: _Inputs) -> dict[StateName, Array]:
    time_steps, batch, _ = inputs.x.shape
    units = inputs.r.shape[1]
    over_time, final = (batch, time_steps, units), (batch, units)
    return {
        name: _or_fill(gradients.get(name), 0.0, over_time if has_time_axis(name) else final)
        for name in STATE_NAMES
    }


def _float64(a: ArrayLike) -> Array:
    return np.asarray(a).astype(np.float64)


def _or_fill(a: ArrayLike | None, fill: float, shape: tuple[int, ...]) -> Array:
    return np.full(shape, fill) if a is None else np.broadcast_to(_float64(a), shape)


def _unpacked(packed: Array) -> Array:
    """(N, 4U) -> (4, N, U)"""
    return packed.reshape(len(packed), len(GATE_NAMES), -1).swapaxes(0, 1)


def _packed(unpacked: Array) -> Array:
    """(4, N, U) -> (N, 4U)"""
    return unpacked.swapaxes(0, 1).reshape(unpacked.shape[1], -1)


def _transposed(a: Array) -> Array:
    return a.swapaxes(-1, -2)


# ---------------------------------------------------------------------------- foreign LSTMs


def torch_lstm(
    x: ArrayLike,
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
    hidden_state: ArrayLike | None = None,
    cell_state: ArrayLike | None = None,
) -> dict[StateName, Array]:
    """torch.nn.LSTM in float64: hidden_states, hidden_state and cell_state."""
    import torch

    batch, _, features = np.shape(x)
    units = np.shape(recurrent_kernel)[0]

    def tensor(a: ArrayLike) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(_float64(a)))

    lstm = torch.nn.LSTM(features, units, batch_first=True, dtype=torch.float64)
    lstm.load_state_dict(
        {
            # torch packs i, f, g, o as Keras does, but as (4U, F), and with two biases.
            "weight_ih_l0": tensor(kernel).T,
            "weight_hh_l0": tensor(recurrent_kernel).T,
            "bias_ih_l0": tensor(_or_fill(bias, 0.0, (4 * units,))),
            "bias_hh_l0": tensor(np.zeros(4 * units)),
        }
    )
    h = tensor(_or_fill(hidden_state, 0.0, (batch, units)))[None]
    c = tensor(_or_fill(cell_state, 0.0, (batch, units)))[None]
    with torch.no_grad():
        hidden_states, (h, c) = lstm(tensor(x), (h, c))
    return {
        "hidden_states": hidden_states.numpy(),
        "hidden_state": h[0].numpy(),
        "cell_state": c[0].numpy(),
    }


def block_lstm_v2(
    x: ArrayLike,
    kernel: ArrayLike,
    recurrent_kernel: ArrayLike,
    bias: ArrayLike | None = None,
    hidden_state: ArrayLike | None = None,
    cell_state: ArrayLike | None = None,
    peephole: ArrayLike | None = None,
    cell_clip: float = 0.0,
) -> dict[StateName, NDArray[np.float32]]:
    """TensorFlow's raw op BlockLSTMV2, in float32 as it has no float64: all but the last states.

    BlockLSTM packs i, c, f, o; V2, by its documentation, i, f, c, o, which is Keras's order.
    """
    import tensorflow as tf

    batch, time_steps, _ = np.shape(x)
    units = np.shape(recurrent_kernel)[0]

    def tensor(a: ArrayLike) -> tf.Tensor:
        return tf.constant(np.asarray(a, np.float32))

    wci, wcf, wco = np.split(_or_fill(peephole, 0.0, (3 * units,)), 3)
    i, cs, f, o, ci, _, h = tf.raw_ops.BlockLSTMV2(
        seq_len_max=tf.constant(time_steps, tf.int64),
        x=tensor(np.swapaxes(np.asarray(x), 0, 1)),  # the op wants (T, B, F)
        cs_prev=tensor(_or_fill(cell_state, 0.0, (batch, units))),
        h_prev=tensor(_or_fill(hidden_state, 0.0, (batch, units))),
        w=tensor(np.concatenate([kernel, recurrent_kernel])),
        wci=tensor(wci),
        wcf=tensor(wcf),
        wco=tensor(wco),
        b=tensor(_or_fill(bias, 0.0, (4 * units,))),
        cell_clip=cell_clip,
        use_peephole=peephole is not None,
    )
    states: dict[StateName, tf.Tensor] = {
        "hidden_states": h,
        "cell_states": cs,
        "input_gates": i,
        "forget_gates": f,
        "candidates": ci,
        "output_gates": o,
    }
    return {name: state.numpy().swapaxes(0, 1) for name, state in states.items()}


# ----------------------------------------------------------------------- finite differences


def finite_differences(
    function: Callable[..., float | Array], arrays: Sequence[Array], step: float = 1e-5
) -> list[Array]:
    """The gradient of function(*arrays) at each array, by central differences.

    A function of several numbers gets them on the gradients' first axes. The error is about
    step ** 2, from the curvature, plus 1e-16 / step, from rounding.
    """
    arrays = [np.array(a, np.float64) for a in arrays]
    shape = np.shape(function(*arrays))
    gradients = []
    for array in arrays:
        gradient = np.empty((*shape, *array.shape))
        for index in np.ndindex(array.shape):
            here = array[index]
            array[index] = here + step
            above = np.asarray(function(*arrays))
            array[index] = here - step
            below = np.asarray(function(*arrays))
            array[index] = here
            gradient[(..., *index)] = (above - below) / (2.0 * step)
        gradients.append(gradient)
    return gradients
