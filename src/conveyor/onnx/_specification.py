"""The ONNX operator LSTM, line by line as its specification has it, in float64.

https://onnx.ai/onnx/operators/onnx__LSTM.html. The judge of what is imported and exported:
slow, and with every attribute.

    it = f(Xt*(Wi^T) + Ht-1*(Ri^T) + Pi (.) Ct-1 + Wbi + Rbi)
    ft = f(Xt*(Wf^T) + Ht-1*(Rf^T) + Pf (.) Ct-1 + Wbf + Rbf)
    ct = g(Xt*(Wc^T) + Ht-1*(Rc^T) + Wbc + Rbc)
    Ct = ft (.) Ct-1 + it (.) ct
    ot = f(Xt*(Wo^T) + Ht-1*(Ro^T) + Po (.) Ct + Wbo + Rbo)
    Ht = ot (.) h(Ct)

With input_forget=1 ft is 1 - it, as ONNX Runtime has it. `clip` "is applied to the input of
activations": of f and g, and not of h, as ONNX Runtime has it, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._activations import Activation
from ._node import LSTMNode

Array = np.ndarray

_FUNCTIONS: dict[str, Callable[[Array, Any, Any], Array]] = {
    "relu": lambda x, a, b: np.maximum(x, 0),
    "tanh": lambda x, a, b: np.tanh(x),
    "sigmoid": lambda x, a, b: 1 / (1 + np.exp(-x)),
    "softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "softplus": lambda x, a, b: np.log1p(np.exp(x)),
    "affine": lambda x, a, b: a * x + b,
    "leakyrelu": lambda x, a, b: np.where(x < 0, a * x, x),
    "thresholdedrelu": lambda x, a, b: np.where(x >= a, x, 0.0),
    "scaledtanh": lambda x, a, b: a * np.tanh(b * x),
    "hardsigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "elu": lambda x, a, b: np.where(x < 0, a * np.expm1(x), x),
}


def run(
    node: LSTMNode,
    x: Array,
    sequence_lens: Array | None = None,
    initial_h: Array | None = None,
    initial_c: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Y (T, D, B, U), Y_h and Y_c (D, B, U); with layout 1 (B, T, D, U) and (B, D, U).

    Args:
        node: attributes and weights.
        x: (T, B, F); with layout 1 (B, T, F).
        sequence_lens: (B,), or None for T everywhere.
        initial_h, initial_c: (D, B, U), with layout 1 (B, D, U); or None for zeros.
    """
    if node.layout:
        x = x.swapaxes(0, 1)
        initial_h, initial_c = (
            None if state is None else state.swapaxes(0, 1) for state in (initial_h, initial_c)
        )
    steps, batch, _ = x.shape
    lengths = np.full(batch, steps) if sequence_lens is None else np.asarray(sequence_lens)
    count = len(node.w)
    y = np.zeros((steps, count, batch, node.units))
    y_h, y_c = np.zeros((count, batch, node.units)), np.zeros((count, batch, node.units))
    for d in range(count):
        reverse = node.direction == "reverse" or d == 1
        for row in range(batch):
            h, c = (
                np.zeros(node.units) if state is None else np.asarray(state[d, row], np.float64)
                for state in (initial_h, initial_c)
            )
            read = range(int(lengths[row]))
            for t in reversed(read) if reverse else read:
                h, c = _step(node, d, np.asarray(x[t, row], np.float64), h, c)
                y[t, d, row] = h
            y_h[d, row], y_c[d, row] = h, c
    if node.layout:
        return y.transpose(2, 0, 1, 3), y_h.swapaxes(0, 1), y_c.swapaxes(0, 1)
    return y, y_h, y_c


def _step(node: LSTMNode, d: int, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    f, g, out = (
        _function(activation, bound)
        for activation, bound in zip(node.activations[d], (node.clip, node.clip, None), strict=True)
    )
    w, r = node.w[d].astype(np.float64), node.r[d].astype(np.float64)
    b = np.zeros(8 * node.units) if node.b is None else node.b[d].astype(np.float64)
    p = np.zeros(3 * node.units) if node.p is None else node.p[d].astype(np.float64)
    p_i, p_o, p_f = np.split(p, 3)
    b_w, b_r = np.split(b, 2)
    z_i, z_o, z_f, z_c = np.split(w @ x + r @ h + b_w + b_r, 4)
    i = f(z_i + p_i * c)
    forget = 1 - i if node.input_forget else f(z_f + p_f * c)
    c = forget * c + i * g(z_c)
    o = f(z_o + p_o * c)
    return o * out(c), c


def _function(activation: Activation, bound: float | None) -> Callable[[Array], Array]:
    function = _FUNCTIONS[activation.name]

    def clipped(x: Array) -> Array:
        x = x if bound is None else np.clip(x, -bound, bound)
        return function(x, activation.alpha, activation.beta)

    return clipped
