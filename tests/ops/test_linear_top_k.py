"""`ops.linear_top_k` against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from conveyor import ConveyorError
from conveyor._engines import _native
from conveyor.ops import linear_top_k
from frameworks import BACKEND, assert_close, to_numpy

NATIVE = _native.missing() is None and BACKEND != "numpy"
ENGINES = ("portable", *(("native",) if NATIVE else ()))
engines = pytest.mark.parametrize("engine", ENGINES)


def layer(rows: int, width: int, classes: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    shapes = (rows, width), (classes, width), (classes,)
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


def expect(found, features, kernel, bias, k, dtype="float32"):
    values, indices, total = map(to_numpy, found)
    z = np.asarray(features, "float64") @ np.asarray(kernel, "float64").T
    z += 0 if bias is None else bias
    best = np.sort(z, axis=-1)[:, ::-1][:, :k]
    assert indices.dtype == np.int32
    assert_close(values, best, dtype)
    assert_close(np.take_along_axis(z, indices, -1), best, dtype)
    highest = z.max(-1, keepdims=True)
    assert_close(total, highest[:, 0] + np.log(np.exp(z - highest).sum(-1)), dtype)


@engines
@settings(max_examples=15, deadline=None)
@given(
    sizes=st.tuples(
        st.sampled_from([0, 1, 3, 70, 300]),
        st.integers(1, 20),
        st.integers(1, 200),
        st.integers(1, 20),
    ),
    few=st.sampled_from([(0, 3, 5, 2), (1, 1, 1, 1), (300, 20, 200, 20), (3, 7, 9, 20)]),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_agrees_with_numpy(engine, sizes, few, bias, seed):
    # What is portable is compiled for each on JAX, and depends on sizes less.
    rows, width, classes, k = few if engine == "portable" else sizes
    features, kernel, b = layer(rows, width, classes, seed)
    b, k = (b if bias else None), min(k, classes)
    expect(linear_top_k(features, kernel, b, k, engine=engine), features, kernel, b, k)


@engines
def test_bfloat16(engine):
    features, kernel, bias = layer(20, 16, 300)
    tensors = [ops.cast(ops.convert_to_tensor(a), "bfloat16") for a in (features, kernel)]
    found = linear_top_k(*tensors, ops.convert_to_tensor(bias), 4, engine=engine)
    expect(found, *map(to_numpy, tensors), bias, 4, "bfloat16")


def test_float64_is_exact():
    features, kernel, bias = (a.astype("float64") for a in layer(5, 6, 30))
    expect(linear_top_k(features, kernel, bias, 3), features, kernel, bias, 3, "float64")


@engines
def test_in_compiled_code(engine):
    features, kernel, bias = map(ops.convert_to_tensor, layer(20, 16, 300))

    def search(features):
        return linear_top_k(features, kernel, bias, 5, engine=engine)

    if BACKEND == "jax":
        import jax

        search = jax.jit(search)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        search = tf.function(search)
    expect(search(features), *map(to_numpy, (features, kernel, bias)), 5)


@pytest.mark.parametrize("k", [0, -1, 5, 2.0, True, None])
def test_a_k_that_is_none_is_refused(k):
    features, kernel, bias = layer(2, 3, 4)
    with pytest.raises(ConveyorError, match=r"k of 1 to 4.*\n.*min"):
        linear_top_k(features, kernel, bias, k)
