"""From any side to any side."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from .._errors import ConveyorError, lesson
from . import _flax, _gru_torch, _haste, _keras, _onnx, _tensorflow, _torch
from ._gru_flax import flax_gru_params, run_gru
from ._gru_keras import keras_gru_model
from ._gru_onnx import onnx_gru_model
from ._gru_weights import GRUWeights, same_grus
from ._haste import HasteLSTM
from ._layouts import LAYOUTS
from ._proof import Proof, Run, prove
from ._safetensors import write_safetensors
from ._sources import Source, Weights, look_at
from ._tensorflow import BlockLSTM
from ._weights import LSTMWeights


def weights_of(source: Source, name: str | None = None) -> Weights:
    """The weights of LSTMs, or of GRUs, wherever they are.

    Args:
        source: a layer of Keras or conveyor (LSTM, GRU, Bidirectional, RNN of their cells), a list
            of them, or a model; a `torch.nn.LSTM`, `GRU` or cell, or a state dict; parameters of
            flax's LSTMCell or GRUCell; an ONNX model; a `BlockLSTM`; a `HasteLSTM`; or the path of
            a file,
            .safetensors, .pt, .pth, .onnx or .keras.
        name: which, where there are several: of the layer, the node, or what stands before the
            names of the weights. Without one the LSTMs of a model are meant, where it has some.

    Returns:
        LSTMWeights: gates in conveyor's order, biases added up. Or GRUWeights.

    Raises:
        ConveyorError: anything else, a file that is not what its name says, or an LSTM that
            weights alone do not describe.

    >>> from conveyor import LSTM
    >>> layer = LSTM(4)
    >>> layer.build((None, None, 3))
    >>> print(weights_of(layer))
    3 features to 4 units
    """
    return look_at(source, name)[1]


def to_keras(
    source: Source, *, name: str | None = None, one_layer: bool = False, verbose: bool = True
) -> Any:
    """A `keras.Sequential` of `conveyor.LSTM`s or `GRU`s, (B, T, F) to hidden states of all steps.

    `model.layers[n].get_weights()` are what Keras's own layer takes.

    Args:
        source, name: see `weights_of`.
        one_layer: put all layers and directions into one `conveyor.LSTM(units, num_layers=...,
            bidirectional=...)`, as one `torch.nn.LSTM` has them; it is `model.layers[0]`. LSTMs
            alone.
        verbose: print the largest difference between both sides on a random batch.

    >>> import keras
    >>> layer = keras.layers.LSTM(4)
    >>> layer.build((None, None, 3))
    >>> model = to_keras(layer, verbose=False)
    >>> model.output_shape
    (None, None, 4)
    """
    run, weights = look_at(source, name)
    if isinstance(weights, GRUWeights):
        if one_layer:
            raise _of_lstms_alone("one_layer=True")
        model = keras_gru_model(weights)
        _prove(weights, run, {"conveyor.GRU": _keras.runner(model)}, verbose)
        return model
    model = _keras.keras_model(weights, one_layer=one_layer)
    _prove(weights, run, {"conveyor.LSTM": _keras.runner(model)}, verbose)
    return model


def _of_lstms_alone(what: str) -> ConveyorError:
    return lesson(
        "conveyor.convert", f"LSTMs for {what}", "GRUs", "Leave it out, or convert LSTMs."
    )


def to_torch(source: Source, *, name: str | None = None, verbose: bool = True) -> Any:
    """A `torch.nn.LSTM(batch_first=True)`, of as many layers and directions; needs PyTorch.

    Its second bias is zero: the first is Keras's. Of GRUs a `torch.nn.GRU`, with both biases.
    """
    run, weights = look_at(source, name)
    module = (
        _gru_torch.torch_module(weights)
        if isinstance(weights, GRUWeights)
        else _torch.torch_module(weights)
    )
    side = f"torch.nn.{type(module).__name__}"
    _prove(weights, run, {side: lambda x: _torch.run(module, x)}, verbose)
    return module


def to_flax(source: Source, *, name: str | None = None, verbose: bool = True) -> Any:
    """Parameters for flax's `LSTMCell` and `OptimizedLSTMCell`, or `GRUCell`: arrays by name."""
    run, weights = look_at(source, name)
    if isinstance(weights, GRUWeights):
        params = flax_gru_params(weights)
        _prove(weights, run, {"flax GRUCell": lambda x: run_gru(params, x)}, verbose)
        return params
    params = _flax.flax_params(weights)
    _prove(weights, run, {"flax LSTMCell": lambda x: _flax.run(params, x)}, verbose)
    return params


def to_onnx(source: Source, *, name: str | None = None, verbose: bool = True) -> Any:
    """An ONNX model of one node a layer, (B, T, F) to hidden states; batch and time free."""
    run, weights = look_at(source, name)
    model = _onnx_model(weights)
    _prove(weights, run, {"ONNX Runtime": lambda x: _onnx.run(model, x)}, verbose)
    return model


