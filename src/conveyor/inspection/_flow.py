"""What goes into an LSTM or a GRU, what becomes of its shape, and what comes out: as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .._vocabulary import AnyStateName
from ..layers._find import Direction, Shape
from ..layers._variant import PLAIN, CellVariant, weight_shapes


@dataclass(frozen=True)
class Returned:
    """One tensor that the layer returns.

    Attributes:
        name: which state it is, in the words of conveyor.
        shape: (B, T, U) or (B, U); `None` where any number goes.
        because: the argument that asked for it, `return_sequences=True` or `outputs=...`.
    """

    name: AnyStateName
    shape: Shape
    because: str


@dataclass(frozen=True)
class LayerFlow:
    """The flow of data through one LSTM or GRU, in numbers.

    Attributes:
        name: the path of the layer below the model, `encoder` or `bidirectional/forward_lstm`.
        class_name: the class as the user writes it, `conveyor.LSTM` or `keras.layers.GRU`.
        direction: which way it reads the time steps.
        merge_mode: how Bidirectional joins it with the other direction; `None` outside of one.
        time_steps: T, `None` where the layer takes any number of steps.
        features: F, the length of x_t.
        units: U, the length of the hidden state, and of the cell state of an LSTM.
        use_bias: whether the gates have a bias.
        activation: the name of the function on the candidate and on the way to h, `tanh`.
        recurrent_activation: the name of the function on the gates, `sigmoid`.
        returned: what the layer returns, in order.
        outputs: the names given as `outputs=`; `None` where Keras's two flags decide.
        dtype: of the states, as the layer computes them.
        learned_states: whether the states before the first step are weights.
        in_stack: whether it is one layer and direction of a `conveyor.LSTM` of several.
        variant: what it has beyond the plain LSTM.
        output_activation: the name of the function on the way to h; None for `activation`.
        reset_after: which of its two candidates a GRU has; None for an LSTM.
    """

    name: str
    class_name: str
    direction: Direction
    merge_mode: str | None
    time_steps: int | None
    features: int
    units: int
    use_bias: bool
    activation: str
    recurrent_activation: str
    returned: tuple[Returned, ...]
    outputs: tuple[AnyStateName, ...] | None
    dtype: str = "float32"
    learned_states: bool = False
    in_stack: bool = False
    variant: CellVariant = PLAIN
    output_activation: str | None = None
    reset_after: bool | None = None

    @property
    def is_gru(self) -> bool:
        """Whether it is a GRU."""
        return self.reset_after is not None

    @property
    def gates(self) -> int:
        """How many the kernels hold, the candidate among them."""
        return 3 if self.is_gru else self.variant.gates

    @property
    def hidden_size(self) -> int:
        """The length of the hidden state: U, or that of the projection."""
        return self.units if self.variant.projection is None else self.variant.projection

    @property
    def joined(self) -> int:
        """The length of [h_{t-1}, x_t], which every gate reads: U + F."""
        return self.hidden_size + self.features

    @property
    def kernel_shape(self) -> tuple[int, int]:
        """(F, 4U), as Keras stores it: input, forget, candidate, output.

        Of a GRU (F, 3U): update, reset, candidate.
        """
        return self.features, self.gates * self.units

    @property
    def recurrent_kernel_shape(self) -> tuple[int, int]:
        """(U, 4U), likewise."""
        return self.hidden_size, self.gates * self.units

    @property
    def bias_shape(self) -> tuple[int, ...] | None:
        """(4U,), likewise, of a GRU with `reset_after` (2, 3U); `None` without bias."""
        return self._bias_shape(self.gates * self.units)

    @property
    def gate_weight_shape(self) -> tuple[int, int]:
        """(U, U + F): W of one gate as articles write it, applied to [h_{t-1}, x_t]."""
        return self.units, self.joined

    @property
    def gate_bias_shape(self) -> tuple[int, ...] | None:
        """(U,): b of one gate, of a GRU with `reset_after` (2, U); `None` without bias."""
        return self._bias_shape(self.units)

    def _bias_shape(self, size: int) -> tuple[int, ...] | None:
        if not self.use_bias:
            return None
        return (2, size) if self.reset_after else (size,)

    @property
    def more_weights(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the weights beyond the plain LSTM, in the order in which they are kept."""
        return weight_shapes(self.variant, self.units)

    @property
    def parameters(self) -> int:
        """4 * ((U + F) * U + U), without the last U where there is no bias, and what is beyond.

        And 2 * U where the states before the first step are learned. A GRU has 3 for 4, U for
        2 * U, and with `reset_after` the last U twice.
        """
        gates = self.gates * self.joined * self.units + math.prod(self.bias_shape or (0,))
        more = sum(math.prod(shape) for shape in self.more_weights.values())
        learned = self.hidden_size + (0 if self.is_gru else self.units)
        return gates + more + learned * self.learned_states
