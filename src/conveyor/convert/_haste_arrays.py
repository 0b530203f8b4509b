"""How haste (https://github.com/lmnt-com/haste) names and packs the weights of its LSTMs.

LSTM           kernel (F, 4U), recurrent_kernel (U, 4U), bias (4U,)
LayerNormLSTM  the same, gamma (2, 4U) of x W and h' R, gamma_h and beta_h (U,) of the cell state

Gates in the order input, candidate, forget, output. Zoneout is of the hidden state alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._gates import BLOCK_ORDER, from_order, to_order
from ._weights import CellWeights, no_place


def to_haste(cell: CellWeights) -> dict[str, np.ndarray]:
    """The arrays of one LSTM by haste's names."""
    scale = cell.gate_scale
    norms = [scale is not None and scale.ndim == 2, cell.cell_scale is not None]
    if any(norms) != all(norms) or (scale is not None and scale.ndim == 1):
        raise no_place(
            "gate_scale" if scale is not None else "cell_scale",
            "haste, which normalises all gates at once and the cell state, or nothing,",
            'It has layer_norm=("joint", "cell"). Write save(source, "weights.safetensors").',
        )
    if cell.zoneout[1]:
        raise no_place(
            "zoneout",
            "haste, whose zoneout is of the hidden state alone,",
            f"Write zoneout=({cell.zoneout[0]}, 0) in the layer.",
        )
    bias = np.zeros(4 * cell.units, cell.kernel.dtype) if cell.bias is None else cell.bias
    packed = {"kernel": cell.kernel, "recurrent_kernel": cell.recurrent_kernel, "bias": bias}
    if scale is not None:
        packed["gamma"] = scale
    arrays = {name: to_order(array, BLOCK_ORDER) for name, array in packed.items()}
    if cell.cell_scale is not None and cell.cell_shift is not None:
        arrays |= {"gamma_h": cell.cell_scale, "beta_h": cell.cell_shift}
    return arrays


def from_haste(cell: Mapping[str, np.ndarray], **settings: Any) -> CellWeights:
    """Back."""
    names = ("kernel", "recurrent_kernel", "bias", *(["gamma"] if "gamma" in cell else []))
    kernel, recurrent_kernel, bias, *scale = (from_order(cell[n], BLOCK_ORDER) for n in names)
    return CellWeights(
        kernel,
        recurrent_kernel,
        bias,
        gate_scale=scale[0] if scale else None,
        cell_scale=cell.get("gamma_h"),
        cell_shift=cell.get("beta_h"),
        **settings,
    )
