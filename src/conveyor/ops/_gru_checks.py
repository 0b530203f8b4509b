"""What `ops.gru` refuses beyond what every recurrent layer does."""

from __future__ import annotations

from typing import Any

from .._engines import Array, glue
from .._errors import lesson
from . import _checks
from ._checks import Shape, _fits, _show

# What passed, as in `_checks`.
_passed: set[tuple[Any, ...]] = set()


def check_inputs(
    arrays: dict[str, Array | None],
    mask: Array | None,
    resets: Array | None,
    reset_after: bool,
    where: str,
) -> None:
    """All that types, shapes and dtypes tell of the inputs of `ops.gru`."""
    every = {**arrays, "mask": mask, "resets": resets}
    kind = _kind(every, reset_after)
    if kind in _passed:
        return
    _checks.check_arrays(every, where)
    _checks.check_framework(every, where)
    check_shapes(arrays, reset_after, where)
    _checks.check_dtypes(arrays, where)
    if kind is not None:
        if len(_passed) >= 1024:
            _passed.clear()
        _passed.add(kind)


def _kind(arrays: dict[str, Array | None], reset_after: bool) -> tuple[Any, ...] | None:
    own = glue.active().own
    if not all(a is None or own(a) for a in arrays.values()):
        return None
    kinds = [None if a is None else (type(a), a.shape, a.dtype) for a in arrays.values()]
    return reset_after, *kinds


def check_shapes(arrays: dict[str, Any], reset_after: bool, where: str) -> None:
    """Refuse arrays whose axes do not fit each other."""
    _checks.check_x(tuple(arrays["x"].shape), where)
    batch, _, features = arrays["x"].shape
    recurrent = tuple(arrays["recurrent_kernel"].shape)
    if len(recurrent) != 2 or recurrent[1] != 3 * recurrent[0]:
        raise lesson(
            where,
            "recurrent_kernel of shape (units, 3 * units)",
            f"shape {_show(recurrent)}",
            "Weights of torch.nn.GRU are (3 * units, units), the reset gate before the update "
            "gate: conveyor.convert.to_keras turns them.",
        )
    units = recurrent[0]
    _check_bias(arrays["bias"], units, reset_after, where)
    wanted: dict[str, list[Shape]] = {"kernel": [(features, 3 * units)]}
    for name, width in (("dropout_mask", features), ("recurrent_dropout_mask", units)):
        wanted[name] = [(batch, width), (3, batch, width)]
    for name, shapes in wanted.items():
        array = arrays[name]
        if array is None:
            continue
        shape = tuple(array.shape)
        if not any(len(shape) == len(want) and _fits(shape, want) for want in shapes):
            raise lesson(
                where,
                f"{name} of shape {' or '.join(map(_show, shapes))} "
                f"for {features} features and {units} units",
                f"shape {_show(shape)}",
                "The axes are kernel (features, 3 * units), recurrent_kernel (units, 3 * units).",
            )
    if arrays["hidden_state"] is not None:
        _checks.check_state(arrays["hidden_state"], "hidden_state", batch, units, where)


def _check_bias(bias: Array | None, units: int, reset_after: bool, where: str) -> None:
    shape = None if bias is None else tuple(bias.shape)
    want = (2, 3 * units) if reset_after else (3 * units,)
    if shape is None or (len(shape) == len(want) and _fits(shape, want)):
        return
    other = (3 * units,) if reset_after else (2, 3 * units)
    raise lesson(
        where,
        f"bias of shape {_show(want)} with reset_after={reset_after}",
        f"shape {_show(shape)}",
        f"This one is of reset_after={not reset_after}: write that."
        if shape == other
        else "The biases of the input and of the hidden state: np.stack([b, zeros])."
        if reset_after
        else "One bias for each of the three gates: update, reset, candidate.",
    )
