"""Which requests the native engine takes on PyTorch, and the call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from .. import _gru_options, _library
from .._gru_request import GRURequest, GRUStates
from .._options import text_of_request
from .._request import Array, LSTMRequest, States
from . import _torch_gradients as _torch_gradients
from . import _torch_openmp
from . import _torch_vmap as _torch_vmap
from ._torch_gru import gru
from ._torch_operators import lstm

_PLAIN = (torch.Tensor, torch.nn.Parameter)

# Now, as torch.compile cannot follow how a library is loaded.
_library.missing()
_torch_openmp.share()


def why_not_native(arrays: Sequence[Array]) -> str | None:
    """Why the engine does not run on these arrays, or None."""
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation; it has the gradient only"
    if _is_traced() and torch.onnx.is_in_onnx_export():
        return "export to ONNX, which has no such operator"
    for array in arrays:
        if not (array.is_cpu or array.is_meta):  # Keras asks for shapes on meta
            return f"tensors on {array.device.type}; it runs on cpu"
        if type(array) not in _PLAIN and is_traceable_wrapper_subclass(array):
            return f"{type(array).__name__}; it reads plain tensors"
        if array.layout is not torch.strided:
            return f"a layout of {array.layout}; it reads dense tensors"
    return None


def _is_traced() -> bool:
    return bool(torch.compiler.is_compiling() or torch.jit.is_tracing())


def native(request: LSTMRequest | GRURequest) -> States | GRUStates:
    """The states of the request, from the native engine."""
    if isinstance(request, GRURequest):
        return _gru(request)
    states = lstm(*arguments(request))
    return dict(zip(request.outputs, states, strict=True))


def arguments(request: LSTMRequest) -> tuple[Any, ...]:
    """What the operator is called with."""
    r = request
    return (
        r.x,
        r.kernel,
        r.recurrent_kernel,
        r.bias,
        r.hidden_state,
        _in_state_dtype(r.cell_state, r.x),
        r.mask,
        r.dropout_mask,
        r.recurrent_dropout_mask,
        r.resets,
        r.peephole,
        r.hidden_zoneout,
        r.cell_zoneout,
        r.output_kernel,
        r.output_bias,
        r.projection_kernel,
        r.gate_scale,
        r.cell_scale,
        r.cell_shift,
        text_of_request(r),
        r.outputs,
    )


def _gru(r: GRURequest) -> GRUStates:
    states = gru(
        r.x,
        r.kernel,
        r.recurrent_kernel,
        r.bias,
        r.hidden_state,
        r.mask,
        r.dropout_mask,
        r.recurrent_dropout_mask,
        r.resets,
        _gru_options.text_of_request(r),
        r.outputs,
    )
    return dict(zip(r.outputs, states, strict=True))


def _in_state_dtype(cell_state: Array | None, x: Array) -> Array | None:
    if cell_state is None or x.dtype is not torch.bfloat16:
        return cell_state
    return cell_state.float()
