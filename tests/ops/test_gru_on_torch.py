"""The native GRU on PyTorch: gradients of any order, torch.func, torch.compile."""

from __future__ import annotations

from functools import partial

import pytest

from conveyor import GRU, ConveyorError, ops
from conveyor._engines import _library
from frameworks import only_on
from grus import GRUCase

torch = pytest.importorskip("torch")
pytestmark = [
    only_on("torch"),
    pytest.mark.skipif(_library.missing() is not None, reason=str(_library.missing())),
]
both_forms = pytest.mark.parametrize("reset_after", [True, False])
ARRAYS = ("x", "kernel", "recurrent_kernel", "bias", "hidden_state", "recurrent_dropout_mask")
NAMES = ("hidden_state", "update_gates", "hidden_states")


def case(reset_after: bool, **options):
    arguments = GRUCase(
        name="torch", batch=2, time_steps=3, features=2, units=2, initial_state=True,
        mask="holes", resets=True, recurrent_dropout="per_gate", reset_after=reset_after, **options,
    ).arguments()  # fmt: skip
    tensors = [torch.tensor(arguments.pop(n), requires_grad=True) for n in ARRAYS]
    rest = {
        k: torch.from_numpy(v) if hasattr(v, "shape") else v
        for k, v in arguments.items()
        if v is not None
    }
    return tensors, rest


def states(rest, engine="native", names=NAMES):
    def run(*tensors):
        given = dict(zip(ARRAYS, tensors, strict=True))
        return ops.gru(**given, **rest, outputs=names, engine=engine)

    return run


@both_forms
@pytest.mark.parametrize("go_backwards", [False, True])
def test_first_and_second_gradients(reset_after, go_backwards) -> None:
    tensors, rest = case(reset_after, go_backwards=go_backwards)
    assert torch.autograd.gradcheck(states(rest), tensors)
    assert torch.autograd.gradgradcheck(states(rest, names=("hidden_state", "candidates")), tensors)


@both_forms
def test_transforms_of_torch_func_are_those_of_the_portable_engine(reset_after) -> None:
    tensors, rest = case(reset_after)
    x, kernel, *others = [t.detach() for t in tensors]

    def loss(engine):
        return lambda x, kernel: states(rest, engine)(x, kernel, *others)[0].square().sum()

    kernels, xs = torch.stack([kernel, -kernel]), torch.stack([x, x.sin()])
    for transform, arguments in (
        (torch.func.grad, (x, kernel)),
        (partial(torch.func.vmap, in_dims=(0, None)), (xs, kernel)),
        (partial(torch.func.vmap, in_dims=(None, 0)), (x, kernels)),
        (lambda f: torch.func.vmap(torch.func.grad(f), in_dims=(None, 0)), (x, kernels)),
        (lambda f: torch.func.jacrev(torch.func.grad(f, argnums=1)), (x, kernel)),
    ):
        expected = transform(loss("portable"))(*arguments)
        torch.testing.assert_close(transform(loss("native"))(*arguments), expected)
    with pytest.raises(ConveyorError, match="forward-mode"):
        torch.func.jvp(lambda x: loss("native")(x, kernel), (x,), (x,))


def test_compiled_in_one_graph() -> None:
    tensors, rest = case(reset_after=True)
    run = states(rest)
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    actual, expected = ([y.sum() for y in f(*tensors)] for f in (compiled, run))
    torch.testing.assert_close(actual, expected)
    slopes = [torch.autograd.grad(sum(sums), tensors) for sums in (actual, expected)]
    torch.testing.assert_close(*slopes)


def test_a_layer_says_which_engine_ran() -> None:
    layer = GRU(5)
    layer(torch.randn(2, 4, 3))
    assert layer.explain_engine() == "native engine"


def test_without_gradients_nothing_is_kept() -> None:
    tensors, rest = case(reset_after=True)
    with torch.no_grad():
        assert states(rest)(*tensors)[0].grad_fn is None
    with pytest.raises(RuntimeError, match="does not require grad"):
        states(rest)(*(t.detach() for t in tensors))[0].sum().backward()
