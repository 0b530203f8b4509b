"""Where a trace is put, batch after batch: in memory, or in a Zarr store on disk."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .._errors import lesson
from ._extras import extra

Array = npt.NDArray[Any]


@dataclass
class Part:
    """What one batch adds to the dataset of one call.

    Attributes:
        samples: the places of its samples among all.
        arrays: (B, T, U) or (B, U).
        tokens: (B, T), or None.
        mask: (B, T), True where the step counts; None where all do.
        coordinates: of time and unit.
        attrs: of the dataset.
        hidden_axis: what the last axis of hidden states is called: "unit", or "projection".
    """

    samples: slice
    arrays: dict[str, Array]
    tokens: Array | None
    mask: Array | None
    coordinates: dict[str, Array]
    attrs: dict[str, Any]
    hidden_axis: str = "unit"


class Store(Protocol):
    """Takes the parts of a trace and gives the tree."""

    def put(self, path: str, part: Part) -> None:
        """Add a batch of one call."""

    def tree(self, attrs: Mapping[str, Any]) -> Any:
        """The trace, when all batches are there."""


@dataclass
class InMemory:
    """All in arrays that are as large as they will be from the first batch on."""

    samples: int
    parts: dict[str, Part] = field(default_factory=dict)

    def put(self, path: str, part: Part) -> None:
        whole = self.parts.get(path)
        if whole is None:
            whole = self.parts[path] = self._room_for(part)
        for name, array in part.arrays.items():
            _copy(array, part.mask, whole.arrays[name][part.samples])
        if part.tokens is not None and whole.tokens is not None:
            whole.tokens[part.samples] = part.tokens

    def _room_for(self, part: Part) -> Part:
        arrays = {
            name: np.empty((self.samples, *array.shape[1:]), array.dtype)
            for name, array in part.arrays.items()
        }
        tokens = part.tokens
        if tokens is not None:
            tokens = np.empty((self.samples, *tokens.shape[1:]), tokens.dtype)
        whole = slice(0, self.samples)
        return replace(part, samples=whole, arrays=arrays, tokens=tokens, mask=None)

    def tree(self, attrs: Mapping[str, Any]) -> Any:
        xarray = extra("xarray", "trace")
        tree = xarray.DataTree.from_dict(
            {path: _dataset(xarray, part) for path, part in self.parts.items()}
        )
        tree.attrs.update(attrs)
        return tree


@dataclass
class OnDisk:
    """A Zarr store, which is at its place only when it is whole."""

    path: Path
    _begun: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        extra("zarr", "trace(to=...)")
        if self.path.suffix != ".zarr":
            raise lesson(
                "trace",
                "to= with a path that ends in .zarr",
                repr(str(self.path)),
                f"Write to={str(self.path.with_suffix('.zarr'))!r}.",
            )
        if self.path.exists():
            raise lesson(
                "trace",
                "to= with a path where nothing is yet",
                f"{str(self.path)!r}, which is there",
                "Write another path, or delete that one first.",
            )
        self._partial = self.path.with_suffix(".zarr.partial")
        if self._partial.exists():
            shutil.rmtree(self._partial)
        self._partial.parent.mkdir(parents=True, exist_ok=True)

    def put(self, path: str, part: Part) -> None:
        xarray = extra("xarray", "trace")
        arrays = {}
        for name, array in part.arrays.items():
            arrays[name] = np.empty(array.shape, array.dtype)
            _copy(array, part.mask, arrays[name])
        dataset = _dataset(xarray, Part(**{**vars(part), "arrays": arrays}))
        again = path in self._begun
        self._begun.add(path)
        dataset.to_zarr(
            self._partial,
            group=path,
            mode="a",
            append_dim="sample" if again else None,
            consolidated=False,
            zarr_format=2,  # 3 has no agreed form of text
        )

    def tree(self, attrs: Mapping[str, Any]) -> Any:
        xarray = extra("xarray", "trace")
        xarray.Dataset(attrs=attrs).to_zarr(
            self._partial, mode="a", consolidated=False, zarr_format=2
        )
        extra("zarr", "trace(to=...)").consolidate_metadata(str(self._partial), zarr_format=2)
        self._partial.rename(self.path)
        return xarray.open_datatree(self.path, engine="zarr", chunks=None)


def _copy(array: Array, mask: Array | None, to: Array) -> None:
    to[...] = array
    if mask is not None and array.ndim == 3:
        to[~mask] = np.nan


def _dataset(xarray: Any, part: Part) -> Any:
    before = {2: ("sample",), 3: ("sample", "time")}
    last = {True: part.hidden_axis, False: "unit"}
    over_time = any(array.ndim == 3 for array in part.arrays.values())
    coordinates: dict[str, Any] = {"sample": np.arange(part.samples.start, part.samples.stop)}
    coordinates |= {n: v for n, v in part.coordinates.items() if over_time or n != "time"}
    if part.tokens is not None and over_time:
        coordinates["token"] = (("sample", "time"), part.tokens)
    variables = {
        name: ((*before[array.ndim], last["hidden" in name]), array)
        for name, array in part.arrays.items()
    }
    return xarray.Dataset(variables, coordinates, part.attrs)
