"""What PyTorch's transformations make of `ops.lstm`."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from cases import Case
from conveyor import ops
from frameworks import assert_close, only_on
from oracles import reference_forward

pytestmark = only_on("torch")

CASE = Case(name="small", batch=2, time_steps=4, features=3, units=2, initial_states=True)


def tensors():
    import torch

    arguments = CASE.arguments("float64")
    return {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}


def test_gradcheck_and_gradgradcheck() -> None:
    import torch

    given = tensors()
    names = ("x", "kernel", "recurrent_kernel", "bias", "hidden_state", "cell_state")
    arrays = tuple(given[n].requires_grad_() for n in names)

    def run(*arrays):
        changed = {**given, **dict(zip(names, arrays, strict=True))}
        return ops.lstm(**changed, outputs=("hidden_states", "cell_states", "output_gates"))

    assert torch.autograd.gradcheck(run, arrays)
    assert torch.autograd.gradgradcheck(run, arrays)


def test_torch_func() -> None:
    import torch

    given = tensors()

    def loss(kernel):
        return ops.lstm(**{**given, "kernel": kernel}, outputs="cell_states").square().sum()

    kernel = given["kernel"].clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(kernel), kernel)
    assert_close(torch.func.grad(loss)(given["kernel"]), expected, "float64")

    kernels = torch.stack([given["kernel"], 2 * given["kernel"]])
    mapped = torch.func.vmap(lambda k: ops.lstm(**{**given, "kernel": k}))(kernels)
    for n, scale in enumerate((1, 2)):
        arguments = CASE.arguments("float64")
        arguments["kernel"] = scale * arguments["kernel"]
        assert_close(mapped[n], reference_forward(**arguments)["hidden_states"], "float64")


def test_torch_compile() -> None:
    import torch

    given = tensors()
    # "eager" runs what dynamo captured; the code that inductor writes is PyTorch's to test.
    run = torch.compile(lambda x: ops.lstm(**{**given, "x": x}), backend="eager", fullgraph=True)
    expected = reference_forward(**CASE.arguments("float64"))["hidden_states"]
    assert_close(run(given["x"]), expected, "float64")


def test_torch_compile_as_the_first_thing_in_a_process() -> None:
    code = (
        "import torch; from conveyor import ops\n"
        "x, k, r = torch.ones(2, 3, 4), torch.ones(4, 8), torch.ones(2, 8)\n"
        "run = torch.compile(ops.lstm, backend='eager', fullgraph=True)\n"
        "assert torch.equal(run(x, k, r), ops.lstm(x, k, r))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
