"""The cases of the GRU, and its judge: a GRU to read, in float64.

Cho et al. 2014 (doi:10.3115/v1/D14-1179), the update gate keeping where it is 1:

    z = sigma(z_z)    r = sigma(z_r)    h = z * h' + (1 - z) * g
    g = phi(x w_g + (r * h') r_g + b_g), or with reset_after phi(x w_g + b_g + r * (h' r_g + b'_g))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cases import ActivationName, DropoutKind, MaskKind, _choose, _dropout_masks, _mask
from conveyor._vocabulary import GRUStateName
from oracles import _ACTIVATIONS, Array


@dataclass(frozen=True, kw_only=True)
class GRUCase:
    """One computation; the numbers are drawn in the same order in all."""

    name: str
    reset_after: bool = True
    batch: int = 3
    time_steps: int = 5
    features: int = 4
    units: int = 3
    mask: MaskKind = "none"
    initial_state: bool = False
    resets: bool = False
    go_backwards: bool = False
    dropout: DropoutKind = "none"
    recurrent_dropout: DropoutKind = "none"
    use_bias: bool = True
    activation: ActivationName = "tanh"
    recurrent_activation: ActivationName = "sigmoid"

    def arguments(self, dtype: str = "float64") -> dict[str, Any]:
        """The keyword arguments of `ops.gru`, arrays in `dtype`, the mask in bool."""
        b, t, f, u = self.batch, self.time_steps, self.features, self.units
        rng = np.random.default_rng(0)
        arrays = {
            "x": rng.normal(scale=1.5, size=(b, t, f)),
            "kernel": rng.normal(size=(f, 3 * u)) / np.sqrt(f),
            "recurrent_kernel": rng.normal(size=(u, 3 * u)) / np.sqrt(u),
            "bias": rng.normal(size=(2, 3 * u)),
            "hidden_state": rng.normal(size=(b, u)),
            "dropout_mask": _choose(_dropout_masks(rng, (3, b, f)), self.dropout),
            "recurrent_dropout_mask": _choose(
                _dropout_masks(rng, (3, b, u)), self.recurrent_dropout
            ),
        }
        arrays["bias"] = arrays["bias"] if self.reset_after else arrays["bias"][0]
        absent = {"bias": not self.use_bias, "hidden_state": not self.initial_state}
        arrays |= {name: None for name, is_absent in absent.items() if is_absent}
        return {
            **{k: None if a is None else a.astype(dtype) for k, a in arrays.items()},
            "mask": _mask(self.mask, rng, b, t),
            "resets": rng.choice([0, 0, 0, 0, 1, 2], (b, t)).astype("uint8")
            if self.resets
            else None,
            "activation": self.activation,
            "recurrent_activation": self.recurrent_activation,
            "reset_after": self.reset_after,
            "go_backwards": self.go_backwards,
        }

    def __str__(self) -> str:
        return f"{self.name}_{'after' if self.reset_after else 'before'}"


_PLENTY: dict[str, Any] = {"mask": "holes", "initial_state": True, "resets": True}
_SMALL: tuple[dict[str, Any], ...] = (
    {"name": "plain", "batch": 2},
    {"name": "all_ones", "batch": 1, "time_steps": 1, "features": 1, "units": 1},
    {
        **_PLENTY,
        "name": "dropout",
        "time_steps": 4,
        "dropout": "shared",
        "recurrent_dropout": "shared",
    },
    {**_PLENTY, "name": "backwards", "go_backwards": True, "recurrent_dropout": "per_gate"},
    {
        "name": "left",
        "mask": "left",
        "go_backwards": True,
        "use_bias": False,
        "dropout": "per_gate",
    },
    {
        "name": "masked",
        "mask": "all_masked",
        "initial_state": True,
        "activation": "relu",
        "recurrent_activation": "hard_sigmoid",
    },
    {"name": "linear", "resets": True, "activation": "linear", "recurrent_activation": "tanh"},
)
# Larger than the tiles of a kernel, and none of their multiples.
_LARGE: tuple[dict[str, Any], ...] = (
    {**_PLENTY, "name": "wide", "batch": 5, "features": 33, "units": 67, "dropout": "shared"},
    {"name": "many_rows", "batch": 37, "time_steps": 3, "units": 16, "mask": "right"},
    {
        **_PLENTY,
        "name": "odd",
        "mask": "row_all_masked",
        "batch": 5,
        "time_steps": 7,
        "features": 9,
        "units": 19,
        "go_backwards": True,
        "dropout": "per_gate",
        "recurrent_dropout": "per_gate",
    },
)


def _both_forms(kinds: tuple[dict[str, Any], ...]) -> tuple[GRUCase, ...]:
    return tuple(GRUCase(**kind, reset_after=after) for kind in kinds for after in (True, False))


SMALL, LARGE = _both_forms(_SMALL), _both_forms(_LARGE)  # over the small, finite differences


def reference_gru(
    *,
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any = None,
    hidden_state: Any = None,
    mask: Any = None,
    resets: Any = None,
    dropout_mask: Any = None,
    recurrent_dropout_mask: Any = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    reset_after: bool = True,
    go_backwards: bool = False,
) -> dict[GRUStateName, Array]:
    """All five states, in float64; the time axis in processing order."""
    x = np.asarray(x).astype("float64")
    batch, time_steps, features = x.shape
    units = np.shape(recurrent_kernel)[0]
    w_z, w_r, w_g = np.split(np.asarray(kernel).astype("float64"), 3, axis=1)
    r_z, r_r, r_g = np.split(np.asarray(recurrent_kernel).astype("float64"), 3, axis=1)
    both = np.zeros((2, 3 * units))
    if bias is not None:
        both[: 2 if reset_after else 1] = np.asarray(bias).astype("float64")
    (b_z, b_r, b_g), (c_z, c_r, c_g) = (np.split(b, 3) for b in both)
    start = np.zeros((batch, units)) if hidden_state is None else hidden_state.astype("float64")
    drop = np.ones((3, batch, features)) * (1 if dropout_mask is None else dropout_mask)
    drop_h = np.ones((3, batch, units)) * (
        1 if recurrent_dropout_mask is None else recurrent_dropout_mask
    )
    counts = np.ones((batch, time_steps), bool) if mask is None else mask
    begins = np.zeros((batch, time_steps), int) if resets is None else resets
    sigma, phi = _ACTIVATIONS[recurrent_activation].value, _ACTIVATIONS[activation].value
    rows: list[tuple[Array, ...]] = []
    h = start
    for t in reversed(range(time_steps)) if go_backwards else range(time_steps):
        # Nothing crosses from t - 1 to t: read backwards, it begins anew before t - 1 is read.
        at = t + 1 if go_backwards else t
        begin = begins[:, at, None] if at < time_steps else np.zeros((batch, 1))
        h = np.where(begin == 1, 0.0, np.where(begin == 2, start, h))
        m, x_t = counts[:, t, None], np.where(counts[:, t, None], x[:, t], 0.0)
        z = sigma((x_t * drop[0]) @ w_z + b_z + (h * drop_h[0]) @ r_z + c_z)
        r = sigma((x_t * drop[1]) @ w_r + b_r + (h * drop_h[1]) @ r_r + c_r)
        x_g = (x_t * drop[2]) @ w_g + b_g
        if reset_after:
            g = phi(x_g + r * ((h * drop_h[2]) @ r_g + c_g))
        else:
            g = phi(x_g + (r * h * drop_h[2]) @ r_g)
        h = np.where(m, z * h + (1 - z) * g, h)
        rows.append((h, *(np.where(m, a, 0.0) for a in (z, r, g))))
    hs, zs, rs, gs = (np.stack(column, axis=1) for column in zip(*rows, strict=True))
    return {
        "hidden_states": hs,
        "hidden_state": h,
        "update_gates": zs,
        "reset_gates": rs,
        "candidates": gs,
    }
