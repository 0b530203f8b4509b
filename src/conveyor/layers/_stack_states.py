"""The states that a stack is given: Keras's flat list, or torch's pair of stacked arrays."""

from __future__ import annotations

from typing import Any

from .._errors import ConveyorError, lesson


def pairs_of(states: Any, batch: int | None, cells: list[Any], where: str) -> list[list[Any]]:
    """[hidden_state, cell_state] of each layer and direction, forward before backward.

    Args:
        states: `[h, c, h, c, ...]`, (B, U) each; or the pair of torch, (layers * directions, B, U)
            each.
        batch: B, where it is known.
        cells: those of the stack.

    Raises:
        ConveyorError: anything else.
    """
    count = len(cells)
    if not isinstance(states, (list, tuple)):
        raise _wrong(f"one {type(states).__name__}", batch, cells, where)
    without = [state for state in states if not hasattr(state, "shape")]
    if without:
        raise _wrong(f"{type(without[0]).__name__} among them", batch, cells, where)
    if len(states) == 2 and all(len(state.shape) == 3 for state in states):
        if any(state.shape[0] != count for state in states):
            shapes = " and ".join(str(tuple(state.shape)) for state in states)
            raise _wrong(f"a pair of shapes {shapes}", batch, cells, where)
        pairs = [[state[n] for state in states] for n in range(count)]
    elif len(states) == 2 * count:
        pairs = [list(states[2 * n : 2 * n + 2]) for n in range(count)]
    else:
        raise _wrong(f"{len(states)} tensors", batch, cells, where)
    for cell, pair in zip(cells, pairs, strict=True):
        for state, size in zip(pair, _sizes(cell), strict=True):
            shape = tuple(state.shape)
            batch = shape[0] if batch is None and shape else batch
            if len(shape) != 2 or shape[1] != size or shape[0] not in (None, batch):
                raise _wrong(f"shape {shape} among them", batch, cells, where)
    return pairs


def _sizes(cell: Any) -> tuple[int, int]:
    hidden, memory = cell.state_size
    return int(hidden), int(memory)


def _wrong(got: str, batch: int | None, cells: list[Any], where: str) -> ConveyorError:
    count = len(cells)
    hidden, memory = _sizes(cells[0])
    return lesson(
        where,
        f"the states of {count} LSTMs, one for each layer and direction, forward before backward: "
        f"{2 * count} tensors h, c, h, c, ... of (batch, units) = ({batch}, {hidden}), or the pair "
        f"h_n, c_n of torch, ({count}, {batch}, {hidden}) and ({count}, {batch}, {memory})",
        got,
        "Write first, *states = layer(x) with return_state=True, and then "
        "layer(y, initial_state=states).",
    )
