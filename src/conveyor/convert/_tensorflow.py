"""Weights of TensorFlow's BlockLSTM and BlockLSTMV2."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from .._errors import lesson
from ._gates import BLOCK_ORDER, from_order, to_order
from ._layouts import pack, unpack
from ._weights import LSTMWeights

_NAMES = ("w", "b", "wci", "wcf", "wco")


@dataclass(frozen=True)
class BlockLSTM:
    """The arguments of `tf.raw_ops.BlockLSTM` or `BlockLSTMV2`.

    Attributes:
        w: (F + U, 4U), kernel above recurrent kernel.
        b: (4U,).
        version: 2 packs gates as conveyor does; 1 in the order input, candidate, forget, output.
        forget_bias: what version 1 adds to the forget gate on its own (the operation's default
            is 1).
        wci, wcf, wco: (U,) peepholes, or None.
        cell_clip: bound of the cell state; None for none, which the operations write as -1.0 or
            0.0 (the default of version 1 is 3.0).
    """

    w: np.ndarray
    b: np.ndarray
    version: int = 2
    forget_bias: float = 1.0
    wci: np.ndarray | None = None
    wcf: np.ndarray | None = None
    wco: np.ndarray | None = None
    cell_clip: float | None = None


def weights_of_block(block: BlockLSTM) -> LSTMWeights:
    """The weights, with the forget bias that is added at run time in the bias."""
    arrays = {n: np.asarray(getattr(block, n)) for n in _NAMES if getattr(block, n) is not None}
    if block.version == 1:
        arrays |= {name: from_order(arrays[name], BLOCK_ORDER) for name in ("w", "b")}
        arrays["b"] = arrays["b"] + _forget(arrays["b"], block.forget_bias)
    elif block.version != 2:
        raise lesson(
            "conveyor.convert",
            "version 1 or 2 of BlockLSTM",
            repr(block.version),
            "Write version=2.",
        )
    named = {f"layers.0.forward.{name}": a for name, a in arrays.items()}
    return unpack(named, "block", [{"cell_clip": block.cell_clip}])


def _forget(bias: np.ndarray, value: float) -> np.ndarray:
    units = len(bias) // 4
    return np.repeat(np.array([0, value, 0, 0], bias.dtype), units)


def block_lstm(weights: LSTMWeights, *, version: int = 2, forget_bias: float = 1.0) -> BlockLSTM:
    """The arguments for one LSTM in one direction."""
    if len(weights.layers) > 1 or len(weights.layers[0]) > 1:
        raise lesson(
            "conveyor.convert",
            "one LSTM in one direction, as BlockLSTM is",
            str(weights),
            "Convert them one by one.",
        )
    arrays = {n.rpartition(".")[2]: a for n, a in pack(weights, "block").items()}
    if version == 1:
        arrays["b"] = arrays["b"] - _forget(arrays["b"], forget_bias)
        arrays |= {name: to_order(arrays[name], BLOCK_ORDER) for name in ("w", "b")}
    bound = weights.layers[0][0].cell_clip
    return BlockLSTM(version=version, forget_bias=forget_bias, cell_clip=bound, **arrays)


def run(block: BlockLSTM, x: np.ndarray) -> np.ndarray | None:
    """What TensorFlow computes, where it is loaded already: it is slow to load."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or x.dtype != np.float32:
        return None
    units = block.b.shape[0] // 4
    batch, time_steps, _ = x.shape
    zeros = np.zeros((batch, units), x.dtype)
    peepholes = [block.wci, block.wcf, block.wco]
    use = peepholes[0] is not None
    given = dict(
        zip(
            ("wci", "wcf", "wco"), peepholes if use else [np.zeros(units, x.dtype)] * 3, strict=True
        )
    )
    common = {
        "seq_len_max": np.int64(time_steps),
        "x": x.transpose(1, 0, 2),
        "cs_prev": zeros,
        "h_prev": zeros,
        "w": block.w,
        "b": block.b,
        "use_peephole": use,
        "cell_clip": block.cell_clip or (-1.0 if block.version == 1 else 0.0),
        **given,
    }
    if block.version == 1:
        out = tensorflow.raw_ops.BlockLSTM(forget_bias=block.forget_bias, **common)
    else:
        out = tensorflow.raw_ops.BlockLSTMV2(**common)
    return np.asarray(out.h.numpy().transpose(1, 0, 2))
