"""`ops.linear_cross_entropy` against NumPy in float64, and each framework's own derivative."""

from __future__ import annotations

from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from conveyor import ConveyorError
from conveyor._engines import _native
from conveyor.ops import linear_cross_entropy
from conveyor.ops._linear_cross_entropy import linear_cross_entropy_and_decision
from frameworks import BACKEND, assert_close, gradients, only_on, to_numpy

NATIVE = _native.missing() is None and BACKEND != "numpy"
ENGINES = ("portable", *(("native",) if NATIVE else ()))
engines = pytest.mark.parametrize("engine", ENGINES)


def arrays(rows: int, width: int, classes: int, seed: int = 0, dtype: str = "float32") -> Any:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, width))
    kernel = rng.normal(size=(classes, width)) / max(1, width) ** 0.5
    bias = rng.normal(size=classes)
    labels = rng.integers(0, classes, size=rows).astype("int32")
    return *(a.astype(dtype) for a in (features, kernel, bias)), labels


def oracle(features, kernel, bias, labels, eps=0.0, ignore=0):
    """Loss, cross entropies, and the gradients of the loss, in float64."""
    f, k, b = (np.asarray(a, "float64") for a in (features, kernel, bias))
    counts = labels != ignore
    z = f @ k.T + b
    log_p = z - z.max(-1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(-1, keepdims=True))
    of_label = np.eye(len(k))[labels]
    cross_entropies = np.where(counts, -(log_p * of_label).sum(-1), 0)
    target = (1 - eps) * of_label + eps / len(k)
    loss = -(target * log_p).sum(-1)[counts].sum()
    d = (np.exp(log_p) - target) * counts[:, None]
    return loss, cross_entropies, (d @ k, d.T @ f, d.sum(0))


def run(features, kernel, bias, labels, **options):
    """Loss and cross entropies; and gradients of thrice the loss, by three."""
    found = linear_cross_entropy(features, kernel, bias, labels, **options)
    of = [features, kernel] + ([] if bias is None else [bias])

    def loss(features, kernel, bias=None):
        return (linear_cross_entropy(features, kernel, bias, labels, **options)[0],)

    grads = gradients(loss, of, [np.array(3.0)])
    return *found, [np.asarray(to_numpy(g), "float64") / 3 for g in grads]


@engines
@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_agrees_with_numpy(engine, eps):
    given_arrays = arrays(300, 20, 50)  # in two chunks
    loss, cross_entropies, count, grads = run(*given_arrays, label_smoothing=eps, engine=engine)
    expected = oracle(*given_arrays, eps)
    assert_close(loss, expected[0])
    assert_close(cross_entropies, expected[1])
    assert count == (given_arrays[-1] != 0).sum()
    for actual, wanted in zip(grads, expected[2], strict=True):
        assert_close(actual, wanted)


@engines
@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(0, 9),
    width=st.integers(1, 20),
    classes=st.integers(1, 70),
    eps=st.sampled_from([0.0, 0.3]),
    ignore=st.sampled_from([0, -1, None]),
    seed=st.integers(0, 99),
)
def test_any_sizes(engine, rows, width, classes, eps, ignore, seed):
    given_arrays = arrays(rows, width, classes, seed)
    found = linear_cross_entropy(*given_arrays, label_smoothing=eps, ignore=ignore, engine=engine)
    expected = oracle(*given_arrays, eps, ignore)
    assert_close(found[0], expected[0])
    assert_close(found[1], expected[1])


def test_float64_has_gradients_of_float64():
    given_arrays = arrays(7, 3, 11, dtype="float64")
    loss, cross_entropies, _, grads = run(*given_arrays, label_smoothing=0.2, engine="portable")
    expected = oracle(*given_arrays, 0.2)
    assert loss.dtype == cross_entropies.dtype == np.float64
    assert_close(loss, expected[0], "float64")
    for actual, wanted in zip(grads, expected[2], strict=True):
        assert_close(actual, wanted, "float64")


@engines
def test_bfloat16_sums_in_float32(engine):
    features, kernel, bias, labels = arrays(300, 64, 500)
    rounded = [a.astype(ml_dtypes.bfloat16) for a in (features, kernel)]
    tensors = [ops.cast(ops.convert_to_tensor(a), "bfloat16") for a in (features, kernel)]
    loss, cross_entropies, _ = linear_cross_entropy(
        *tensors, ops.convert_to_tensor(bias), labels, engine=engine
    )
    expected = oracle(*rounded, bias, labels)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    np.testing.assert_allclose(to_numpy(loss), expected[0], rtol=2e-3)
    np.testing.assert_allclose(to_numpy(cross_entropies), expected[1], atol=0.05)

    def of(features, kernel, bias):
        f, k = ops.cast(features, "bfloat16"), ops.cast(kernel, "bfloat16")
        return (linear_cross_entropy(f, k, bias, labels, engine=engine)[0],)

    grads = gradients(of, [features, kernel, bias], [np.array(1.0)])
    for actual, wanted in zip(grads, expected[2], strict=True):
        off = np.linalg.norm(np.asarray(actual, "float64") - wanted) / np.linalg.norm(wanted)
        assert off < 0.01


