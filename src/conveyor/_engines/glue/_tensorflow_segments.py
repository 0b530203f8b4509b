"""TensorFlow: a loop over segments whose gradient runs each of them again.

Written by hand, as the gradient of `tf.while_loop` keeps what every iteration computed, and
`tf.recompute_grad` needs a number of segments that is known when a function is traced.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.python.eager import record  # as tf.recompute_grad has it

from .._request import Array


def in_segments(segment: Any, shared: Any, carry: Any, steps: tuple[Array, ...]) -> Any:
    loop = _Loop(segment, len(shared), len(carry), tf.shape(steps[0])[0])

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(*arrays: Array) -> Any:
        with record.stop_recording():
            carry, starts, rows = loop.forward(arrays)

        def backward(*d_results: Array) -> list[Array | None]:
            return loop.backward(arrays, starts, d_results)

        return (*carry, *rows), backward

    results = run(*shared, *carry, *steps)
    return tuple(results[: len(carry)]), tuple(results[len(carry) :])


class _Loop:
    """The arrays of a run in this order: shared ones, the carry, what has a segment axis."""

    def __init__(self, segment: Any, shared: int, carried: int, count: Array) -> None:
        self._segment, self._count = segment, count
        self._shared, self._carried = shared, shared + carried

    def forward(self, arrays: Any) -> tuple[list[Array], list[Array], list[Array]]:
        """The last carry, the carry before each segment, and the rows of each."""
        shared, carry, steps = self._parts(arrays)
        _, made = self._segment(shared, carry, [a[0] for a in steps])  # for its dtypes alone
        before = [self._array(a) for a in carry]
        rows = [self._array(a) for a in made]

        def body(n: Array, carry: Any, before: Any, rows: Any) -> Any:
            before = [array.write(n, a) for array, a in zip(before, carry, strict=True)]
            carry, made = self._segment(shared, carry, [a[n] for a in steps])
            rows = [array.write(n, a) for array, a in zip(rows, made, strict=True)]
            return n + 1, list(carry), before, rows

        _, carry, before, rows = self._while(body, (list(carry), before, rows))
        return carry, [a.stack() for a in before], [a.stack() for a in rows]

    def backward(self, arrays: Any, starts: list[Array], d_results: Any) -> list[Array | None]:
        """The gradients of the arrays."""
        shared, carry, steps = self._parts(arrays)
        d_carry, d_rows = list(d_results[: len(carry)]), d_results[len(carry) :]
        moving = [n for n, a in enumerate(steps) if a.dtype.is_floating]

        def body(done: Array, d_carry: Any, d_shared: Any, d_steps: Any) -> Any:
            n = self._count - 1 - done
            begin, one = [a[n] for a in starts], [a[n] for a in steps]
            with tf.GradientTape() as tape:
                sources = [*begin, *shared, *(one[k] for k in moving)]
                tape.watch(sources)
                carry, made = self._segment(shared, begin, one)
            gradients = tape.gradient(
                [*carry, *made],
                sources,
                [*d_carry, *(d[n] for d in d_rows)],
                unconnected_gradients="zero",
            )
            d_carry, gradients = gradients[: len(begin)], gradients[len(begin) :]
            d_shared = [a + d for a, d in zip(d_shared, gradients, strict=False)]
            d_steps = [
                array.write(n, d)
                for array, d in zip(d_steps, gradients[len(shared) :], strict=True)
            ]
            return done + 1, d_carry, d_shared, d_steps

        _, d_carry, d_shared, d_steps = self._while(
            body,
            (
                d_carry,
                [tf.zeros_like(a) for a in shared],
                [self._array(steps[n][0]) for n in moving],
            ),
        )
        by_place = dict(zip(moving, (a.stack() for a in d_steps), strict=True))
        return [*d_shared, *d_carry, *(by_place.get(n) for n in range(len(steps)))]

    def _parts(self, arrays: Any) -> tuple[Any, Any, Any]:
        return arrays[: self._shared], arrays[self._shared : self._carried], arrays[self._carried :]

    def _array(self, like: Array) -> tf.TensorArray:
        return tf.TensorArray(like.dtype, self._count, element_shape=like.shape)

    def _while(self, body: Any, values: Any) -> Any:
        known = tf.get_static_value(self._count)  # XLA wants a bound
        return tf.while_loop(
            lambda n, *_: n < self._count, body, (tf.constant(0), *values), maximum_iterations=known
        )