def to_block_lstm(
    source: Source,
    *,
    version: int = 2,
    forget_bias: float = 1.0,
    name: str | None = None,
    verbose: bool = True,
) -> BlockLSTM:
    """The arguments `w`, `b` and peepholes of `tf.raw_ops.BlockLSTMV2`, or of `BlockLSTM`.

    Args:
        source, name, verbose: see `to_keras`.
        version: 1 for BlockLSTM, 2 for BlockLSTMV2.
        forget_bias: what version 1 is told to add to the forget gate.
    """
    run, weights = look_at(source, name)
    if isinstance(weights, GRUWeights):
        raise _of_lstms_alone("a BlockLSTM")
    block = _tensorflow.block_lstm(weights, version=version, forget_bias=forget_bias)
    side = "BlockLSTM" if version == 1 else "BlockLSTMV2"
    _prove(weights, run, {side: lambda x: _tensorflow.run(block, x)}, verbose)
    return block


def to_haste(source: Source, *, name: str | None = None, verbose: bool = True) -> HasteLSTM:
    """The parameters of `haste_pytorch.LSTM`, or of its `LayerNormLSTM`.

    The other side that is run are haste's equations in NumPy: haste itself needs CUDA.
    """
    run, weights = look_at(source, name)
    if isinstance(weights, GRUWeights):
        raise _of_lstms_alone("haste")
    lstm = _haste.haste_lstm(weights)
    _prove(weights, run, {"haste's equations": lambda x: _haste.run(lstm, x)}, verbose)
    return lstm


def save(
    source: Source,
    path: str | os.PathLike[str],
    *,
    layout: str | None = None,
    name: str | None = None,
    verbose: bool = True,
) -> Path:
    """Write weights to a file: .safetensors, .pt, .onnx or .keras. It appears whole or not at all.

    Args:
        source, name: see `weights_of`.
        path: of the file.
        layout: for .safetensors, how arrays are named and packed: "keras", "torch", "onnx",
            "flax", "block" or "haste". The metadata says which, with gate order, bias form and
            sizes.
        verbose: print the largest difference of what the file holds on a random batch.

    Raises:
        ConveyorError: another kind of file, or weights that it has no place for.
    """
    path = Path(path)
    if path.suffix not in _WRITERS:
        raise lesson(
            "conveyor.convert.save",
            f"a file of {', '.join(_WRITERS)}",
            str(path),
            'Write save(source, "weights.safetensors").',
        )
    if layout is not None and (layout not in LAYOUTS or path.suffix != ".safetensors"):
        raise lesson(
            "conveyor.convert.save",
            f"layout to be one of {', '.join(LAYOUTS)}, for a .safetensors file",
            f"layout={layout!r} for {path}",
            'Write layout="torch", or leave it out.',
        )
    run, weights = look_at(source, name)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        _WRITERS[path.suffix](weights, part, layout or "keras")
        again = look_at(part, None)[1]
        if isinstance(weights, GRUWeights) or isinstance(again, GRUWeights):
            differs = not same_grus(again, weights)
        else:
            differs = not _equal(again, weights)
        if differs:
            raise AssertionError(f"{path} would not hold what was to be written")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    _prove(weights, run, {}, verbose)
    return path


def _equal(a: LSTMWeights, b: LSTMWeights) -> bool:
    """Bit for bit, but bounds in float32; a bias of zeros may have come where there was none."""
    for x, y in zip(a.cells, b.cells, strict=True):
        arrays, others = ({"bias": np.zeros(1), **cell.arrays()} for cell in (x, y))
        settings, theirs = x.settings(), y.settings()
        same = arrays.keys() == others.keys() and settings.keys() == theirs.keys()
        if not same or not all(
            np.array_equal(array, others[name]) or not (array.any() or others[name].any())
            for name, array in arrays.items()
        ):
            return False
        if not all(np.allclose(settings[name], theirs[name], 1e-6) for name in settings):
            return False
    return True


def _write_keras(weights: Weights, path: Path, layout: str) -> None:
    if isinstance(weights, GRUWeights):
        keras_gru_model(weights).save(path)
    else:
        _keras.keras_model(weights).save(path)


def _onnx_model(weights: Weights) -> Any:
    if isinstance(weights, GRUWeights):
        return onnx_gru_model(weights)
    return _onnx.onnx_model(weights)


def _write_onnx(weights: Weights, path: Path, layout: str) -> None:
    _onnx.onnx_package().save(_onnx_model(weights), path)


def _write_torch(weights: Weights, path: Path, layout: str) -> None:
    if isinstance(weights, GRUWeights):
        _gru_torch.write_state_dict(weights, path)
    else:
        _torch.write_state_dict(weights, path)


_WRITERS = {
    ".safetensors": write_safetensors,
    ".pt": _write_torch,
    ".pth": _write_torch,
    ".onnx": _write_onnx,
    ".keras": _write_keras,
}


def _prove(weights: Weights, one: dict[str, Run], other: dict[str, Run], verbose: bool) -> Proof:
    proof = prove(weights, {**one, **other})
    if verbose:
        Console().print(f"conveyor.convert: {proof}", markup=False, highlight=False, soft_wrap=True)
    return proof
