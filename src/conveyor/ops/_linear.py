"""What the operations of an output layer refuse, each with the line to write."""

from __future__ import annotations

from typing import Any

from .._engines import Array, glue
from .._errors import lesson
from . import _checks

_SEQUENCES = "Sequences? Write features.reshape(-1, features.shape[-1]), and labels.reshape(-1)."


def check(arrays: dict[str, Any], where: str) -> None:
    """Refuse features, kernel and bias that do not fit each other."""
    _checks.check_arrays({n: a for n, a in arrays.items() if n != "bias" or a is not None}, where)
    for name in ("features", "kernel"):
        if arrays[name] is None:
            raise lesson(where, f"{name} to be an array", "None", f"Write {name}=np.asarray(...).")
    _checks.check_framework(arrays, where)
    features, kernel, bias = (arrays[name] for name in ("features", "kernel", "bias"))
    check_shape(features, "features", (None, None), "(rows, features)", where)
    width = features.shape[1]
    if len(kernel.shape) != 2 or kernel.shape[0] == 0 or kernel.shape[1] not in (width, None):
        raise lesson(
            where,
            f"kernel of shape (classes, {width}), as a keras.layers.Embedding has it",
            f"shape {tuple(kernel.shape)}",
            "Write kernel=keras.ops.transpose(kernel) for the kernel (features, classes) of a "
            "Dense.",
        )
    classes = kernel.shape[0]
    if bias is not None:
        check_shape(bias, "bias", (classes,), f"({classes},), one for each class", where)
    dtype = glue.dtype_name(features)
    _checks.check_floating(dtype, where)
    for name, array in arrays.items():
        its = dtype if array is None else glue.dtype_name(array)
        if its != dtype and not (name == "bias" and its == "float32" and "16" in dtype):
            raise lesson(
                where,
                f"{name} in the dtype of features, {dtype}",
                its,
                f'Write keras.ops.cast({name}, "{dtype}").',
            )


def check_shape(
    array: Array, name: str, wanted: tuple[int | None, ...], axes: str, where: str
) -> None:
    """Refuse an array of another shape; None is any size."""
    shape = tuple(array.shape)
    if len(shape) == len(wanted) and all(
        None in (a, b) or a == b for a, b in zip(shape, wanted, strict=True)
    ):
        return
    raise lesson(where, f"{name} of shape {axes}", f"shape {shape}", _SEQUENCES)
