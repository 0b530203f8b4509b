"""LSTMSequence in OpenVINO."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from .._job import Job, arrays
from .._peers import Peer
from . import _versions
from ._ready import Arrays, Ready

_GATES = (1, 0, 2, 3)  # OpenVINO's order, forget, input, candidate, output, in Keras's


def versions() -> dict[str, str]:
    """Of OpenVINO."""
    return _versions.of("openvino")


def prepare(job: Job, peer: Peer, *, threads: int, engine: str) -> Ready:
    """The job, compiled for latency; arrays stay float32, bfloat16 is how it computes."""
    given = arrays(job)
    compiled = ov.Core().compile_model(
        _model(job, given),
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "bf16" if job.dtype == "bfloat16" else "f32",
        },
    )
    request = compiled.create_infer_request()
    if job.mode == "stream":
        return _stream(job, request, given["x"])
    request.set_input_tensor(0, _tensor(given["x"]))

    def run() -> Any:
        request.infer()
        return request

    def values(request: Any) -> Arrays:
        return {"hidden_states": request.get_output_tensor(0).data.copy()}

    return Ready(run, values)


def _tensor(values: np.ndarray) -> Any:
    tensor = ov.Tensor(np.float32, values.shape)
    tensor.data[:] = values
    return tensor


def _reordered(values: np.ndarray) -> Any:  # (..., 4U) -> (1, 4U, ...)
    gates = np.split(values, 4, axis=-1)
    return ops.constant(np.concatenate([gates[n] for n in _GATES], axis=-1).T[None].copy())


def _model(job: Job, given: Arrays) -> Any:
    """Batch-major, as LSTMSequence has it; time-major with transpositions took the same time."""
    steps = 1 if job.mode == "stream" else job.time_steps
    x = ops.parameter([job.batch, steps, job.features], np.float32)
    state = [job.batch, 1, job.units]
    parameters = [x]
    if job.mode == "stream":
        h, c = (ops.parameter(state, np.float32) for _ in "hc")
        parameters += [h, c]
    else:
        h, c = (ops.constant(np.zeros(state, "float32")) for _ in "hc")
    lstm = ops.lstm_sequence(
        x,
        h,
        c,
        ops.constant(np.full(job.batch, steps, "int32")),
        *(_reordered(given[name]) for name in ("kernel", "recurrent_kernel", "bias")),
        job.units,
        "forward",
    )
    if job.mode == "stream":
        return ov.Model([lstm.output(1), lstm.output(2)], parameters, "step")
    return ov.Model([ops.squeeze(lstm.output(0), [1])], parameters, "lstm")


def _stream(job: Job, request: Any, x: np.ndarray) -> Ready:
    """The states go from two tensors to two others and back."""
    rows = [_tensor(x[:, t : t + 1]) for t in range(job.time_steps)]
    zeros = np.zeros((job.batch, 1, job.units), "float32")
    states = [[_tensor(zeros) for _ in "hc"] for _ in range(2)]

    def run() -> Any:
        read, written = states
        for state in read:
            state.data[:] = 0
        for row in rows:
            request.set_input_tensor(0, row)
            request.set_input_tensor(1, read[0])
            request.set_input_tensor(2, read[1])
            request.set_output_tensor(0, written[0])
            request.set_output_tensor(1, written[1])
            request.infer()
            read, written = written, read
        return read[0].data[:, 0].copy()

    return Ready(run, lambda hidden_state: {"hidden_state": hidden_state}, parts=job.time_steps)
