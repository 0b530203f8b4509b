"""The calls of the native core that a compiled program holds."""

from __future__ import annotations

from typing import Any


def calls_in_jaxpr(jaxpr: Any) -> list[tuple[str, Any]]:
    """The parts of each primitive of the engine, by its name, wherever it stands."""
    import jax

    found = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name.startswith("conveyor_"):
            found.append((eqn.primitive.name.removeprefix("conveyor_"), eqn.params["parts"]))
        for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                found += calls_in_jaxpr(getattr(inner, "jaxpr", inner))
    return found


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns")


def ops_in_graph(concrete: Any) -> dict[str, list[Any]]:
    """The nodes of each of the two ops of an LSTM, in all functions of a graph of TensorFlow."""
    graph = concrete.graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    return {
        name: [n for n in nodes if n.op == f"Conveyor>Lstm{name}"]
        for name in ("Forward", "Backward")
    }


def requests_of(nodes: list[Any]) -> list[int]:
    """How many requests each node has."""
    return [len(node.attr["given"].list.i) for node in nodes]
