"""Two LSTMs, one for each direction, in one call of the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops as K

from .._engines import Array, Decision, glue
from ..ops._lstm import lstms_and_decisions
from . import _checks
from ._keras_call import answered_to_keras, asked_by_keras
from ._lstm import LSTM
from ._stack_call import merged


def can_run_both(wrapper: Any, sequences: Array, is_plain: Callable[[Any], bool]) -> bool:
    """Whether the two layers do nothing around their LSTMs that is not done here.

    On a GPU Keras may have one kernel for both.
    """
    layers = (wrapper.forward_layer, wrapper.backward_layer)
    one_width = {layer.dtype_policy.name for layer in layers} == {wrapper.dtype_policy.name}
    plain = one_width and all(map(is_plain, layers))
    return plain and glue.active().why_not_native([sequences]) is None


def run_both(
    wrapper: Any, sequences: Array, initial_state: Any, mask: Any, training: bool | None
) -> Any:
    """What `call` of a `Bidirectional` returns."""
    layers = (wrapper.forward_layer, wrapper.backward_layer)
    half = 0 if initial_state is None else len(initial_state) // 2
    states = (initial_state[:half], initial_state[half:]) if half else (None, None)
    calls = [
        _ask(layer, sequences, before, mask, training)
        for layer, before in zip(layers, states, strict=True)
    ]
    answers = zip(layers, calls, lstms_and_decisions(calls), strict=True)
    (y, *after), (y_reversed, *after_reversed) = (
        _answer(layer, call, *answer) for layer, call, answer in answers
    )
    y, y_reversed = (K.cast(each, wrapper.compute_dtype) for each in (y, y_reversed))
    if wrapper.return_sequences:
        y_reversed = K.flip(y_reversed, axis=1)
    outputs = (*merged(wrapper.merge_mode, [y, y_reversed]), *after, *after_reversed)
    return outputs[0] if len(outputs) == 1 else outputs


def _ask(
    layer: Any, sequences: Array, before: Any, mask: Any, training: bool | None
) -> dict[str, Any]:
    """What the engine is asked for by a layer of conveyor's or of Keras's."""
    if not isinstance(layer, LSTM):
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        return asked_by_keras(layer, sequences, before, mask, bool(training))
    if before is not None:
        batch, sizes = sequences.shape[0], layer.cell.state_size
        _checks.check_initial_state(before, batch, sizes, layer.where)
    x, given = layer.given_at_call(sequences, before, mask, training, None, None)
    return layer.asked(x, before, given.get("mask"), bool(given.get("training")), None)


def _answer(
    layer: Any, call: dict[str, Any], values: Sequence[Array], decision: Decision
) -> tuple[Array, ...]:
    if not isinstance(layer, LSTM):
        return answered_to_keras(layer, call, values, decision)
    returned = layer.answered(call, values, decision)
    return returned if isinstance(returned, tuple) else (returned,)
