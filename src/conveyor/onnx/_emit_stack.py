"""A layer of several LSTMs in two directions: a node for each of its layers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from .._vocabulary import has_time_axis
from ..layers._stack_call import between
from ._builder import Builder, Tensor
from ._emit_bidirectional import emit_bidirectional, joined
from ._emit_lstm import emit_recurrent
from ._lstm_node import Refuse


def emit_stack(
    build: Builder, layer: Any, x: Tensor, initial: list[str], path: str, refuse: Refuse
) -> list[Tensor]:
    """The outputs of a `conveyor.LSTM` with `bidirectional=True`."""

    def refuse_whole(where: str, part: Any, why: str) -> Any:
        return refuse(where, layer, why)

    states: list[Tensor] = []
    for n, row in enumerate(layer.parts):
        top = n == len(layer.parts) - 1
        given = initial[4 * n : 4 * n + 4]
        where = f"{path}/layer_{n}"
        if top and layer.outputs is not None:
            return _named_outputs(build, layer, x, given, where, refuse_whole)
        pair = SimpleNamespace(
            forward_layer=row[0],
            backward_layer=row[1],
            merge_mode=layer.merge_mode if top else between(layer.merge_mode),
            return_sequences=layer.return_sequences or not top,
            return_state=layer.return_state and layer.outputs is None,
        )
        made = emit_bidirectional(build, pair, x, given, where, refuse_whole)
        count = 2 if pair.merge_mode is None else 1
        states += made[count:]
        x = made[0]
    return made[:count] + states


def _named_outputs(
    build: Builder, layer: Any, x: Tensor, initial: list[str], path: str, refuse: Refuse
) -> list[Tensor]:
    """What `outputs=` names, of both directions of the top layer."""
    if build.states:
        raise refuse(path, layer, "whose backward LSTM reads the last step first: no stream has it")
    forward, backward = (
        emit_recurrent(build, part, x, initial[2 * d : 2 * d + 2], f"{path}/{part.name}", refuse)
        for d, part in enumerate(layer.parts[-1])
    )
    found = []
    for name, one, other in zip(layer.outputs, forward, backward, strict=True):
        second = build.turned(other.name) if has_time_axis(name) else other.name
        width = (2 if layer.merge_mode == "concat" else 1) * int(one.shape[-1] or 0)
        values = joined(build, layer.merge_mode, [one.name, second])
        found += [one.named(value, (*one.shape[:-1], width)) for value in values]
    return found
