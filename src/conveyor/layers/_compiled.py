"""A function of arrays that runs layers, compiled as the framework compiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from .._engines import glue


class Compiled:
    """`function(*nests)` under jax.jit, under tf.function, or without gradients on PyTorch.

    For what is neither training nor a whole model: a search runs a decoder step by step.

    Args:
        function: of nests (tuples, lists, dicts) of arrays, to such nests. Compiled once for
            each set of shapes and dtypes. It must not change weights.
        weights_of: the layers whose weights it reads, built before the first call. They are
            looked up at each call: training in between is seen.

    >>> import numpy as np
    >>> dense = keras.layers.Dense(2, kernel_initializer="ones")
    >>> dense.build((None, 3))
    >>> run = Compiled(lambda nest: dense(nest["x"]) + 1, weights_of=[dense])
    >>> keras.ops.convert_to_numpy(run({"x": np.ones((1, 3), "float32")}))
    array([[4., 4.]], dtype=float32)
    """

    def __init__(
        self, function: Callable[..., Any], *, weights_of: Sequence[keras.layers.Layer]
    ) -> None:
        self._function = function
        self._weights_of = tuple(weights_of)
        self._run: Callable[..., Any] | None = None

    def __call__(self, *nests: Any) -> Any:
        if self._run is None:
            variables = [variable for layer in self._weights_of for variable in layer.variables]
            self._run = glue.active().compile_function(self._function, variables)
        return self._run(*keras.tree.map_structure(keras.ops.convert_to_tensor, nests))
