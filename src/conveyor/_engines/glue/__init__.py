"""What differs between frameworks, one thin file each; only the active one is imported.

Every file here has the same functions:

scan(step, carry, steps, *, kept, unroll)
    `step(carry, one_of_each) -> (carry, row)` over the leading (time) axis of the arrays
    in `steps`. A row is `kept` arrays of the shape and dtype of `carry[0]`. Returns the
    last carry and the rows, stacked in time.
in_segments(segment, shared, carry, steps)
    `segment(shared, carry, one_of_each) -> (carry, rows)` over the leading axis of the arrays in
    `steps`; what a segment computes on its way is not kept for its gradient but computed again.
    Returns the last carry, and the rows, stacked.
compiled(run, request)
    `run(request)`, compiled once for all requests of the same kind where that pays.
why_not_native(arrays)
    Why the native engine does not run on these arrays in this framework, or None.
native(request)
    The states of an LSTMRequest or a GRURequest, from the native engine.
native_together(requests)
    The states of each of several LSTMRequests that do not wait for each other.
native_stack(requests)
    The same of which each reads the hidden states of the one before, which are among its outputs:
    of its own x only the shape counts. None in its place where the framework has no such call.
empty(x, width)
    An array (B, T, width) beside x (B, T, F), of any values; only where there is `native_stack`.
native_cross_entropy(features, kernel, bias, labels, *, label_smoothing, ignored, wanted)
    [losses, cross entropies] of the native engine, and where gradients are `wanted` those of the
    sum of the losses with respect to features, kernel and, where it is not None, bias.
native_top_k(features, kernel, bias, *, k)
    [values, indices, logsumexp] of the native engine.
sum_with_gradients(run, arrays, labels)
    `run(arrays, labels, wanted)` -> a number, other results, and where gradients are `wanted`
    those of the number with respect to the arrays. Returns the number, which has these gradients
    (of first order, in reverse mode), and the other results, which have none.
threads()
    The number of threads that the framework is set to, 0 where it leaves that open.
own(array)
    Whether it is this framework's own array with values, outside of any tracing: such needs
    no conversion, and its shape is a tuple of numbers.
concrete(array)
    The values as NumPy, or None while the framework only traces.
require(condition, message, value)
    The value; where shapes are not known before compiled code runs, it fails then.
exact(activation)
    The same function, in the dtype of its argument where Keras's own falls short.
float64()
    A context in which float64 arrays stay float64.
compile_function(function, variables)
    `function(*nests)` compiled, once for each set of shapes; `variables` are those of Keras
    that it reads, which may change between calls. Tensors in, tensors out, no gradients.
without_gradients()
    A context in which nothing is kept for gradients.
gradients(function, arrays)
    `function(*tensors)`, a number, and its gradients with respect to the arrays (NumPy in,
    tensors out; zeros where it does not depend on one).
in_one_pass(optimizer)
    A subclass of Keras's Adam or AdamW that goes through memory once a step, or the class itself
    where the framework sees to that.
StateVariable(shape, dtype, name)
    A Keras variable whose batch axis may change between assignments.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

import keras

from ..._errors import ConveyorError
from .._request import Array

_GLUE = {"jax": "_jax", "torch": "_torch", "tensorflow": "_tensorflow", "numpy": "_numpy"}


def _load() -> ModuleType:
    backend = keras.backend.backend()
    if backend not in _GLUE:
        raise ConveyorError(
            f"conveyor runs on the Keras backends {', '.join(_GLUE)}; this process uses "
            f"{backend!r}.\nSet KERAS_BACKEND=jax before Keras is imported."
        )
    return import_module(f".{_GLUE[backend]}", __name__)


# Now and not at the first call, which may be one that torch.compile is tracing.
_ACTIVE = _load()


def active() -> ModuleType:
    """The glue of the framework that Keras runs on."""
    return _ACTIVE


def dtype_name(array: Array) -> str:
    """'float32' for any framework's float32."""
    dtype = array.dtype
    if dtype not in _NAMES:
        _NAMES[dtype] = keras.backend.standardize_dtype(dtype)
    return _NAMES[dtype]


_NAMES: dict[Any, str] = {}
