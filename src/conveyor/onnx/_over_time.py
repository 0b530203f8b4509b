"""A loop over time steps: the operator Scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._builder import Builder

# From the states before the step and its rows to the states after it, and what is kept of it.
Step = Callable[[list[str], list[str]], tuple[list[str], list[str]]]


def over_time(
    build: Builder, step: Step, states: list[str], rows: dict[str, str], hint: str
) -> tuple[list[str], list[str]]:
    """The states after the last step, (B, ..), and what all steps keep, (B, T, ..).

    Args:
        build: the graph.
        step: makes the nodes of one step; it may read what is outside of the loop.
        states: names of those before the first step.
        rows: of what a step reads a row of, (B, T, ..): name and dtype.
        hint: of the names.
    """

    def value(dtype: str) -> Any:
        kind = build.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return build.onnx.helper.make_tensor_value_info(build.name(f"{hint}/step"), kind, None)

    before = [value("float32") for _ in states]
    read = [value(dtype) for dtype in rows.values()]
    outside, build.nodes = build.nodes, []
    after, kept = step([v.name for v in before], [v.name for v in read])
    # Of their own: one value cannot be two outputs.
    outputs = [value("float32") for _ in (*after, *kept)]
    for made, output in zip((*after, *kept), outputs, strict=True):
        build.nodes.append(build.onnx.helper.make_node("Identity", [made], [output.name]))
    body = build.onnx.helper.make_graph(
        build.nodes, build.name(f"{hint}/body"), [*before, *read], outputs
    )
    build.nodes = outside
    found = build.many(
        "Scan",
        [*states, *rows],
        len(outputs),
        hint,
        body=body,
        num_scan_inputs=len(rows),
        scan_input_axes=[1] * len(rows),
        scan_output_axes=[1] * len(kept),
    )
    return found[: len(states)], found[len(states) :]
