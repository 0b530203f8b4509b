"""Gates and cell states at every step, which the operator LSTM does not give.

Its hidden states are known. So the gates of all steps are products with the inputs and with the
hidden states one step earlier; only the sum c = f * c' + i * g goes from step to step, in a `Scan`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..convert._gates import ONNX_ORDER
from ._builder import Builder
from ._emit_activations import activate
from ._lstm_node import NodeWeights, rows_of

_FIELDS = {
    "input": "input_gates",
    "forget": "forget_gates",
    "candidate": "candidates",
    "output": "output_gates",
}
INNER = ("cell_states", *_FIELDS.values())


def emit_inner(
    build: Builder,
    cell: Any,
    weights: NodeWeights,
    x: str,
    mask: str | None,
    hidden_states: str,
    before: list[str],
    wanted: list[str],
) -> dict[str, str]:
    """Those of `INNER` that are wanted, (B, T, U), in the order in which the layer reads.

    Args:
        build: the graph.
        cell: of the layer.
        weights: of its node.
        x: (B, T, F), in that order, as all others.
        mask: (B, T), or None.
        hidden_states: (B, T, U); a step that does not count repeats the one before.
        before: names of the states before the first step, "" for zeros.
        wanted: names of states.
    """
    if not wanted:
        return {}
    units = int(cell.units)
    start_h, start_c = (rows_of(build, state, x, units) for state in before)
    first = build("Unsqueeze", start_h, build.integers(1))
    earlier = build("Concat", first, build.at_end(hidden_states, 1, 0, -1), axis=1)
    z = build("Add", _product(build, x, weights.w), _product(build, earlier, weights.r))
    if weights.b:
        # Input and recurrent bias; the second one is zeros.
        bias = build("Squeeze", weights.b, build.integers(0))
        z = build("Add", z, build.at_end(bias, 0, 0, 4 * units))
    parts = build.many("Split", [z, build.integers(*[units] * 4)], 4, "gate", axis=2)
    gates = {}
    for name, part in zip(ONNX_ORDER, parts, strict=True):
        function = cell.activation if name == "candidate" else cell.recurrent_activation
        gates[name] = activate(build, function, part) or part
    counts = None if mask is None else build("Unsqueeze", mask, build.integers(2))
    found = {
        _FIELDS[name]: gate if counts is None else build("Where", counts, gate, build.number(0.0))
        for name, gate in gates.items()
    }
    if "cell_states" in wanted:
        kept = found["forget_gates"]
        if counts is not None:
            kept = build("Where", counts, kept, build.number(1.0))
        added = build("Mul", found["input_gates"], found["candidates"])
        found["cell_states"] = _sums(build, start_c, kept, added)
    return {name: found[name] for name in wanted}


def _product(build: Builder, x: str, weight: str) -> str:
    """x (B, T, F) with a weight (1, 4U, F)."""
    matrix = build("Transpose", build("Squeeze", weight, build.integers(0)), perm=[1, 0])
    return build("MatMul", x, matrix)


def _sums(build: Builder, start: str, kept: str, added: str) -> str:
    """c = kept * c' + added at every step: (B, U) and twice (B, T, U) to (B, T, U)."""
    helper = build.onnx.helper

    def value(hint: str) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype("float32"))
        return helper.make_tensor_value_info(build.name(hint), kind, None)

    before, f, a, after, row = map(value, ("c_before", "c_kept", "c_added", "c", "c_row"))
    rest = build.name("c_rest")
    nodes = [
        helper.make_node("Mul", [f.name, before.name], [rest]),
        helper.make_node("Add", [rest, a.name], [after.name]),
        helper.make_node("Identity", [after.name], [row.name]),
    ]
    body = helper.make_graph(nodes, build.name("cell_state_step"), [before, f, a], [after, row])
    _, cell_states = build.many(
        "Scan",
        [start, kept, added],
        2,
        "cell_states",
        body=body,
        num_scan_inputs=2,
        scan_input_axes=[1, 1],
        scan_output_axes=[1],
    )
    return cell_states
