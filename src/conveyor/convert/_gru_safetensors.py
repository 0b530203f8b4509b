"""GRUs in files of the format safetensors, with what the numbers mean in their metadata."""

from __future__ import annotations

from pathlib import Path

from .._errors import lesson
from ._gru_layouts import GRU_LAYOUTS, pack_gru, unpack_gru
from ._gru_torch import is_gru
from ._gru_weights import GRUWeights
from ._layouts import Arrays, listed
from ._torch import choose

_FORMAT = "conveyor.gru"


def gru_file(weights: GRUWeights, layout: str) -> tuple[Arrays, dict[str, str]]:
    """Arrays as a layout names and packs them, and the metadata that say so.

    Raises:
        ConveyorError: a layout that GRUs do not have, or that lacks their form.
    """
    if layout not in GRU_LAYOUTS:
        raise lesson(
            "conveyor.convert.save",
            f"layout to be one of {', '.join(GRU_LAYOUTS)} for a GRU",
            f"layout={layout!r}",
            'Write layout="torch", or leave it out.',
        )
    return pack_gru(weights, layout), _metadata(weights, layout)


def _metadata(weights: GRUWeights, layout: str) -> dict[str, str]:
    return {
        "format": _FORMAT,
        "layout": layout,
        "gate_order": GRU_LAYOUTS[layout].gate_order,
        "reset_after": ", ".join("yes" if row[0].reset_after else "no" for row in weights.layers),
        "features": str(weights.features),
        "units": ", ".join(str(row[0].units) for row in weights.layers),
        "directions": ", ".join(str(len(row)) for row in weights.layers),
    }


def gru_of_file(
    arrays: Arrays, metadata: dict[str, str], path: Path, name: str | None
) -> GRUWeights | None:
    """The GRUs of a file of ours, or of one with the state dict of an nn.GRU; None for LSTMs.

    Raises:
        ConveyorError: tensors that are not what the metadata says.
    """
    if metadata.get("format", "").startswith("conveyor.") and metadata["format"] != _FORMAT:
        return None
    if metadata.get("format") != _FORMAT:
        chosen = choose(arrays, name)
        return unpack_gru(chosen, "torch") if is_gru(chosen) else None
    layout, forms = metadata.get("layout", ""), metadata.get("reset_after", "")
    known = layout in GRU_LAYOUTS and set(forms.split(", ")) in ({"yes"}, {"no"})
    weights = unpack_gru(arrays, layout, "no" not in forms) if known else None
    found = {} if weights is None else _metadata(weights, layout)
    if weights is None or metadata != found or len(pack_gru(weights, layout)) != len(arrays):
        raise lesson(
            str(path),
            "tensors of a GRU as its metadata says: "
            + ", ".join(f"{key}={value!r:.50}" for key, value in metadata.items()),
            ", ".join(f"{key}={value!r}" for key, value in found.items()) or listed(arrays),
            "The file is damaged, or was changed by hand. Write it anew.",
        )
    return weights
