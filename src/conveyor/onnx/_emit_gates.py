"""Gates and cell states at every step, which the operator LSTM does not give.

Its hidden states are known. So the gates of all steps are products with the inputs and with the
hidden states one step earlier; only the sum c = f * c' + i * g goes from step to step, in a `Scan`.
"""

from __future__ import annotations

from typing import Any

from ..convert._gates import ONNX_ORDER
from ._builder import Builder
from ._emit_activations import activate
from ._lstm_node import NodeWeights, rows_of
from ._over_time import over_time

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

    def step(before: list[str], rows: list[str]) -> tuple[list[str], list[str]]:
        after = build("Add", build("Mul", rows[0], before[0]), rows[1])
        return [after], [after]

    rows = {kept: "float32", added: "float32"}
    return over_time(build, step, [start], rows, "cell_states")[1][0]
