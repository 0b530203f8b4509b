"""The ONNX operator LSTM in ONNX Runtime, its outputs bound so that nothing is copied."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from .._job import Job, arrays
from .._peers import Peer
from . import _versions
from ._ready import Arrays, Ready

_GATES = (0, 3, 1, 2)  # ONNX's order, input, output, forget, candidate, in Keras's


def versions() -> dict[str, str]:
    """Of ONNX Runtime."""
    return _versions.of("onnxruntime")


def prepare(job: Job, peer: Peer, *, threads: int, engine: str) -> Ready:
    """The job as a model of one node: layout 0, the only one that runs on CPU."""
    given = arrays(job)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(
        _model(job, given).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    x = np.ascontiguousarray(given["x"].swapaxes(0, 1))  # (T, B, F)
    if job.mode == "stream":
        return _stream(job, session, x)
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", ort.OrtValue.ortvalue_from_numpy(x))
    binding.bind_output("hidden_states", "cpu")

    def run() -> Any:
        session.run_with_iobinding(binding)
        return binding

    def values(binding: Any) -> Arrays:
        hidden_states = binding.get_outputs()[0].numpy()  # (T, 1, B, U)
        return {"hidden_states": hidden_states[:, 0].swapaxes(0, 1)}

    return Ready(run, values)


def _weights(job: Job, given: Arrays) -> Arrays:
    u = job.units

    def reordered(values: np.ndarray) -> np.ndarray:  # (..., 4U) -> (1, 4U, ...)
        gates = np.split(values, 4, axis=-1)
        return np.concatenate([gates[n] for n in _GATES], axis=-1).T[None].copy()

    bias = reordered(given["bias"])
    return {
        "w": reordered(given["kernel"]),
        "r": reordered(given["recurrent_kernel"]),
        "b": np.concatenate([bias, np.zeros((1, 4 * u), "float32")], axis=1),
    }


def _model(job: Job, given: Arrays) -> onnx.ModelProto:
    steps = 1 if job.mode == "stream" else job.time_steps
    sequence = [steps, job.batch, job.features]
    state = [1, job.batch, job.units]
    one = TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("x", one, sequence)]
    outputs = [helper.make_tensor_value_info("hidden_states", one, [steps, *state])]
    names, results = ["x", "w", "r", "b"], ["hidden_states"]
    if job.mode == "stream":
        inputs += [helper.make_tensor_value_info(name, one, state) for name in ("h", "c")]
        outputs = [helper.make_tensor_value_info(name, one, state) for name in ("h_new", "c_new")]
        names += ["", "h", "c"]
        results = ["", "h_new", "c_new"]
    node = helper.make_node("LSTM", names, results, hidden_size=job.units)
    constants = [numpy_helper.from_array(a, name) for name, a in _weights(job, given).items()]
    graph = helper.make_graph([node], "lstm", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def _stream(job: Job, session: Any, x: np.ndarray) -> Ready:
    """Two bindings, each writing the states that the other reads."""
    rows = [ort.OrtValue.ortvalue_from_numpy(row[None]) for row in x]
    # An OrtValue is a view of the array that it is made from.
    shape = (1, job.batch, job.units)
    states = [
        [ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, "float32")) for _ in "hc"]
        for _ in range(2)
    ]
    bindings = []
    for read, written in (states, states[::-1]):
        binding = session.io_binding()
        binding.bind_ortvalue_input("h", read[0])
        binding.bind_ortvalue_input("c", read[1])
        binding.bind_ortvalue_output("h_new", written[0])
        binding.bind_ortvalue_output("c_new", written[1])
        bindings.append(binding)

    def run() -> Any:
        for t, row in enumerate(rows):
            binding = bindings[t % 2]
            binding.bind_ortvalue_input("x", row)
            session.run_with_iobinding(binding)
        return states[len(rows) % 2][0].numpy()[0].copy()

    return Ready(run, lambda hidden_state: {"hidden_state": hidden_state}, parts=job.time_steps)
