"""The GRU of the native engine as operators of PyTorch: conveyor::gru and its two companions."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from .. import _cells, _gru_options
from .._gru_library import INPUTS, Problem
from . import _torch_gradients, _torch_vmap
from ._torch_operators import DTYPES, check, define, masks

_ARGUMENTS = (
    "Tensor x, Tensor kernel, Tensor recurrent_kernel, Tensor? bias, Tensor? hidden_state, "
    "Tensor? mask, Tensor? dropout_mask, Tensor? recurrent_dropout_mask, Tensor? resets, "
    "str options, str[] outputs"
)


@lru_cache(maxsize=1024)
def _problem(signature: tuple[Any, ...], text: str, threads: int) -> Problem:
    given = dict(zip(INPUTS, signature, strict=True))
    (batch, time_steps, features), dtype = given["x"]
    units = given["recurrent_kernel"][0][0]
    options = _gru_options.options(text)
    expected = {
        "kernel": ((features, 3 * units), dtype),
        "recurrent_kernel": ((units, 3 * units), dtype),
        "bias": ((2, 3 * units) if options.reset_after else (3 * units,), dtype),
        "hidden_state": ((batch, units), dtype),
        "mask": ((batch, time_steps), torch.bool),
        "resets": ((batch, time_steps), torch.uint8),
    }
    for name, (shape, wanted) in expected.items():
        if given[name] is not None:
            check(given[name], name, shape, wanted)
    return Problem(
        dtype=DTYPES[dtype],
        batch=batch,
        time_steps=time_steps,
        features=features,
        units=units,
        options=options,
        dropout_masks=masks(given, "dropout_mask", (batch, features), dtype, gates=3),
        recurrent_dropout_masks=masks(
            given, "recurrent_dropout_mask", (batch, units), dtype, gates=3
        ),
        threads=threads,
    )


_GRU = define("gru", _cells.GRU, _ARGUMENTS, _problem)
_torch_gradients.register(_GRU)
_torch_vmap.register(_GRU)
gru = _GRU.forward
