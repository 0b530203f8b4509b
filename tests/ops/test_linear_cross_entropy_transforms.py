"""`ops.linear_cross_entropy` where a framework compiles, exports or maps it."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from conveyor import ConveyorError
from conveyor._engines import _native
from conveyor.ops import linear_cross_entropy
from conveyor.ops._linear_cross_entropy import linear_cross_entropy_and_decision
from cross_entropies import arrays, oracle
from frameworks import BACKEND, assert_close, only_on, to_numpy

NATIVE = _native.missing() is None and BACKEND != "numpy"
ENGINES = ("portable", *(("native",) if NATIVE else ()))
engines = pytest.mark.parametrize("engine", ENGINES)


@only_on("torch")
@engines
def test_a_second_derivative_is_refused_and_not_zero(engine):
    import torch

    features, *rest = map(torch.tensor, arrays(20, 6, 9))

    def loss(features):
        return linear_cross_entropy(features, *rest, engine=engine)[0]

    x = features.requires_grad_()
    (d,) = torch.autograd.grad(loss(x), [x], create_graph=True)
    with pytest.raises(ConveyorError, match=r"first derivatives.*\n.*functional"):
        torch.autograd.grad((x.sum() + d.square().sum()), [x])
    with pytest.raises(ConveyorError, match="first derivatives"):
        torch.func.jacrev(torch.func.grad(loss))(features.detach())


@only_on("torch")
@engines
def test_transforms_of_torch(engine):
    import torch

    features, *rest = map(torch.tensor, arrays(20, 6, 9))

    def loss(features):
        return linear_cross_entropy(features, *rest, engine=engine)[0]

    twice = torch.stack([features, 2 * features])
    d = torch.func.vmap(torch.func.grad(loss))(twice)
    x = features.clone().requires_grad_()
    value = torch.compile(lambda x: 3 * loss(x), backend="aot_eager")(x)
    value.backward()
    assert_close(torch.func.vmap(loss)(twice), torch.stack([loss(f) for f in twice]))
    for n, each in enumerate(twice):
        assert_close(d[n], oracle(each.numpy(), *map(np.asarray, rest))[2][0])
    assert_close(x.grad, 3 * d[0])


@only_on("jax")
@engines
def test_transforms_of_jax(engine):
    import jax
    import jax.export

    features, *rest = map(jax.numpy.asarray, arrays(20, 6, 9))

    def loss(features, engine=engine):
        return linear_cross_entropy(features, *rest, engine=engine)[0]

    def plain(features):
        kernel, bias, labels = rest
        log_p = jax.nn.log_softmax(features @ kernel.T + bias)
        return -sum(log_p[n, y] for n, y in enumerate(labels.tolist()) if y)

    twice = jax.numpy.stack([features, 2 * features])
    assert_close(jax.vmap(jax.grad(loss))(twice), jax.vmap(jax.grad(plain))(twice))
    second = jax.jacrev(jax.grad(loss))(features)
    assert_close(second, jax.jacrev(jax.grad(plain))(features))
    if engine == "native":  # where it is read there may be no core
        exported = jax.export.export(jax.jit(lambda f: loss(f, "auto")))(features)
        assert "@conveyor_jax" not in exported.mlir_module()
        assert_close(exported.call(features), plain(features))


@only_on("tensorflow")
def test_a_second_derivative_in_tensorflow():
    import tensorflow as tf

    features, *rest = map(tf.constant, arrays(20, 6, 9))

    def second(loss):
        with tf.GradientTape() as outer:
            outer.watch(features)
            with tf.GradientTape() as tape:
                tape.watch(features)
                value = loss()
            squares = tf.reduce_sum(tape.gradient(value, features) ** 2)
        return outer.gradient(squares, features)

    def plain():
        kernel, bias, labels = rest
        log_p = tf.nn.log_softmax(features @ tf.transpose(kernel) + bias)
        counts = tf.cast(labels != 0, "float32")
        return -tf.reduce_sum(tf.gather(log_p, labels, batch_dims=1) * counts)

    def by(engine):
        return lambda: linear_cross_entropy(features, *rest, engine=engine)[0]

    assert_close(second(by("portable")), second(plain))
    if NATIVE:
        with pytest.raises(LookupError):  # and not a second derivative of zero
            second(by("native"))


@only_on("tensorflow")
def test_what_other_processes_run_is_portable():
    import tensorflow as tf

    features, kernel, bias, labels = map(tf.constant, arrays(20, 6, 9))
    decisions = []

    @tf.function(jit_compile=True)
    def loss(features):
        found, decision = linear_cross_entropy_and_decision(features, kernel, bias, labels)
        decisions.append(decision)
        return found[0]

    expected = linear_cross_entropy(features, kernel, bias, labels)[0]
    assert_close(loss(features), expected)
    assert decisions[0].engine == "portable"
    assert not NATIVE or "XLA" in decisions[0].passed_over["native"]


@only_on("tensorflow")
def test_gradients_of_a_function_that_was_traced_without_a_tape():
    import tensorflow as tf

    features, kernel, bias, labels = arrays(20, 6, 9)
    loss = tf.function(lambda f: linear_cross_entropy(f, kernel, bias, labels)[0])
    x = tf.constant(features)
    loss(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(x)
    assert_close(tape.gradient(value, x), oracle(features, kernel, bias, labels)[2][0])


@engines
def test_a_label_that_compiled_code_finds_beyond_the_classes(engine):
    features, kernel, bias, _ = arrays(5, 3, 4)

    def loss(labels):
        return linear_cross_entropy(features, kernel, bias, labels, engine=engine)[0]

    if BACKEND == "jax":
        import jax

        loss, refused = jax.jit(loss), jax.errors.JaxRuntimeError
    elif BACKEND == "tensorflow":
        import tensorflow as tf

        loss, refused = tf.function(loss), tf.errors.InvalidArgumentError
    else:
        pytest.skip("PyTorch's eager code looks before")
    beyond = ops.convert_to_tensor(np.array([1, 2, 4, 0, 3], "int32"))
    if engine == "portable":
        assert np.isnan(to_numpy(loss(beyond)))
    else:
        with pytest.raises(refused, match="labels: 4 at row 2, and there are 4 classes"):
            np.asarray(loss(beyond))


@only_on("tensorflow")
def test_a_graph_for_any_number_of_rows():
    import tensorflow as tf

    features, kernel, bias, labels = arrays(300, 6, 9)

    @tf.function(input_signature=[tf.TensorSpec([None, 6]), tf.TensorSpec([None], tf.int32)])
    def loss(features, labels):
        with tf.GradientTape() as tape:
            tape.watch(features)
            value, _, _ = linear_cross_entropy(features, tf.constant(kernel), bias, labels)
        return value, tape.gradient(value, features)

    value, d_features = loss(features, labels)
    expected = oracle(features, kernel, bias, labels)
    assert_close(value, expected[0])
    assert_close(d_features, expected[2][0])
