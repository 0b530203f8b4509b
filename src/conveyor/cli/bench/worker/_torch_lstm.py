"""torch.nn.LSTM and torch.nn.LSTMCell."""

from __future__ import annotations

from typing import Any

import torch

from .._job import Job, arrays
from .._peers import Peer
from . import _on_torch, _versions
from ._ready import GRADIENTS, Arrays, Ready


def versions() -> dict[str, str]:
    """Of PyTorch."""
    return _versions.of(*_on_torch.PACKAGES)


def prepare(job: Job, peer: Peer, *, threads: int, engine: str) -> Ready:
    """The job on the module of the peer."""
    _on_torch.limit_threads(threads)
    given = arrays(job)
    kind = torch.nn.LSTMCell if peer.name == "torch cell" else torch.nn.LSTM
    module = kind(job.features, job.units)
    if kind is torch.nn.LSTM:
        module.batch_first = job.mode != "stream"
    _set_weights(module, given)
    module = module.to(getattr(torch, job.dtype))
    x, cotangent = (_on_torch.array(given[name], job.dtype) for name in ("x", "cotangent"))
    if job.mode == "stream":
        return _stream(job, module, x)
    weights = list(module.parameters())
    if job.mode == "inference":
        run = _on_torch.inference(lambda x, *_: (module(x)[0],), x, weights)
        return Ready(run, lambda outputs: {"hidden_states": _on_torch.to_numpy(outputs[0])})
    run = _on_torch.training(lambda x, *_: (module(x)[0],), x, weights, cotangent)
    return Ready(run, _values)


def _set_weights(module: torch.nn.Module, given: Arrays) -> None:
    # PyTorch has Keras's order of the gates, the transposed weights, and two biases.
    values = (
        given["kernel"].T,
        given["recurrent_kernel"].T,
        given["bias"],
        0 * given["bias"],
    )
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(value.copy()))


def _values(both: Any) -> Arrays:
    (hidden_states,), (d_x, d_kernel, d_recurrent_kernel, d_bias, _) = both
    gradients = (d_x, d_kernel.T, d_recurrent_kernel.T, d_bias)
    named = {"hidden_states": hidden_states, **dict(zip(GRADIENTS, gradients, strict=True))}
    return {name: _on_torch.to_numpy(array) for name, array in named.items()}


def _stream(job: Job, module: torch.nn.Module, x: torch.Tensor) -> Ready:
    rows = list(x.unbind(1))  # (B, F) each
    cell = isinstance(module, torch.nn.LSTMCell)
    if not cell:
        rows = [row[None] for row in rows]  # sequences of one step

    def run() -> Any:
        state: Any = None
        with torch.inference_mode():
            for row in rows:
                state = module(row, state) if cell else module(row, state)[1]
        return state[0].reshape(job.batch, job.units)

    return Ready(run, lambda h: {"hidden_state": _on_torch.to_numpy(h)}, parts=job.time_steps)
