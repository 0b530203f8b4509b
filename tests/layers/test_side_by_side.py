"""Two directions in one call of the native core: the numbers of one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from conveyor import LSTM
from conveyor._engines import _library, glue
from frameworks import BACKEND, only_on
from one_call import B, T, U, X, numbers, with_random_weights

pytestmark = pytest.mark.skipif(
    _library.missing() is not None, reason="the native engine is not there"
)


@pytest.fixture
def one_by_one(monkeypatch):
    native = glue.active().native
    return lambda: monkeypatch.setattr(
        glue.active(), "native_together", lambda requests: [native(r) for r in requests]
    )


def layer_of(**arguments):
    return with_random_weights(LSTM(U, bidirectional=True, return_sequences=True, **arguments))


CASES = {
    "plain": {},
    "layers": {"num_layers": 2},
    "dropout": {"dropout": 0.3, "recurrent_dropout": 0.4, "seed": 1},
    "variant": {"peephole": True, "activation": "softsign"},
    "bfloat16": {"dtype": "bfloat16", "recurrent_initializer": "zeros"},
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_numbers(case, calls, one_by_one) -> None:
    training = case == "dropout"
    together = numbers(layer_of(**CASES[case]), calls, training=training)
    count = CASES[case].get("num_layers", 1) * (1 if BACKEND == "numpy" else 2)
    assert calls == [2] * count
    one_by_one()
    calls.clear()
    alone = numbers(layer_of(**CASES[case]), calls, training=training)
    assert calls == ([] if BACKEND in ("torch", "numpy") else [1] * 2 * count)
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_portable_engine_and_remat_go_one_by_one(calls) -> None:
    layer_of(engine="portable")(X)
    layer_of(remat=2)(X)
    assert calls == []


@only_on("torch")
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
