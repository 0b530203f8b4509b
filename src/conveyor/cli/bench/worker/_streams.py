"""conveyor one step at a time: `ops.LSTMStream`, and `conveyor.Stream` by steps and by chunks."""

from __future__ import annotations

from collections.abc import Hashable

import keras
import numpy as np

from .... import ops
from ....layers import GRU, LSTM
from ....streaming import Stream
from .. import _variants
from .._job import Job, arrays
from .._peers import Peer
from ._ready import Ready, variant_arrays

_WEIGHTS: tuple[str, ...] = ("kernel", "recurrent_kernel", "bias")


def prepare(job: Job, peer: Peer, engine: str) -> Ready:
    """The job as the peer does it; the last hidden state."""
    given, names = arrays(job), _WEIGHTS
    if job.variant:
        given, names, _ = variant_arrays(job)
    weights = [given[name] for name in names]
    if peer.name == "conveyor/numpy":
        return _lstm_stream(job, given["x"], weights, engine)
    layer = _layer(job)
    model = keras.Sequential([keras.Input((None, job.features)), layer])
    layer.set_weights(weights)
    stream = Stream(model, engine=engine)
    sessions: list[Hashable] = list(range(job.batch))
    x = given["x"]
    steps = np.ascontiguousarray(x.swapaxes(0, 1))  # (T, B, F)

    def step() -> np.ndarray:
        if len(sessions) == 1:
            for row in steps[:, 0]:
                y = stream.step(row, session=0)
            return np.asarray(y)[None]
        for rows in steps:
            y = stream.step(rows, session=sessions)
        return np.asarray(y)

    def feed() -> np.ndarray:
        return np.asarray(stream.feed(x, session=sessions))

    run = feed if peer.name.endswith(" feed") else step

    def from_zero() -> np.ndarray:
        for session in stream.sessions:
            stream.reset(session)
        return run()

    return Ready(from_zero, lambda h: {"hidden_state": h}, parts=job.time_steps)


def _layer(job: Job) -> keras.layers.Layer:
    if job.variant == "GRU":
        return GRU(job.units)
    if not job.variant:
        return LSTM(job.units)
    beyond = dict(_variants.STREAMED[job.variant])
    if job.variant == "projection":
        beyond["projection"] = _variants.hidden_size(job)
    return LSTM(job.units, **beyond)


def _lstm_stream(job: Job, x: np.ndarray, weights: list[np.ndarray], engine: str) -> Ready:
    steps = np.ascontiguousarray(x.swapaxes(0, 1))  # (T, B, F)
    stream = ops.LSTMStream(*weights, batch=job.batch, engine=engine)

    def run() -> np.ndarray:
        stream.reset()
        for rows in steps:
            hidden_state = stream.step(rows)
        return np.array(hidden_state)

    return Ready(run, lambda h: {"hidden_state": h}, parts=job.time_steps)
