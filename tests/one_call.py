"""What a layer returns, and how many requests each call of the core has for it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from frameworks import BACKEND, to_numpy
from native_calls import calls_in_jaxpr, ops_in_graph, requests_of

B, T, F, U = 3, 7, 4, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, F)).astype("float32")
MASK = RNG.random((B, T)) > 0.3


def with_random_weights(layer: Any) -> Any:
    layer.build((None, None, F))
    rng = np.random.default_rng(1)
    for weight in layer.trainable_variables:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return layer


def numbers(layer: Any, calls: list[int], *, training: bool = False) -> list[np.ndarray]:
    """What it returns and, where there are gradients, those of x and of the weights.

    `calls` gets how many requests each call has, in both directions: where a framework compiles,
    here; in PyTorch and NumPy, by the fixture of this name.
    """
    run = {"jax": _on_jax, "tensorflow": _on_tensorflow, "torch": _on_torch}.get(BACKEND)
    found = run(layer, training, calls) if run else _outputs(layer, X, training)
    return [to_numpy(keras.ops.cast(a, "float32")) for a in found]


def _outputs(layer: Any, x: Any, training: bool) -> list[Any]:
    return keras.tree.flatten(layer(x, mask=MASK, training=training))


def _loss(outputs: list[Any]) -> Any:
    every = [keras.ops.cast(y, "float32") for y in outputs]
    return sum(keras.ops.sum(y * keras.ops.arange(1.0, 1 + y.shape[-1])) for y in every)


def _on_torch(layer: Any, training: bool, calls: list[int]) -> list[Any]:
    import torch

    x = torch.tensor(X, requires_grad=True)
    outputs = _outputs(layer, x, training)
    _loss(outputs).backward()
    return [
        *(y.detach() for y in outputs),
        x.grad,
        *(v.value.grad for v in layer.trainable_variables),
    ]


def _on_jax(layer: Any, training: bool, calls: list[int]) -> list[Any]:
    import jax

    weights = [v.value for v in layer.trainable_variables]
    others = [v.value for v in layer.non_trainable_variables]

    def loss(weights: Any, x: Any) -> Any:
        x = keras.ops.cast(x, layer.compute_dtype)
        y, _ = layer.stateless_call(weights, others, x, mask=MASK, training=training)
        outputs = keras.tree.flatten(y)
        return _loss(outputs), outputs

    run = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    calls += [len(parts) for _, parts in calls_in_jaxpr(jax.make_jaxpr(run)(weights, X).jaxpr)]
    (d_weights, d_x), outputs = run(weights, X)
    return [*outputs, d_x, *d_weights]


def _on_tensorflow(layer: Any, training: bool, calls: list[int]) -> list[Any]:
    import tensorflow as tf

    weights = [v.value for v in layer.trainable_variables]

    @tf.function
    def run(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = _outputs(layer, x, training)
            loss = _loss(outputs)
        return [*outputs, *tape.gradient(loss, [x, *weights])]

    concrete = run.get_concrete_function(tf.constant(X))
    for nodes in ops_in_graph(concrete).values():
        calls += requests_of(nodes)
    return concrete(tf.constant(X))
