"""conveyor's LSTM and Keras's own, on whichever framework Keras runs in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from types import ModuleType
from typing import Any

import keras

from .... import ops
from .. import _variants
from .._job import Job, arrays, masking
from .._peers import Peer
from . import _classifier, _streams, _versions
from ._ready import Arrays, Ready, gradients_of, variant_arrays

WEIGHTS = ("kernel", "recurrent_kernel", "bias")
Function = Callable[..., Sequence[Any]]  # (x, *weights) -> outputs


@cache
def _framework() -> ModuleType:
    """`_on_jax` and its like; imported late, as only one of the frameworks may be there."""
    return import_module(f"._on_{keras.backend.backend()}", __package__)


def versions() -> dict[str, str]:
    """Of Keras and its backend."""
    return _versions.of("keras", *_framework().PACKAGES)


def prepare(job: Job, peer: Peer, *, threads: int, engine: str) -> Ready:
    """The job on conveyor's or Keras's layer, whichever the peer is."""
    _framework().limit_threads(threads)
    if job.mode == "fit":
        return _classifier.prepare(job, own=peer.own, engine=engine)
    if job.mode == "stream":
        if peer.own:
            return _streams.prepare(job, peer, engine)
        return _stateful(job)
    framework = _framework()
    given = arrays(job)
    x, cotangent = (framework.array(given[name], job.dtype) for name in ("x", "cotangent"))
    names: tuple[str, ...] = WEIGHTS
    if job.variant:
        given, names, function = _variant(job, engine)
        weights = [framework.array(given[name], job.dtype) for name in names]
        x, cotangent = (framework.array(given[name], job.dtype) for name in ("x", "cotangent"))
    else:
        make = partial(_conveyor, engine=engine) if peer.own else _keras
        function, weights = make(job, given)
    options = {"xla": True} if peer.name.endswith(" xla") else {}
    if job.mode == "inference":
        run = framework.inference(function, x, weights, **options)
        return Ready(run, lambda outputs: _named(job, outputs))
    run = framework.training(function, x, weights, cotangent, **options)
    return Ready(run, lambda both: _named(job, both[0], both[1], names))


def _named(
    job: Job,
    outputs: Sequence[Any],
    gradients: Sequence[Any] = (),
    trained: Sequence[str] = WEIGHTS,
) -> Arrays:
    names = (*job.outputs, *(gradients_of(trained) if gradients else ()))
    to_numpy = _framework().to_numpy
    return {n: to_numpy(a) for n, a in zip(names, (*outputs, *gradients), strict=True)}


def _conveyor(job: Job, given: Arrays, engine: str) -> tuple[Function, list[Any]]:
    array = _framework().array
    masks = {name: array(values, values.dtype.name) for name, values in masking(job).items()}

    def function(x: Any, *weights: Any) -> Sequence[Any]:
        outputs = ops.lstm(x, *weights, **masks, outputs=job.outputs, engine=engine)
        return outputs if len(job.outputs) > 1 else (outputs,)

    return function, [array(given[name], job.dtype) for name in WEIGHTS]


def _variant(job: Job, engine: str) -> tuple[Arrays, tuple[str, ...], Function]:
    """What is beyond the plain LSTM: its arrays, which of them are trained, and the function."""
    given, names, constants = variant_arrays(job)
    array = _framework().array
    fixed = {name: array(values, values.dtype.name) for name, values in constants.items()}
    factors = fixed.pop("recurrent_factors", None)
    options = {**fixed, **_variants.arguments(job.variant), "engine": engine}
    run = ops.gru if job.variant == "GRU" else ops.lstm

    def function(x: Any, *weights: Any) -> Sequence[Any]:
        named = dict(zip(names, weights, strict=True))
        if factors is not None:
            named["recurrent_kernel"] = named["recurrent_kernel"] * factors
        return (run(x, **named, **options, outputs="hidden_states"),)

    return given, names, function


def _keras(job: Job, given: Arrays) -> tuple[Function, list[Any]]:
    layer = keras.layers.LSTM(job.units, return_sequences=True)
    layer.build((job.batch, job.time_steps, job.features))
    layer.set_weights([given[name] for name in WEIGHTS])
    weights = [variable.value for variable in layer.trainable_variables]
    if keras.backend.backend() != "jax":
        # The weights are the layer's own, and the frameworks differentiate them in place.
        return lambda x, *_: (layer(x),), weights
    others = [variable.value for variable in layer.non_trainable_variables]
    return lambda x, *weights: (layer.stateless_call(weights, others, x)[0],), weights


def _stateful(job: Job) -> Ready:
    """`stateful=True`, compiled where that is how the framework runs; steps of (B, 1, F)."""
    given = arrays(job)
    layer = keras.layers.LSTM(job.units, stateful=True)
    layer.build((job.batch, 1, job.features))
    layer.set_weights([given[name] for name in WEIGHTS])
    framework = _framework()
    rows = [framework.array(given["x"][:, t : t + 1], job.dtype) for t in range(job.time_steps)]
    run = framework.stateful(layer, rows)
    return Ready(run, lambda h: {"hidden_state": framework.to_numpy(h)}, parts=job.time_steps)
