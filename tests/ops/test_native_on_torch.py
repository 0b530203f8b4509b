"""The native engine under what PyTorch does to an operator."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cases import CASES, Case
from conveyor import _engines, ops
from conveyor._engines._layout import DIFFERENTIABLE, INPUTS
from conveyor._engines._options import Options
from conveyor._vocabulary import STATE_NAMES
from frameworks import assert_close, only_on
from oracles import finite_differences, reference_backward, reference_forward
from variants import VARIANTS, Variant

pytestmark = [
    only_on("torch"),
    pytest.mark.skipif(
        _engines.engines()[0].missing is not None, reason=str(_engines.engines()[0].missing)
    ),
]

FLOATS = (
    "x",
    "kernel",
    "recurrent_kernel",
    "bias",
    "hidden_state",
    "cell_state",
    "dropout_mask",
    "recurrent_dropout_mask",
)
EVERYTHING = Case(
    name="everything",
    batch=2,
    time_steps=3,
    features=2,
    units=2,
    mask="holes",
    initial_states=True,
    resets=True,
    go_backwards=True,
    dropout="shared",
    recurrent_dropout="per_gate",
)
IN_STAGES = next(v for v in VARIANTS if v.name == "everything-tiny")
SMALL = Case(name="small", batch=2, time_steps=4, features=3, units=2, initial_states=True)


def tensors(case: Case | Variant, dtype: str = "float64"):
    import torch

    arguments = case.arguments(dtype)
    return {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}


def native(outputs="hidden_states", **arguments):
    return ops.lstm(**arguments, outputs=outputs, engine="native")


def operator_arguments(case: Case, names, dtype: str = "float32"):
    given = tensors(case, dtype)
    arrays = [given.get(n) for n in INPUTS]
    activation = given["activation"]
    options = Options(activation, given["recurrent_activation"], activation, given["go_backwards"])
    return (*arrays, options.text, list(names))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_all_gradients_of_all_states(case: Case) -> None:
    import torch

    arguments = tensors(case)
    names = [n for n in FLOATS if arguments[n] is not None]
    leaves = {n: arguments[n].requires_grad_() for n in names}
    states = native(**{**arguments, **leaves}, outputs=STATE_NAMES)
    rng = np.random.default_rng(7)
    cotangents = {n: rng.normal(size=s.shape) for n, s in zip(STATE_NAMES, states, strict=True)}
    loss = sum(
        (s * torch.tensor(cotangents[n])).sum() for n, s in zip(STATE_NAMES, states, strict=True)
    )
    actual = dict(zip(names, torch.autograd.grad(loss, leaves.values()), strict=True))
    expected = reference_backward(cotangents, **case.arguments())
    for name in set(names) & set(expected):
        assert_close(actual[name], expected[name], "float64", scale=50)


def test_gradients_of_the_dropout_masks() -> None:
    import torch

    arguments = tensors(EVERYTHING)
    names = ("dropout_mask", "recurrent_dropout_mask")
    leaves = [arguments[n].clone().requires_grad_() for n in names]
    loss = native(**{**arguments, **dict(zip(names, leaves, strict=True))}).square().sum()
    actual = torch.autograd.grad(loss, leaves)

    def measured(*masks):
        given = {**EVERYTHING.arguments(), **dict(zip(names, masks, strict=True))}
        return float((reference_forward(**given)["hidden_states"] ** 2).sum())

    expected = finite_differences(measured, [a.detach().numpy() for a in leaves])
    for gradient, by_differences in zip(actual, expected, strict=True):
        np.testing.assert_allclose(gradient, by_differences, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("case", [SMALL, EVERYTHING], ids=str)
def test_opcheck_of_the_operator(case: Case, requires_grad: bool) -> None:
    import torch

    arguments = operator_arguments(case, ("cell_state", "hidden_states"))
    for a in arguments:
        if isinstance(a, torch.Tensor) and a.is_floating_point():
            a.requires_grad_(requires_grad)
    torch.library.opcheck(torch.ops.conveyor.lstm, arguments)


@pytest.mark.parametrize("names", [("hidden_states",), ("cell_state", "hidden_states")], ids=str)
def test_opcheck_of_its_parts(names) -> None:
    import torch

    arguments = operator_arguments(EVERYTHING, names)
    # Not compared with what AOT makes of it: no two reserves are equal, as they have bytes
    # that nothing writes or reads.
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.conveyor.lstm_training, arguments, test_utils=checks)
    *states, reserve = torch.ops.conveyor.lstm_training(*arguments)
    d_states = [torch.ones_like(states[0]), *[None] * (len(names) - 1)]
    for wanted in (["x"], list(FLOATS)):
        torch.library.opcheck(
            torch.ops.conveyor.lstm_backward,
            (*arguments, states[-1], reserve, d_states, wanted),
        )


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_in_one_graph(backend: str) -> None:
    import torch

    given = tensors(EVERYTHING)
    run = torch.compile(
        lambda x, kernel: native(**{**given, "x": x, "kernel": kernel}, outputs=STATE_NAMES)[1],
        backend=backend,
        fullgraph=True,
    )
    arguments = EVERYTHING.arguments()
    expected = reference_forward(**arguments)["cell_states"]
    kernel = given["kernel"].clone().requires_grad_()
    actual = run(given["x"], kernel)
    assert_close(actual, expected, "float64")
    (gradient,) = torch.autograd.grad(actual.sum(), kernel)
    by_hand = reference_backward({"cell_states": np.ones_like(expected)}, **arguments)
    assert_close(gradient, by_hand["kernel"], "float64", scale=10)


def test_compiled_once_for_all_lengths_and_batches() -> None:
    import torch

    x, kernel, *rest = operator_arguments(Case(name="plain"), ("hidden_states",))
    kernel.requires_grad_()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")

    @torch.compile(backend=counter, fullgraph=True, dynamic=True)
    def run(x):
        return torch.ops.conveyor.lstm(x, kernel, *rest)[0]

    for batch, time_steps in ((6, 5), (8, 7), (2, 9)):
        x = torch.randn(batch, time_steps, 4)
        actual, expected = run(x), torch.ops.conveyor.lstm(x, kernel, *rest)[0]
        assert_close(actual.detach(), expected.detach())
        slopes = (torch.autograd.grad(y.sum(), kernel)[0] for y in (actual, expected))
        assert_close(*slopes)
    assert counter.frame_count == 1


def test_nothing_is_kept_for_a_gradient_that_nobody_wants(monkeypatch) -> None:
    import torch

    from conveyor._engines import _library

    def never(*_):
        raise AssertionError("inference needs no reserve")

    monkeypatch.setattr(_library, "reserve_bytes", never)
    given = tensors(SMALL)
    native(**given)
    given["kernel"].requires_grad_()
    for nothing in (torch.no_grad, torch.inference_mode):
        with nothing():
            assert not native(**given).requires_grad
    with pytest.raises(AssertionError, match="no reserve"):
        native(**given)


def test_only_the_gradients_that_are_needed(monkeypatch) -> None:

    from conveyor._engines import _library

    asked = []
    backward_at = _library.backward_at

    def spy(problem, inputs, hidden_states, reserve, d_states, d_inputs):
        asked.append(([bool(a) for a in d_states], [bool(a) for a in d_inputs]))
        backward_at(problem, inputs, hidden_states, reserve, d_states, d_inputs)

    monkeypatch.setattr(_library, "backward_at", spy)
    given = tensors(SMALL)
    given["recurrent_kernel"].requires_grad_()
    _, _, c = native(**given, outputs=("hidden_states", "output_gates", "cell_state"))
    c.sum().backward()
    arrived = [name == "cell_state" for name in STATE_NAMES]
    assert asked == [(arrived, [name == "recurrent_kernel" for name in DIFFERENTIABLE])]


@pytest.mark.parametrize("case", [EVERYTHING, IN_STAGES], ids=str)
def test_derivatives_of_derivatives(case: Case | Variant) -> None:
    import torch

    given = tensors(case)
    names = [n for n in DIFFERENTIABLE if given.get(n) is not None]
    arrays = tuple(given[n].requires_grad_() for n in names)

    def run(*arrays):
        changed = {**given, **dict(zip(names, arrays, strict=True))}
        return native(**changed, outputs=("hidden_states", "cell_state", "output_gates"))

    assert torch.autograd.gradcheck(run, arrays, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, arrays, fast_mode=True)


def test_third_derivatives() -> None:
    import torch

    given = tensors(SMALL)

    def slopes(engine, a):
        changed = {**given, "kernel": a * given["kernel"], "engine": engine}
        value = ops.lstm(**changed).square().sum()
        for _ in range(3):
            (value,) = torch.autograd.grad(value, a, create_graph=True)
        return value

    a = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    assert_close(slopes("native", a).detach(), slopes("portable", a).detach(), "float64", 100)


def square(f):
    return lambda *a: f(*a).square().sum()


# f is a function of x and kernel; several is one of three x, stacked along axis 1.
TRANSFORMS = {
    "grad": lambda F, f, x, several, kernel: F.grad(square(f), (0, 1))(x, kernel),
    "grad of grad": lambda F, f, x, several, kernel: F.grad(square(F.grad(square(f), 1)), (0, 1))(
        x, kernel
    ),
    "jacrev": lambda F, f, x, several, kernel: F.jacrev(f, (0, 1))(x, kernel),
    "hessian": lambda F, f, x, several, kernel: F.hessian(square(f), 1)(x, kernel),
    "vmap": lambda F, f, x, several, kernel: F.vmap(f, (1, None), 2)(several, kernel),
    "vmap of weights": lambda F, f, x, several, kernel: F.vmap(f, (None, 0))(
        x, kernel * kernel.new_tensor([1, 2])[:, None, None]
    ),
    "vmap of grad": lambda F, f, x, several, kernel: F.vmap(F.grad(square(f), (0, 1)), (1, None))(
        several, kernel
    ),
    "grad of vmap": lambda F, f, x, several, kernel: F.grad(square(F.vmap(f, (1, None))), (0, 1))(
        several, kernel
    ),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name: str) -> None:
    import torch

    given = tensors(EVERYTHING)
    several = torch.stack([given["x"], 2 * given["x"], -given["x"]], 1)

    def run(engine):
        def function(x, kernel):
            return ops.lstm(**{**given, "x": x, "kernel": kernel}, engine=engine)

        results = TRANSFORMS[name](torch.func, function, given["x"], several, given["kernel"])
        return results if isinstance(results, tuple) else (results,)

    # The Hessian is forward over reverse, which is not for the native engine alone.
    native_or = "auto" if name == "hessian" else "native"
    for actual, expected in zip(run(native_or), run("portable"), strict=True):
        assert_close(actual, expected, "float64", scale=100)


def test_vmap_over_what_comes_with_the_sequences() -> None:
    import torch

    given = tensors(EVERYTHING)
    along = {"x": 1, "hidden_state": 0, "mask": 2, "dropout_mask": 0, "recurrent_dropout_mask": 1}
    mapped = {n: torch.stack([given[n], given[n].flip(-1)], d) for n, d in along.items()}
    rest = {n: v for n, v in given.items() if n not in along}
    run = torch.func.vmap(lambda a: native(**a, **rest, outputs=STATE_NAMES), in_dims=(along,))
    actual = run(mapped)
    for n in range(2):
        arguments = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in rest.items()}
        arguments |= {k: mapped[k].select(d, n).numpy() for k, d in along.items()}
        expected = reference_forward(**arguments)
        for name, value in zip(STATE_NAMES, actual, strict=True):
            assert_close(value[n], expected[name], "float64")


def test_checkpointing() -> None:
    import torch
    from torch.utils.checkpoint import checkpoint

    given = tensors(SMALL)
    kernel = given["kernel"].requires_grad_()
    (plain,) = torch.autograd.grad(native(**given).sum(), kernel)
    again = checkpoint(lambda k: native(**{**given, "kernel": k}), kernel, use_reentrant=False)
    assert torch.equal(torch.autograd.grad(again.sum(), kernel)[0], plain)
    checkpoint(
        lambda k: native(**{**given, "kernel": k}), kernel, use_reentrant=True
    ).sum().backward()
    assert torch.equal(kernel.grad, plain)


def awkward(torch, a):
    """The same numbers, laid out in ways that no kernel wants."""
    wide = torch.full((*a.shape[:-1], 2 * a.shape[-1] + 1), torch.nan, dtype=a.dtype)
    wide[..., 1::2] = a
    yield wide[..., 1::2]
    yield a.transpose(0, -1).contiguous().transpose(0, -1)
    yield torch.complex(torch.zeros_like(a), -a).conj().imag  # a view that negates
    yield torch.cat([a.new_full((1,), torch.nan), a.flatten()])[1:].view(a.shape)
    yield a.detach().clone().requires_grad_()
    with torch.inference_mode():
        yield a.clone()


def test_awkward_layouts() -> None:
    import torch

    given = tensors(EVERYTHING)
    expected = reference_forward(**EVERYTHING.arguments())
    for name in FLOATS:
        for array in awkward(torch, given[name]):
            states = native(**{**given, name: array}, outputs=STATE_NAMES)
            for state, value in zip(STATE_NAMES, states, strict=True):
                assert_close(value.detach(), expected[state], "float64")


def test_expanded_and_empty() -> None:
    import torch

    given = tensors(Case(name="plain"))
    one = given["x"][:1]
    assert_close(
        native(**{**given, "x": one.expand(5, -1, -1)}),
        native(**{**given, "x": one}).expand(5, -1, -1),
        "float64",
    )
    kernel = given["kernel"].requires_grad_()
    nothing = native(**{**given, "x": torch.empty(0, 5, 4, dtype=torch.float64)})
    assert nothing.shape == (0, 5, 3)
    nothing.sum().backward()
    assert (kernel.grad == 0).all()


def test_bfloat16_with_a_cell_state_of_either_width() -> None:
    import torch

    case = Case(name="wide", batch=3, time_steps=6, features=8, units=5, initial_states=True)
    given = {
        k: v.bfloat16() if isinstance(v, torch.Tensor) else v
        for k, v in tensors(case, "float32").items()
    }
    exact = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in given.items()}
    expected = reference_forward(**exact)
    for width in (torch.bfloat16, torch.float32):
        cell_state = given["cell_state"].to(width, copy=True).requires_grad_()
        states = native(**{**given, "cell_state": cell_state}, outputs=STATE_NAMES)
        for name, value in zip(STATE_NAMES, states, strict=True):
            assert value.dtype is torch.bfloat16
            assert_close(value.detach(), expected[name], "bfloat16")
        states[0].sum().backward()
        assert cell_state.grad.dtype is cell_state.dtype


def test_why_not() -> None:
    import torch

    from conveyor.ops._lstm import lstm_and_decision

    given = tensors(SMALL)
    options = {"unroll": False, "outputs": "hidden_states", "engine": "auto", "where": "test"}

    def why(**changed):
        _, decision = lstm_and_decision(**{**given, **options, **changed})
        return decision.passed_over.get("native", "")

    assert why() == ""
    with torch.autograd.forward_ad.dual_level():
        assert "forward-mode" in why()
    reasons = []
    torch.func.jvp(
        lambda x: reasons.append(why(x=x)) or x, (given["x"],), (torch.ones_like(given["x"]),)
    )
    assert "forward-mode" in reasons[0]


def test_forward_mode_goes_to_the_portable_engine() -> None:
    import torch

    given = tensors(SMALL)
    x = given["x"]
    direction = torch.ones_like(x)
    _, slope = torch.func.jvp(lambda x: ops.lstm(**{**given, "x": x}), (x,), (direction,))
    step = 1e-6
    ahead, behind = (native(**{**given, "x": x + s * direction}) for s in (step, -step))
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-8)


def test_a_device_context_of_torch_leaves_it_alone() -> None:
    import torch

    given = tensors(SMALL)
    arguments = operator_arguments(SMALL, ("hidden_states",), "float64")
    with torch.device("meta"):
        (actual,) = torch.ops.conveyor.lstm(*arguments)
    assert_close(actual, native(**given), "float64")


def test_the_operator_itself_refuses_what_would_read_beyond_an_array() -> None:
    import torch

    from conveyor import ConveyorError

    arguments = list(operator_arguments(SMALL, ("hidden_states",)))
    for n, wrong in ((1, torch.zeros(3, 4)), (5, torch.zeros(2, 2, dtype=torch.float64))):
        changed = [*arguments[:n], wrong, *arguments[n + 1 :]]
        with pytest.raises(ConveyorError, match=r"Call conveyor\.ops\.lstm"):
            torch.ops.conveyor.lstm(*changed)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_computes_on_the_threads_of_torch() -> None:
    code = (
        "import os, torch\n"
        "torch.set_num_threads(2)\n"
        "from conveyor import _engines, ops\n"
        "count = lambda: len(os.listdir('/proc/self/task'))\n"
        "torch.ones(512, 512) @ torch.ones(512, 512)\n"
        "x, k, r = torch.ones(32, 50, 64), torch.ones(64, 256), torch.ones(64, 256)\n"
        "before = count()\n"
        "ops.lstm(x, k, r)\n"
        "assert count() == before, (before, count())"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
