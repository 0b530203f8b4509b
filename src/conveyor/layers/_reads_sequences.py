"""What the recurrent layers share: masks, lengths and resets at the call, states before it."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops as K

# Keras has no public name for it, and it is not always an attribute: traced arrays of JAX
# cannot have one.
from keras.src.backend import get_keras_mask

from .. import ops
from .._engines import Array, glue
from .._vocabulary import has_time_axis
from ..ops import _checks as ops_checks
from ._initial_state import check_resets_begin_alike
from ._memory import StateMemory


class ReadsSequences:
    """Of (batch, time_steps, features), in either direction."""

    cell: Any
    name: str
    units: int
    go_backwards: bool
    keras_masks: bool
    initial_state: str | None
    outputs: tuple[Any, ...] | None
    compute_dtype: str
    _memory: StateMemory | None

    @property
    def where(self) -> str:
        """What this layer calls itself in an error."""
        return f'{type(self).__name__} "{self.name}"'

    def output_names(self) -> tuple[Any, ...]:
        """The names of what a call returns."""
        raise NotImplementedError

    def compute_mask(self, sequences: Array, mask: Any) -> Any:
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        if mask is not None and self.go_backwards and not self.keras_masks:
            mask = K.flip(mask, axis=1)
        masks = [mask if has_time_axis(name) else None for name in self.output_names()]
        return masks[0] if len(masks) == 1 else masks

    def given_at_call(
        self,
        sequences: Array,
        initial_state: Any,
        mask: Any,
        training: bool | None,
        lengths: Any,
        resets: Any,
    ) -> tuple[Array, dict[str, Any]]:
        """The sequences, and what goes on to `call`: checked, `lengths` as part of the mask."""
        where = self.where
        batch, time_steps = sequences.shape[:2]
        mask = mask[0] if isinstance(mask, (list, tuple)) and hasattr(mask[0], "shape") else mask
        # Keras looks for the mask of the input only where there is no initial state.
        if mask is None and not (self.keras_masks and initial_state is not None):
            mask = get_keras_mask(sequences)
        if mask is not None:
            mask = K.convert_to_tensor(mask) if not hasattr(mask, "shape") else mask
            ops_checks.check_mask(mask, batch, time_steps, where)
        if lengths is not None:
            within = ops.lengths_to_mask(lengths, sequences, where)
            mask = within if mask is None else K.logical_and(K.cast(mask, "bool"), within)
        if resets is not None:
            resets = np.asarray(resets) if not hasattr(resets, "shape") else resets
            ops_checks.check_resets(resets, batch, time_steps, where)
            check_resets_begin_alike(self.initial_state, initial_state, where)
        if "float" not in glue.dtype_name(sequences):
            sequences = K.cast(sequences, self.compute_dtype)
        given = {
            "initial_state": initial_state,
            "mask": mask,
            "training": training,
            "resets": resets,
        }
        return sequences, {name: value for name, value in given.items() if value is not None}

    @property
    def _begins_with_zeros(self) -> bool:
        """Whether no engine needs to see the states that nobody gave."""
        # A class derived from this one may begin with others.
        own = type(self).get_initial_state.__module__.startswith(f"{__package__}.")  # type: ignore[attr-defined]
        return own and self.initial_state is None and self._memory is None

    def _states_before(self, sequences: Array, initial_state: Any) -> list[Array]:
        """What was given, or remembered, or what a sequence begins with; (B, U) each."""
        if initial_state is None:
            batch = sequences.shape[0]
            batch = K.shape(sequences)[0] if batch is None else batch
            if self._memory is not None:
                initial_state = self._memory.read(batch, self.where)
            else:
                initial_state = self.get_initial_state(batch)  # type: ignore[attr-defined]
        return [K.cast(K.convert_to_tensor(s), self.compute_dtype) for s in initial_state]

    def _zero_where_masked(
        self, names: tuple[Any, ...], values: list[Array], mask: Array
    ) -> list[Array]:
        """What is returned, with zeros at masked steps."""
        counts = K.cast(K.flip(mask, axis=1) if self.go_backwards else mask, "bool")

        def zero(name: str, value: Array, first: bool) -> Array:
            if has_time_axis(name):
                return K.where(counts[:, :, None], value, K.zeros_like(value))
            if first and self.outputs is None:
                # To Keras this is the last of the zeroed outputs, not the state.
                return K.where(counts[:, -1:], value, K.zeros_like(value))
            return value

        pairs = zip(names, values, strict=True)
        return [zero(name, value, n == 0) for n, (name, value) in enumerate(pairs)]

    @property
    def implementation(self) -> int:
        """`implementation` of the cell."""
        return int(self.cell.implementation)
