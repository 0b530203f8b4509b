"""Two directions in one call of the native core: the numbers of one after the other."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from conveyor import LSTM
from conveyor._engines import _library, _together, glue
from frameworks import BACKEND, to_numpy
from native_calls import calls_in_jaxpr, ops_in_graph, requests_of

pytestmark = pytest.mark.skipif(
    _library.missing() is not None, reason="the native engine is not there"
)

B, T, F, U = 3, 5, 4, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, F)).astype("float32")
MASK = RNG.random((B, T)) > 0.3


@pytest.fixture
def calls(monkeypatch):
    """How many requests each call of the core had, in both directions."""
    seen = []
    for name in ("forward", "backward"):
        run = getattr(_together, name)
        monkeypatch.setattr(
            _together, name, lambda given, run=run: (seen.append(len(given)), run(given))
        )
    return seen


@pytest.fixture
def one_by_one(monkeypatch):
    native = glue.active().native
    return lambda: monkeypatch.setattr(
        glue.active(), "native_together", lambda requests: [native(r) for r in requests]
    )


def layer_of(**arguments):
    layer = LSTM(U, bidirectional=True, return_sequences=True, **arguments)
    layer.build((None, None, F))
    rng = np.random.default_rng(1)
    for weight in layer.trainable_variables:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return layer


CASES = {
    "plain": {},
    "layers": {"num_layers": 2},
    "dropout": {"dropout": 0.3, "recurrent_dropout": 0.4, "seed": 1},
    "variant": {"peephole": True, "activation": "softsign"},
    "bfloat16": {"dtype": "bfloat16", "recurrent_initializer": "zeros"},
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_numbers(case, calls, one_by_one) -> None:
    run = {"jax": run_on_jax, "tensorflow": run_on_tensorflow}.get(BACKEND, run_here)

    def numbers():
        found = run(layer_of(**CASES[case]), case == "dropout", calls)
        return [to_numpy(keras.ops.cast(a, "float32")) for a in found]

    together = numbers()
    count = CASES[case].get("num_layers", 1) * (1 if BACKEND == "numpy" else 2)
    assert calls == [2] * count
    one_by_one()
    calls.clear()
    alone = numbers()
    assert calls == ([] if BACKEND in ("torch", "numpy") else [1] * 2 * count)
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def loss_of(y):
    y = keras.ops.cast(y, "float32")
    return keras.ops.sum(y * keras.ops.arange(1.0, 1 + y.shape[-1]))


def run_here(layer, training, calls):
    y = layer(X, mask=MASK, training=training)
    if BACKEND == "numpy":
        return [y]
    loss_of(y).backward()
    return [y, *(v.value.grad for v in layer.trainable_variables)]


def run_on_jax(layer, training, calls):
    import jax

    weights = [v.value for v in layer.trainable_variables]
    others = [v.value for v in layer.non_trainable_variables]

    def loss(weights, x):
        x = keras.ops.cast(x, layer.compute_dtype)
        y, _ = layer.stateless_call(weights, others, x, mask=MASK, training=training)
        return loss_of(y), y

    run = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    calls += [len(parts) for _, parts in calls_in_jaxpr(jax.make_jaxpr(run)(weights, X).jaxpr)]
    return jax.tree.leaves(run(weights, X))


def run_on_tensorflow(layer, training, calls):
    import tensorflow as tf

    @tf.function
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, mask=MASK, training=training)
            loss = loss_of(y)
        return [y, *tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])]

    concrete = run.get_concrete_function(tf.constant(X))
    for nodes in ops_in_graph(concrete).values():
        calls += requests_of(nodes)
    return concrete(tf.constant(X))


def test_the_portable_engine_and_remat_go_one_by_one(calls) -> None:
    layer_of(engine="portable")(X)
    layer_of(remat=2)(X)
    assert calls == []


@pytest.mark.skipif(BACKEND != "torch", reason="what looks on in PyTorch")
class TestTorch:
    def both(self):
        import torch

        layer = layer_of(merge_mode=None)
        return layer, torch.tensor(X, requires_grad=True)

    @pytest.mark.parametrize("reached", [0, 1])
    def test_a_gradient_of_one_direction(self, reached, calls) -> None:
        import torch

        layer, x = self.both()
        layer(x)[reached].square().sum().backward()
        assert calls == [2]
        rows = layer.cells[0]
        assert rows[1 - reached].kernel.value.grad is None
        alone = torch.tensor(X, requires_grad=True)
        layer.parts[0][reached](alone).square().sum().backward()
        assert torch.equal(x.grad, alone.grad)

    def test_second_derivatives(self, calls, one_by_one) -> None:
        import torch

        def penalty():
            layer, x = self.both()
            a, b = layer(x)
            (slope,) = torch.autograd.grad((a * b).sum(), x, create_graph=True)
            slope.square().sum().backward()
            return x.grad

        together = penalty()
        assert calls == [2, 2]  # forward, and backward where no third derivative can follow
        one_by_one()
        torch.testing.assert_close(together, penalty())  # four terms, in another order

    def test_transforms_and_compilers(self, calls) -> None:
        import torch

        layer, x = self.both()
        a, b = layer(x)
        batched = torch.randn(4, B, T, U)

        def slope_of(d):
            return torch.autograd.grad((a, b), x, (d, d), retain_graph=True)[0]

        for d, slope in zip(batched, torch.vmap(slope_of)(batched), strict=True):
            torch.testing.assert_close(slope, slope_of(d))
        calls.clear()
        expected = a.sum() + b.sum()
        torch.func.grad(lambda x: sum(y.sum() for y in layer(x)))(x.detach())
        with torch.no_grad():
            compiled = torch.compile(
                lambda x: sum(y.sum() for y in layer(x)), backend="eager", fullgraph=True
            )
            torch.testing.assert_close(compiled(x), expected)
        assert calls == []
