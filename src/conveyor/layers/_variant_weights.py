"""The weights of an LSTM beyond the plain one, and what training draws for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from .._engines import Array, glue
from .._errors import lesson
from ._variant import Settings, weight_shapes

# As `ops.lstm` calls them, beside the weights of the cell.
_IN_OPS = {
    "peephole": "peephole_kernel",
    "output_kernel": "output_kernel",
    "output_bias": "output_bias",
    "projection_kernel": "projection_kernel",
    "gate_scale": "gate_scale",
    "cell_scale": "cell_scale",
    "cell_shift": "cell_shift",
}
# All others with zeros.
_BEGIN_AS = {"output_kernel": "identity", "gate_scale": "ones", "cell_scale": "ones"}


# Of those `ops.lstm` is given.
_DRAWN = ("recurrent_kernel", "hidden_zoneout", "cell_zoneout")


def drawn_in(call: Mapping[str, Any]) -> dict[str, Any]:
    """What training may have drawn for a call; what it was without, where it has not."""
    return {name: call[name] for name in _DRAWN if name in call}


def in_dtype(weight: Any, dtype: str) -> Any:
    """A weight as a tensor; Keras's cast takes its time where there is nothing to do, too."""
    tensor = ops.convert_to_tensor(weight)
    # Elsewhere it may still be a variable.
    done = glue.active().own(tensor) and glue.dtype_name(tensor) == dtype
    return tensor if done else ops.cast(tensor, dtype)


class WithVariant(Settings):
    """A cell with these weights behind those of Keras, None where it has no use for one."""

    units: int
    use_bias: bool
    compute_dtype: str
    name: str
    kernel: Any
    recurrent_kernel: Any
    bias: Any
    seed_generator: Any
    add_weight: Any

    peephole_kernel: Any = None  # ((gates - 1) * U,): c' into input and forget, c into output gate
    output_kernel: Any = None  # (U, U)
    output_bias: Any = None  # (U,)
    projection_kernel: Any = None  # (U, H)
    gate_scale: Any = None  # (gates * U,), or (2, gates * U) of x W and h' R
    cell_scale: Any = None  # (U,)
    cell_shift: Any = None  # (U,)

    _recurrent_kernel_mask: Any = None

    @property
    def hidden_size(self) -> int:
        """How many numbers the hidden state has: `units`, or those of the projection."""
        return self.units if self.projection is None else int(self.projection)

    def build_kernels(self, features: int) -> None:
        """Kernel, recurrent kernel and bias where Keras's own sizes are not these."""
        cell: Any = self
        width = self.variant.gates * self.units
        shapes = {"kernel": (features, width), "recurrent_kernel": (self.hidden_size, width)}
        for name, shape in shapes.items():
            short = name.removesuffix("_kernel")  # as Keras names what belongs to them
            weight = self.add_weight(
                shape=shape,
                name=name,
                initializer=getattr(cell, f"{short}_initializer"),
                regularizer=getattr(cell, f"{short}_regularizer"),
                constraint=getattr(cell, f"{short}_constraint"),
            )
            setattr(self, name, weight)
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(width,),
                name="bias",
                initializer=self._initial_bias if cell.unit_forget_bias else cell.bias_initializer,
                regularizer=cell.bias_regularizer,
                constraint=cell.bias_constraint,
            )

    def _initial_bias(self, _: Any, *args: Any, **kwargs: Any) -> Array:
        cell: Any = self

        def others(gates: int) -> Array:
            return cell.bias_initializer((gates * self.units,), *args, **kwargs)

        forget = keras.initializers.Ones()((self.units,), *args, **kwargs)
        before = [] if self.coupled else [others(1)]
        return ops.concatenate([*before, forget, others(2)])

    def build_variant(self) -> None:
        """The weights that the arguments ask for."""
        for name, shape in weight_shapes(self.variant, self.units).items():
            initializer: Any = _BEGIN_AS.get(name, "zeros")
            if name == "projection_kernel":
                initializer = self.kernel_initializer  # type: ignore[attr-defined]
                if isinstance(initializer, keras.initializers.Initializer):
                    initializer = initializer.clone()  # which draws other numbers
            setattr(self, name, self.add_weight(shape=shape, name=name, initializer=initializer))

    def variant_for_ops(self, read: Callable[[Any], Any] | None = None) -> dict[str, Any]:
        """The arguments of `ops.lstm` that the plain LSTM leaves out, as they are at inference.

        Args:
            read: from a weight to an array; by default to a tensor in the compute dtype.
        """
        read = read or self.as_computed
        v, (hidden, cell) = self.variant, self.zoneout
        weights = {ours: getattr(self, theirs) for ours, theirs in _IN_OPS.items()}
        return {
            **{n: read(w) for n, w in weights.items() if w is not None},
            "coupled": v.coupled,
            "clip": v.clip,
            "cell_clip": v.cell_clip,
            "hidden_zoneout": hidden,
            "cell_zoneout": cell,
            "output_activation": v.output_activation,
        }

    def as_computed(self, weight: Any) -> Any:
        """A weight in the compute dtype."""
        return in_dtype(weight, self.compute_dtype)

    # Training -------------------------------------------------------------------------

    def drawn(self, given: dict[str, Any], batch: Any, time_steps: Any) -> dict[str, Any]:
        """What training puts in place of some of the arguments of `ops.lstm` for one call."""
        drawn: dict[str, Any] = {}
        mask = self.get_recurrent_kernel_mask()
        if mask is not None:
            drawn["recurrent_kernel"] = given["recurrent_kernel"] * mask
        sizes = (("hidden_zoneout", self.hidden_size), ("cell_zoneout", self.units))
        for (name, size), part in zip(sizes, self.zoneout, strict=True):
            if part:
                shape = (batch, time_steps, size)
                numbers = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
                drawn[name] = numbers < part
        return drawn

    def get_recurrent_kernel_mask(self) -> Any:
        """The factors on the recurrent kernel, the same until `reset_recurrent_dropout_mask()`."""
        rate = self.recurrent_weight_dropout
        if rate and self._recurrent_kernel_mask is None:
            ones = ops.ones(self.recurrent_kernel.shape, self.compute_dtype)
            self._recurrent_kernel_mask = keras.random.dropout(ones, rate, seed=self.seed_generator)
        return self._recurrent_kernel_mask

    # Keras's RNN calls these two before and behind its loop, and so the mask is one for all steps.

    def get_recurrent_dropout_mask(self, step_input: Array) -> Any:
        """Keras's factors on the hidden state."""
        self.get_recurrent_kernel_mask()
        return super().get_recurrent_dropout_mask(step_input)  # type: ignore[misc]

    def reset_recurrent_dropout_mask(self) -> None:
        """Draw anew for the next call."""
        self._recurrent_kernel_mask = None
        super().reset_recurrent_dropout_mask()  # type: ignore[misc]

    def check_can_draw_each_step(self, inputs: Array, where: str) -> None:
        """Refuse zoneout in a loop that JAX compiles: it would be drawn once for all steps."""
        tracing = glue.active().concrete(inputs) is None
        if any(self.zoneout) and tracing and keras.backend.backend() == "jax":
            raise lesson(
                where,
                "a loop that is not compiled for zoneout in training on JAX, as each step draws "
                "anew",
                "a step inside of a compiled one, such as that of keras.layers.RNN",
                "Write conveyor.LSTM(units, zoneout=...), which draws for all steps before its "
                "loop.",
            )
