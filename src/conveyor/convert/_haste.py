"""Weights of haste's LSTM and LayerNormLSTM, and its equations."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from .._errors import lesson
from ._layouts import pack, unpack
from ._weights import LSTMWeights

_NORMS = ("gamma", "gamma_h", "beta_h")


@dataclass(frozen=True)
class HasteLSTM:
    """The parameters of `haste_pytorch.LSTM` or `LayerNormLSTM`, as its state dict names them.

    `HasteLSTM(**{name: a.numpy() for name, a in lstm.state_dict().items()}, zoneout=lstm.zoneout)`

    Attributes:
        kernel: (F, 4U), gates in the order input, candidate, forget, output.
        recurrent_kernel: (U, 4U).
        bias: (4U,).
        gamma: (2, 4U), the scales of normalised x W and h' R; None in an LSTM, as the next two.
        gamma_h, beta_h: (U,), scale and shift of the normalised cell state.
        zoneout: the part of the hidden state that stays; no state dict has it.
    """

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray
    gamma: np.ndarray | None = None
    gamma_h: np.ndarray | None = None
    beta_h: np.ndarray | None = None
    zoneout: float = 0.0

    def state_dict(self) -> dict[str, np.ndarray]:
        """The arrays that are there, by name."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "zoneout"}
        return {name: np.asarray(array) for name, array in named.items() if array is not None}


def weights_of_haste(lstm: HasteLSTM) -> LSTMWeights:
    """Its weights."""
    arrays = lstm.state_dict()
    lacks = [name for name in _NORMS if name not in arrays]
    if lacks and len(lacks) < len(_NORMS):
        raise lesson(
            "conveyor.convert",
            "gamma, gamma_h and beta_h of a LayerNormLSTM, or none of them",
            f"no {' and no '.join(lacks)}",
            "Pass all of lstm.state_dict().",
        )
    named = {f"layers.0.forward.{name}": array for name, array in arrays.items()}
    return unpack(named, "haste", [{"zoneout": (lstm.zoneout, 0.0)}])


def haste_lstm(weights: LSTMWeights) -> HasteLSTM:
    """The parameters for one LSTM in one direction."""
    if len(weights.layers) > 1 or len(weights.layers[0]) > 1:
        raise lesson(
            "conveyor.convert",
            "one LSTM in one direction, as one of haste is",
            str(weights),
            "Convert them one by one.",
        )
    arrays = {n.rpartition(".")[2]: a for n, a in pack(weights, "haste").items()}
    return HasteLSTM(**arrays, zoneout=weights.layers[0][0].zoneout[0])


def run(lstm: HasteLSTM, x: np.ndarray) -> np.ndarray:
    """What haste's own script computes without a GPU (frameworks/pytorch/layer_norm_lstm.py)."""
    units, (batch, time_steps, _) = lstm.recurrent_kernel.shape[0], x.shape
    gamma = [None, None] if lstm.gamma is None else list(lstm.gamma)
    h, c = np.zeros((2, batch, units), x.dtype)
    every = []
    for t in range(time_steps):
        v = _layer_norm(x[:, t] @ lstm.kernel, gamma[0]) + lstm.bias
        v = v + _layer_norm(h @ lstm.recurrent_kernel, gamma[1])
        i, g, f, o = np.split(v, 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        out = _layer_norm(c, lstm.gamma_h)
        out = _sigmoid(o) * np.tanh(out if lstm.beta_h is None else out + lstm.beta_h)
        h = lstm.zoneout * h + (1 - lstm.zoneout) * out
        every.append(h)
    return np.stack(every, axis=1)


def _layer_norm(z: np.ndarray, gamma: np.ndarray | None) -> np.ndarray:
    if gamma is None:
        return z
    invstd = 1 / np.sqrt(z.var(axis=-1, keepdims=True) + 1e-5)
    return np.asarray((z - z.mean(axis=-1, keepdims=True)) * invstd * gamma)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-z)))
