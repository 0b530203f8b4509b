"""Weights of torch.nn.GRU."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import lesson
from ._gru_layouts import pack_gru
from ._gru_weights import GRUWeights


def is_gru(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether what `_torch.choose` gave are three gates, and not an LSTM's four."""
    recurrent = arrays.get("weight_hh_l0")
    if recurrent is None or recurrent.ndim != 2 or "weight_hr_l0" in arrays:
        return False
    return bool(recurrent.shape[0] == 3 * recurrent.shape[1])


def module_of(arrays: Mapping[str, np.ndarray], weights: GRUWeights) -> Any:
    """An `nn.GRU` with these arrays as they are; None where PyTorch has none, or is not there."""
    kinds = {(len(layer), layer[0].units) for layer in weights.layers}
    if find_spec("torch") is None or len(kinds) > 1:
        return None
    if set(pack_gru(weights, "torch")) != set(arrays):  # biases of some layers alone
        return None
    return _module(arrays, len(weights.layers), len(weights.layers[0]))


def torch_module(weights: GRUWeights) -> Any:
    """An `nn.GRU` with `batch_first=True`.

    Raises:
        ConveyorError: reset_after=False, or layers of different sizes or directions, which one
            nn.GRU cannot have.
    """
    arrays = pack_gru(weights, "torch")
    kinds = {(len(layer), layer[0].units) for layer in weights.layers}
    if len(kinds) > 1:
        raise lesson(
            "conveyor.convert",
            "layers of one size, as one nn.GRU has them",
            str(weights),
            "Convert the layers one by one.",
        )
    ((directions, _),) = kinds
    return _module(arrays, len(weights.layers), directions)


def _module(arrays: Mapping[str, np.ndarray], layers: int, directions: int) -> Any:
    import torch

    module = torch.nn.GRU(
        arrays["weight_ih_l0"].shape[1],
        arrays["weight_hh_l0"].shape[1],
        num_layers=layers,
        bias="bias_ih_l0" in arrays,
        batch_first=True,
        bidirectional=directions == 2,
        dtype=getattr(torch, np.result_type(*arrays.values()).name),
    )
    module.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in arrays.items()})
    return module


def write_state_dict(weights: GRUWeights, path: Path) -> None:
    """A file for `nn.GRU.load_state_dict(torch.load(path))`."""
    import torch

    arrays = pack_gru(weights, "torch")
    torch.save({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, path)
