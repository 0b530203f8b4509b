"""The layers of a stack in one call of the native core: the numbers of one after the other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from conveyor import LSTM
from conveyor._engines import _library, glue
from conveyor.layers._recording import recording
from frameworks import BACKEND, only_on, to_numpy
from one_call import MASK, U, X, numbers, with_random_weights

pytestmark = [
    pytest.mark.skipif(glue.active().native_stack is None, reason=f"{BACKEND} has no such call"),
    pytest.mark.skipif(_library.missing() is not None, reason="the native engine is not there"),
]


@pytest.fixture
def one_by_one(monkeypatch):
    return lambda: monkeypatch.setattr(glue.active(), "native_stack", None)


def stack(units=U, **arguments):
    return with_random_weights(LSTM(units, num_layers=3, **{"return_sequences": True, **arguments}))


CASES = {
    "plain": {},
    "states": {"return_state": True},
    "last": {"return_sequences": False},
    "dropout": {"dropout": 0.3, "recurrent_dropout": 0.4, "seed": 1},
    "variant": {"peephole": True, "projection": 5, "layer_norm": "joint"},
    "bfloat16": {"dtype": "bfloat16", "recurrent_initializer": "zeros"},
    "zeros": {"zero_output_for_mask": True},
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_numbers(case, calls, one_by_one) -> None:
    training = case == "dropout"
    together = numbers(stack(**CASES[case]), calls, training=training)
    assert calls == [3] * (1 if BACKEND == "numpy" else 2)
    one_by_one()
    calls.clear()
    alone = numbers(stack(**CASES[case]), calls, training=training)
    assert 3 not in calls
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "arguments",
    [
        {"inter_layer_dropout": 0.5},
        {"go_backwards": True},
        {"remat": 2},
        {"engine": "portable"},
        {"units": 200},  # the core would run them one after the other
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_what_goes_layer_by_layer(arguments, calls) -> None:
    numbers(stack(**arguments), calls, training=True)
    assert 3 not in calls


def test_every_state_of_every_layer(calls, one_by_one) -> None:
    together = stack().every_state(X, mask=MASK)
    assert calls == [3] or BACKEND in ("jax", "tensorflow")
    one_by_one()
    for rows, other in zip(together, stack().every_state(X, mask=MASK), strict=True):
        for name, state in rows[0].items():
            np.testing.assert_array_equal(to_numpy(state), to_numpy(other[0][name]))


def test_a_trace_shows_what_each_layer_reads() -> None:
    layer = stack()
    with recording() as seen:
        layer(X)
    for below, above in itertools.pairwise(seen):
        np.testing.assert_array_equal(
            to_numpy(below.states["hidden_states"]), to_numpy(above.inputs)
        )


@only_on("torch")
class TestTorch:
    def test_a_gradient_that_arrives_between_the_layers(self, calls, one_by_one) -> None:
        def slopes():
            layer = stack()
            states = layer.every_state(X)
            (states[0][0]["hidden_states"] * states[2][0]["cell_states"]).sum().backward()
            return [v.value.grad for v in layer.trainable_variables]

        import torch

        together = slopes()
        assert calls == [3, 2]  # backward the lowest by itself: two gradients are added there
        one_by_one()
        for a, b in zip(together, slopes(), strict=True):
            assert torch.equal(a, b)

    @pytest.mark.parametrize("trainable", [(0,), (1,), (2,), (0, 2), ()])
    def test_frozen_layers(self, trainable, one_by_one) -> None:
        import torch

        def slopes():
            layer = stack()
            for n, part in enumerate(layer.parts.flat()):
                for v in part.trainable_variables:
                    v.value.requires_grad_(n in trainable)
            x = torch.tensor(X, requires_grad=not trainable)
            layer(x).square().sum().backward()
            return [x.grad, *(v.value.grad for v in layer.trainable_variables)]

        together = slopes()
        one_by_one()
        for a, b in zip(together, slopes(), strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b)

    def test_second_derivatives(self, calls, one_by_one) -> None:
        import torch

        def penalty():
            layer, x = stack(), torch.tensor(X, requires_grad=True)
            (slope,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
            slope.square().sum().backward()
            return [x.grad, *(v.value.grad for v in layer.trainable_variables)]

        together = penalty()
        assert calls[0] == 3
        one_by_one()
        torch.testing.assert_close(together, penalty())

    def test_transforms_and_compilers(self, calls) -> None:
        import torch

        layer, x = stack(), torch.tensor(X)
        expected = layer(x).sum().detach()
        calls.clear()
        torch.func.grad(lambda x: layer(x).sum())(x)
        compiled = torch.compile(lambda x: layer(x).sum(), backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x).detach(), expected)
        assert calls == []
