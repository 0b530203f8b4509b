"""`ops.linear_cross_entropy` against NumPy in float64, and each framework's own derivative."""

from __future__ import annotations

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
from cross_entropies import arrays, oracle
from frameworks import BACKEND, assert_close, gradients, only_on, to_numpy

NATIVE = _native.missing() is None and BACKEND != "numpy"
ENGINES = ("portable", *(("native",) if NATIVE else ()))
engines = pytest.mark.parametrize("engine", ENGINES)


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
    sizes=st.tuples(st.integers(0, 9), st.integers(1, 20), st.integers(1, 70)),
    few=st.sampled_from([(0, 3, 5), (1, 1, 1), (9, 20, 70), (4, 7, 2)]),
    eps=st.sampled_from([0.0, 0.3]),
    ignore=st.sampled_from([0, -1, None]),
    seed=st.integers(0, 99),
)
def test_any_sizes(engine, sizes, few, eps, ignore, seed):
    # What is portable is compiled for each on JAX, and depends on sizes less.
    given_arrays = arrays(*(few if engine == "portable" else sizes), seed)
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