@engines
def test_ignored_rows_have_no_influence(engine):
    features, kernel, bias, labels = arrays(20, 6, 9, seed=3)
    labels[::2] = 0
    wild = features.copy()
    wild[::2] = np.nan
    expected, actual = (run(f, kernel, bias, labels, engine=engine) for f in (features, wild))
    for e, a in zip((*expected[:3], *expected[3]), (*actual[:3], *actual[3]), strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(e))
    assert not actual[3][0][::2].any()


@engines
def test_without_bias(engine):
    features, kernel, _, labels = arrays(20, 6, 9)
    zeros = np.zeros(9, "float32")
    with_zeros = run(features, kernel, zeros, labels, engine=engine)
    without = run(features, kernel, None, labels, engine=engine)
    assert_close(without[0], with_zeros[0])
    assert_close(without[3][1], with_zeros[3][1])


@engines
def test_a_kernel_that_is_an_embedding_gets_both_gradients(engine):
    _, kernel, *rest = arrays(20, 6, 9)
    bias, labels = map(ops.convert_to_tensor, rest)

    def loss(kernel):
        features = ops.tanh(ops.take(kernel, labels, axis=0))
        return (linear_cross_entropy(features, kernel, bias, labels, engine=engine)[0],)

    def plain(kernel):
        features = ops.tanh(ops.take(kernel, labels, axis=0))
        z = features @ ops.transpose(kernel) + bias
        of_label = ops.take_along_axis(z, labels[:, None], axis=-1)[:, 0]
        return (ops.sum((ops.logsumexp(z, axis=-1) - of_label) * ops.cast(labels != 0, "float32")),)

    one = [np.array(1.0)]
    assert_close(gradients(loss, [kernel], one)[0], gradients(plain, [kernel], one)[0])


@engines
def test_large_logits_do_not_overflow(engine):
    features, kernel, bias, labels = arrays(20, 6, 9)
    features, bias = features * 200, bias - 5000
    loss, _, _, grads = run(features, kernel, bias, labels, engine=engine)
    expected = oracle(features, kernel, bias, labels)
    np.testing.assert_allclose(to_numpy(loss), expected[0], rtol=1e-4)
    np.testing.assert_allclose(grads[0], expected[2][0], atol=1e-3)


@only_on("torch")
@engines
def test_nothing_is_kept_for_gradients_that_nobody_wants(engine):
    import torch

    tensors = [torch.tensor(a) for a in arrays(20, 6, 9)]
    assert not linear_cross_entropy(*tensors, engine=engine)[0].requires_grad
    tensors[1].requires_grad_()
    loss, cross_entropies, count = linear_cross_entropy(*tensors, engine=engine)
    assert loss.requires_grad
    assert not any(each.requires_grad for each in (cross_entropies, count))


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


@engines
def test_a_label_beyond_the_classes_is_refused(engine):
    given_arrays = arrays(5, 3, 4)
    for label in (4, -1, 2**31 - 1, 2**32):
        labels = np.array([1, 2, label, 0, 3], "int64")
        with pytest.raises(ConveyorError, match=r"labels of 0 to 3.*\n.*ignore="):
            linear_cross_entropy(*given_arrays[:3], labels, engine=engine)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"features": np.ones((2, 5, 3), "float32")}, r"features of shape.*\n.*reshape"),
        ({"features": [[1.0, 2.0, 3.0]]}, "features to be an array"),
        ({"features": np.ones((5, 3), "int32")}, "floating-point"),
        ({"kernel": np.ones((3, 4), "float32")}, r"kernel of shape.*\n.*transpose"),
        ({"kernel": np.ones((4, 3), "float64")}, r"kernel in the dtype.*\n.*cast"),
        ({"bias": np.ones(3, "float32")}, "bias of shape"),
        ({"labels": np.ones(4, "int32")}, "labels of shape"),
        ({"labels": np.ones((5, 1), "int32")}, "labels of shape"),
        ({"labels": np.ones(5, "float32")}, r"labels as integers.*\n.*cast"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"engine": "fast"}, "engine"),
    ],
)
def test_what_does_not_fit_is_refused(change, match):
    features, kernel, bias, labels = arrays(5, 3, 4)
    good = {"features": features, "kernel": kernel, "bias": bias, "labels": labels}
    with pytest.raises(ConveyorError, match=match):
        linear_cross_entropy(**{**good, **change})


def test_why_an_engine_was_chosen_can_be_seen():
    _, decision = linear_cross_entropy_and_decision(*arrays(5, 3, 4))
    assert decision.engine == ENGINES[-1]
    if NATIVE:
        _, decision = linear_cross_entropy_and_decision(*arrays(5, 3, 4, dtype="float64"))
        assert "float64" in decision.passed_over["native"]
