"""Models of Keras from files that may be cut off, damaged, or made to do harm.

Keras runs no code of a file (its safe mode, which stays on) and refuses what unpacks to more than
4 GiB; here smaller claims are refused too, and damage is found before Keras reads it.
"""

from __future__ import annotations

import json
import math
import threading
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import keras

from ._archives import check_archive, check_expansion
from ._errors import lesson

_WEIGHTS = "model.weights.h5"
# Weights that a layer has and does not save.
_UNSAVED = 1 << 20


def load_model(path: Path, where: str, write: str, *, compiled: bool = False) -> Any:
    """The model in a `.keras` file, or in an `.h5` file of before.

    Args:
        path: the file.
        where: what refuses it, in the message.
        write: what to write instead.
        compiled: with its optimizer and loss, where it was compiled.

    Raises:
        ConveyorError: a file that Keras cannot read; that is cut off or damaged; that holds code;
            or whose model, unpacked, has far more numbers than the file.
    """
    path.open("rb").close()  # what the disk says is not about the model
    try:
        size = _look_into(path)
        with warnings.catch_warnings(), _weights_within(size + _UNSAVED):
            # A model that was saved before it was trained: nobody trains here.
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            return keras.saving.load_model(path, compile=compiled, safe_mode=True)
    except Exception as error:  # of zip, JSON, HDF5 and Keras; a missing class is a TypeError
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise lesson(
            where, "a model that Keras can load", f"one that it cannot: {reason[:300]}", write
        ) from error


def _look_into(path: Path) -> int:
    """How many numbers may be in the weights: each takes a byte or more."""
    if path.suffix != ".keras":
        if path.suffix in (".h5", ".hdf5"):
            _check_arrays(path, path)
        return path.stat().st_size
    check_archive(path)
    with zipfile.ZipFile(path) as archive:
        check_expansion(_remembered(json.loads(archive.read("config.json"))), path)
        if _WEIGHTS in archive.namelist():
            with archive.open(_WEIGHTS) as file:
                _check_arrays(file, path)
        return sum(member.file_size for member in archive.infolist())


def _remembered(config: Any) -> int:
    """The bytes that stateful layers take: for each sample of a batch whose size is in shapes."""
    batch, units = 1, 0

    def walk(value: Any, stateful: bool) -> None:
        nonlocal batch, units
        if isinstance(value, dict):
            stateful = stateful or value.get("stateful") is True
            for key, inner in value.items():
                if stateful and key == "units" and isinstance(inner, int):
                    units += inner
                if key.endswith("shape"):
                    sizes = [size for size in keras.tree.flatten(inner) if isinstance(size, int)]
                    batch = max(batch, *sizes, 1)
                walk(inner, stateful)
        elif isinstance(value, list):
            for inner in value:
                walk(inner, stateful)

    walk(config, False)
    return 16 * batch * units  # two states, in float64 at the most


def _check_arrays(file: Any, path: Path) -> None:
    import h5py

    sizes = []

    def add(name: str, found: Any) -> None:
        if isinstance(found, h5py.Dataset):
            sizes.append(math.prod(found.shape or ()) * found.dtype.itemsize)

    with h5py.File(file, "r") as weights:
        weights.visititems(add)
    check_expansion(sum(sizes), path)


_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def _weights_within(numbers: int) -> Iterator[None]:
    """Layers that are built here have no more numbers in all: their config may claim any size."""
    thread, left = threading.get_ident(), numbers
    add_weight = keras.layers.Layer.add_weight

    @wraps(add_weight)
    def counted(self: Any, shape: Any = None, *args: Any, **options: Any) -> Any:
        nonlocal left
        if threading.get_ident() == thread:
            left -= math.prod((shape,) if isinstance(shape, int) else shape or ())
            if left < 0:
                raise ValueError(
                    f'layer "{self.name}" wants a weight of shape {tuple(shape)}, '
                    "and the file is far too small to hold it"
                )
        return add_weight(self, shape, *args, **options)

    with _ONE_AT_A_TIME:
        keras.layers.Layer.add_weight = counted
        try:
            yield
        finally:
            keras.layers.Layer.add_weight = add_weight
