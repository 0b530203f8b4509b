"""Files of the format safetensors, with what the numbers mean in their metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import lesson
from ._gru_safetensors import gru_file, gru_of_file
from ._gru_weights import GRUWeights
from ._layouts import LAYOUTS, Settings, listed, pack, unpack
from ._torch import choose, weights_of_arrays
from ._weights import SETTINGS, LSTMWeights

_FORMAT = "conveyor.lstm"


def _package() -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'safetensors files need the package safetensors: pip install "conveyor[convert]".'
        ) from None
    return safetensors


def write_safetensors(weights: LSTMWeights | GRUWeights, path: Path, layout: str = "keras") -> None:
    """Write weights as a layout names and packs them, and say so in the metadata."""
    safetensors = _package()
    if isinstance(weights, GRUWeights):
        tensors, metadata = gru_file(weights, layout)
        path.write_bytes(safetensors.numpy.save(tensors, metadata=metadata))
        return
    arrays = {n: np.ascontiguousarray(array) for n, array in pack(weights, layout).items()}
    path.write_bytes(safetensors.numpy.save(arrays, metadata=_metadata(weights, layout)))


def _metadata(weights: LSTMWeights, layout: str) -> dict[str, str]:
    biases = LAYOUTS[layout].biases if weights.has("bias") else 0
    cells, settings = list(weights.cells), weights.settings()
    # Of each layer, where one has some: coupled gates, bounds, zoneout.
    known = {"settings": json.dumps(settings)} if any(settings) else {}
    return known | {
        "format": _FORMAT,
        "layout": layout,
        "gate_order": LAYOUTS[layout].gate_order,
        "bias": ("none", "one", "two, which are added")[biases],
        "features": str(weights.features),
        "units": ", ".join(str(layer[0].units) for layer in weights.layers),
        "directions": ", ".join(str(len(layer)) for layer in weights.layers),
        "projection": "yes" if cells[0].projection is not None else "no",
        "peepholes": "yes" if cells[0].peepholes is not None else "no",
    }


def read_safetensors(path: Path, name: str | None = None) -> LSTMWeights | GRUWeights:
    """Weights of a file of ours, or of one with the state dict of an nn.LSTM or nn.GRU.

    Raises:
        ConveyorError: no such file, or one whose tensors are not what its metadata says.
    """
    safetensors = _package()
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as error:  # SafetensorError, and for a dtype that NumPy lacks TypeError
        reason = str(error).strip().partition("\n")[0]
        raise lesson(
            str(path),
            "a safetensors file",
            f"one that cannot be read: {reason[:200]}",
            "Write it anew; it may be cut off.",
        ) from error
    gru = gru_of_file(arrays, metadata, path, name)
    if gru is not None:
        return gru
    if metadata.get("format") != _FORMAT:
        return weights_of_arrays(choose(arrays, name))
    layout = metadata.get("layout", "")
    if layout not in LAYOUTS:
        raise lesson(
            str(path),
            f"metadata with a layout, of {', '.join(LAYOUTS)}",
            f"layout={layout!r}",
            "Write the file anew, by conveyor.convert.save.",
        )
    weights = unpack(arrays, layout, _settings(metadata, path))
    found = _metadata(weights, layout)
    wrong = [key for key in found | metadata if metadata.get(key) != found.get(key)]
    if wrong or len(pack(weights, layout)) != len(arrays):
        said = ", ".join(f"{key}={metadata.get(key)!r}" for key in wrong) or "fewer tensors"
        there = ", ".join(f"{key}={found.get(key)!r}" for key in wrong) or listed(arrays)
        raise lesson(
            str(path),
            f"tensors as its metadata says: {said}",
            there,
            "The file is damaged, or was changed by hand. Write it anew.",
        )
    return weights


def _settings(metadata: dict[str, str], path: Path) -> Settings:
    """What the metadata says of each layer besides its arrays."""
    text = metadata.get("settings", "[]")
    try:
        settings = json.loads(text)
    except ValueError:
        settings = None
    if not isinstance(settings, list) or not all(
        isinstance(one, dict) and one.keys() <= SETTINGS.keys() for one in settings
    ):
        raise lesson(
            str(path),
            f"settings of each layer, of {', '.join(SETTINGS)}",
            f"settings={text[:200]!r}",
            "The file is damaged, or was changed by hand. Write it anew.",
        )
    return settings
