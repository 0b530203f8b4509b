"""What a conversion may begin with: its weights, and how it is run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from .._errors import lesson
from . import (
    _flax,
    _gru_flax,
    _gru_keras,
    _gru_onnx,
    _gru_torch,
    _haste,
    _keras,
    _onnx,
    _tensorflow,
    _torch,
)
from ._gru_layouts import unpack_gru
from ._gru_weights import GRUWeights
from ._haste import HasteLSTM
from ._proof import Run
from ._safetensors import read_safetensors
from ._tensorflow import BlockLSTM
from ._weights import LSTMWeights

Source = Any
Weights = LSTMWeights | GRUWeights
Found = tuple[dict[str, Run], Weights]


def look_at(source: Source, name: str | None) -> Found:
    """How the source is run, by what it is called, and its weights.

    Raises:
        ConveyorError: something that holds no LSTMs or GRUs, or several where one is wanted.
    """
    for is_such, look in _KINDS:
        if is_such(source):
            return look(source, name)
    held = f", with {', '.join(map(str, list(source)[:5]))}" if isinstance(source, Mapping) else ""
    raise lesson(
        "conveyor.convert",
        "LSTMs or GRUs: layers of Keras, a torch.nn.LSTM or GRU or its state dict, parameters of "
        "flax, an ONNX model, a BlockLSTM, a HasteLSTM, or the path of a file",
        f"{type(source).__name__}{held}",
        "Pass the recurrent layer, or weights_of(...).",
    )


def _in_keras(source: Source, name: str | None) -> Found:
    weights: Weights
    layers = _gru_keras.grus_in(source, name)
    if layers:
        weights = _gru_keras.weights_of_grus(layers)
    else:
        layers = _keras.pick(source, name)
        weights = _keras.weights_of_keras(layers)
    return {"Keras": _keras.runner([_keras.with_every_step(layer) for layer in layers])}, weights


def _in_torch(source: Source, name: str | None) -> Found:
    arrays = _torch.arrays_of(source, name)
    weights: Weights
    if _gru_torch.is_gru(arrays):
        weights = unpack_gru(arrays, "torch")  # refuses what no module could be made of
        module = _gru_torch.module_of(arrays, weights)
    else:
        weights = _torch.weights_of_arrays(arrays)
        module = _torch.module_of(arrays)
    runs: dict[str, Run] = {} if module is None else {"torch": lambda x: _torch.run(module, x)}
    return runs, weights


def _in_flax(source: Source, name: str | None) -> Found:
    cell = _flax.cell_of(source, name)
    return {"flax": lambda x: _flax.run(cell, x)}, _flax.weights_of_cell(cell)


def _in_flax_gru(source: Source, name: str | None) -> Found:
    cell = _gru_flax.gru_cell_of(source, name)
    return {"flax": lambda x: _gru_flax.run_gru(cell, x)}, _gru_flax.weights_of_gru_cell(cell)


def _in_onnx(source: Source, name: str | None) -> Found:
    weights: Weights
    if _gru_onnx.grus_in_graph(source, name):
        nodes = _onnx.pick(source, name, "GRU")
        weights = _gru_onnx.weights_of_gru_nodes(source, nodes)
    else:
        nodes = _onnx.pick(source, name)
        weights = _onnx.weights_of_nodes(source, nodes)
    model = _onnx.model_of_nodes(source, nodes, weights)
    return {"ONNX Runtime": lambda x: _onnx.run(model, x)}, weights


def _in_block(source: Source, name: str | None) -> Found:
    side = "BlockLSTM" if source.version == 1 else "BlockLSTMV2"
    return {side: lambda x: _tensorflow.run(source, x)}, _tensorflow.weights_of_block(source)


def _in_haste(source: Source, name: str | None) -> Found:
    weights = _haste.weights_of_haste(source)
    return {"haste's equations": lambda x: _haste.run(source, x)}, weights


def _read(source: Source, name: str | None) -> Found:
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}. It is to hold the weights of an LSTM or GRU.")
    if path.suffix == ".safetensors":
        return {}, read_safetensors(path, name)
    if path.suffix in (".pt", ".pth", ".bin"):
        return _in_torch(_torch.read_state_dict(path), name)
    if path.suffix == ".onnx":
        return _in_onnx(_onnx.read_onnx(path), name)
    if path.suffix == ".keras":
        return _in_keras(_keras.read_model(path), name)
    raise lesson(
        str(path),
        "a file of .safetensors, .pt, .pth, .bin, .onnx or .keras",
        path.suffix or "no suffix",
        "Name it after what it holds.",
    )


def _is_in_keras(source: Source) -> bool:
    layers = source if isinstance(source, (list, tuple)) else [source]
    return bool(layers) and all(isinstance(layer, keras.layers.Layer) for layer in layers)


def _is_in_torch(source: Source) -> bool:
    torch = sys.modules.get("torch")  # who has a module of it has imported it
    is_module = torch is not None and isinstance(source, torch.nn.Module)
    return is_module or _torch.is_state_dict(source)


# Keras's layers are modules too, on PyTorch: they come first.
_KINDS: tuple[tuple[Callable[[Source], bool], Callable[[Source, str | None], Found]], ...] = (
    (lambda source: isinstance(source, Weights), lambda source, name: ({}, source)),
    (lambda source: isinstance(source, (str, os.PathLike)), _read),
    (lambda source: isinstance(source, BlockLSTM), _in_block),
    (lambda source: isinstance(source, HasteLSTM), _in_haste),
    (_is_in_keras, _in_keras),
    (_is_in_torch, _in_torch),
    (_flax.is_flax, _in_flax),
    (_gru_flax.is_flax_gru, _in_flax_gru),
    (lambda source: type(source).__name__ == "ModelProto", _in_onnx),
)
