"""What others have beyond the plain LSTM, on PyTorch, with conveyor's weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .._job import Job
from .._peers import Peer
from .._variants import hidden_size
from . import _on_torch, _versions
from ._ready import Arrays, Ready, gradients_of, variant_arrays

Forward = Callable[[Any], Sequence[Any]]
# By conveyor's names: a parameter, and how a gradient in its layout becomes one in conveyor's.
Trained = Mapping[str, tuple[torch.nn.Parameter, Callable[[np.ndarray], np.ndarray]]]


def versions() -> dict[str, str]:
    """Of PyTorch, and of those that are there."""
    return _versions.of(*_on_torch.PACKAGES, "torchrecurrent", "haste_pytorch")


def prepare(job: Job, peer: Peer, *, threads: int, engine: str) -> Ready:
    """The job on the module of the peer."""
    _on_torch.limit_threads(threads)
    given, names, constants = variant_arrays(job)
    make = {
        "torch variant": _torch_gru if job.variant == "GRU" else _torch_projection,
        "torchrecurrent": _torchrecurrent,
        "haste": _haste,
    }[peer.name]
    forward, trained = make(job, given, constants)
    x, cotangent = (torch.from_numpy(given[name]) for name in ("x", "cotangent"))
    parameters = [parameter for parameter, _ in trained.values()]
    if job.mode == "inference":
        run = _on_torch.inference(lambda x, *_: forward(x), x, parameters)
        return Ready(run, lambda outputs: {"hidden_states": _on_torch.to_numpy(outputs[0])})
    run = _on_torch.training(lambda x, *_: forward(x), x, parameters, cotangent)

    def values(both: Any) -> Arrays:
        (hidden_states,), (d_x, *gradients) = both
        named = {"hidden_states": _on_torch.to_numpy(hidden_states), "d_x": _on_torch.to_numpy(d_x)}
        for (name, (_, back)), gradient in zip(trained.items(), gradients, strict=True):
            named[f"d_{name}"] = back(_on_torch.to_numpy(gradient))
        return {name: named[name] for name in ("hidden_states", *gradients_of(names))}

    return Ready(run, values)


def _set(parameter: torch.nn.Parameter, values: np.ndarray) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def _as_it_is(array: np.ndarray) -> np.ndarray:
    return array


def _transposed(array: np.ndarray) -> np.ndarray:
    return array.T


def _torch_projection(job: Job, given: Arrays, _: Arrays) -> tuple[Forward, Trained]:
    module = torch.nn.LSTM(job.features, job.units, batch_first=True, proj_size=hidden_size(job))
    weights = module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0, module.weight_hr_l0
    names = "kernel", "recurrent_kernel", "bias", "projection_kernel"
    backs = _transposed, _transposed, _as_it_is, _transposed
    for name, parameter, back in zip(names, weights, backs, strict=True):
        _set(parameter, back(given[name]))
    _set(module.bias_hh_l0, 0 * given["bias"])
    trained = dict(zip(names, zip(weights, backs, strict=True), strict=True))
    return lambda x: (module(x)[0],), trained


def _torch_gru(job: Job, given: Arrays, _: Arrays) -> tuple[Forward, Trained]:
    module = torch.nn.GRU(job.features, job.units, batch_first=True)

    def turned(array: np.ndarray) -> np.ndarray:
        """Update, reset, candidate to PyTorch's reset, update, candidate, or back."""
        z, r, g = np.split(array, 3, axis=-1)
        return np.concatenate([r, z, g], axis=-1)

    _set(module.weight_ih_l0, turned(given["kernel"]).T)
    _set(module.weight_hh_l0, turned(given["recurrent_kernel"]).T)
    _set(module.bias_ih_l0, turned(given["bias"])[0])
    _set(module.bias_hh_l0, turned(given["bias"])[1])
    both = torch.nn.Parameter(torch.stack([module.bias_ih_l0, module.bias_hh_l0]).detach())
    names = ("weight_ih_l0", "weight_hh_l0")
    weights = {name: getattr(module, name) for name in names}

    def forward(x: Any) -> Sequence[Any]:
        if not torch.is_grad_enabled():
            return (module(x)[0],)
        # Both biases as one parameter, as conveyor's gradient has them.
        flat = [weights[names[0]], weights[names[1]], both[0], both[1]]
        zeros = x.new_zeros(1, x.shape[0], job.units)
        return (torch.gru(x, zeros, flat, True, 1, 0.0, True, False, True)[0],)

    return forward, {
        "kernel": (weights[names[0]], lambda d: turned(d.T)),
        "recurrent_kernel": (weights[names[1]], lambda d: turned(d.T)),
        "bias": (both, turned),
    }


def _torchrecurrent(job: Job, given: Arrays, _: Arrays) -> tuple[Forward, Trained]:
    import torchrecurrent

    module = torchrecurrent.PeepholeLSTM(job.features, job.units, batch_first=True)
    cell: Any = module.cells[0]
    weights = {
        "kernel": (cell.weight_ih, _transposed),
        "recurrent_kernel": (cell.weight_hh, _transposed),
        "bias": (cell.bias_ih, _as_it_is),
        "peephole": (cell.weight_ph, _as_it_is),
    }
    for name, (parameter, turn) in weights.items():
        _set(parameter, turn(given[name]))
    _set(cell.bias_hh, 0 * given["bias"])
    return lambda x: (module(x)[0],), weights


def _haste(job: Job, given: Arrays, constants: Arrays) -> tuple[Forward, Trained]:
    import haste_pytorch

    normalised = job.variant.startswith("layer_norm")
    kind = haste_pytorch.LayerNormLSTM if normalised else haste_pytorch.LSTM
    module = kind(job.features, job.units, batch_first=True)

    def turned(array: np.ndarray) -> np.ndarray:
        """Input, forget, candidate, output to haste's input, candidate, forget, output, or back."""
        i, f, g, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, g, f, o], axis=-1)

    names = {"kernel": "kernel", "recurrent_kernel": "recurrent_kernel", "bias": "bias"}
    if normalised:
        names |= {"gate_scale": "gamma", "cell_scale": "gamma_h", "cell_shift": "beta_h"}
    trained = {}
    for name, its in names.items():
        turn = _as_it_is if name.startswith("cell") else turned
        _set(getattr(module, its), turn(given[name]))
        trained[name] = (getattr(module, its), turn)
    factors = constants.get("recurrent_factors")
    if factors is None:
        return lambda x: (module(x)[0],), trained
    mask = torch.from_numpy(turned(factors))

    def forward(x: Any) -> Sequence[Any]:
        # Its own dropout draws another mask at each call; this is the one that all get.
        dropped = {"recurrent_kernel": module.recurrent_kernel * mask}
        return (torch.func.functional_call(module, dropped, (x,))[0],)

    return forward, trained
