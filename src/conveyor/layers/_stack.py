"""Several LSTMs in one layer: one above the other, in one direction or two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops as K

from .._engines import Array
from .._errors import lesson
from .._vocabulary import AnyStateName, StateName
from . import _stack_states as given_states
from ._recording import recording
from ._stack_arguments import arguments_of_parts, seed_of_part
from ._stack_call import flipped


class ByLayer(Sequence[tuple[Any, ...]]):
    """What there is one of for each layer and direction: `parts[layer][direction]`.

    No tuple of tuples: Keras would write what is in one into files a second time, at a path that
    depends on this class.
    """

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        self._rows = tuple(map(tuple, rows))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, layer: Any) -> Any:
        return self._rows[layer]

    def __repr__(self) -> str:
        return repr(self._rows)

    def flat(self) -> list[Any]:
        """Layer by layer, forward before backward."""
        return [part for row in self._rows for part in row]

    def each(self, function: Callable[[Any], Any]) -> ByLayer:
        """The same for another thing."""
        return ByLayer([[function(part) for part in row] for row in self._rows])


class WithLayers:
    """What a layer of several LSTMs, its parts, does in another way than a single one.

    A part is a `conveyor.LSTM` of one layer and direction. A single LSTM has none.
    """

    cell: Any
    go_backwards: bool
    return_state: bool
    name: str
    output_names: Callable[[], tuple[StateName, ...]]
    # Those of a single LSTM; also of a layer of Keras that became one of these.
    num_layers = 1
    bidirectional = False
    merge_mode: str | None = "concat"
    inter_layer_dropout = 0.0
    parts = ByLayer(())
    stack_name: str | None = None  # of the layer that this is a part of

    @property
    def where(self) -> str:
        """What this layer calls itself in an error."""
        path = self.name if self.stack_name is None else f"{self.stack_name}/{self.name}"
        return f'{type(self).__name__} "{path}"'

    def keep_parts(self, parts: ByLayer, given: dict[str, Any]) -> None:
        """Keep them, and the arguments of the stack."""
        self.num_layers = int(given["num_layers"])
        self.bidirectional = given["bidirectional"]
        self.merge_mode = given["merge_mode"]
        self.inter_layer_dropout = float(given["inter_layer_dropout"])
        if not parts:
            return
        self.parts = parts
        for part in parts.flat():
            part.stack_name = self.name
            setattr(self, part.name, part)  # where Keras finds their weights, also in files
        if self.inter_layer_dropout:
            seed = seed_of_part(given["seed"], len(parts.flat()))
            self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def cells(self) -> ByLayer:
        """The cells, which hold the weights: `cells[layer][direction]`, forward first.

        >>> from conveyor import LSTM
        >>> layer = LSTM(4, num_layers=2, bidirectional=True)
        >>> layer.build((None, None, 3))
        >>> [[tuple(cell.kernel.shape) for cell in row] for row in layer.cells]
        [[(3, 16), (3, 16)], [(8, 16), (8, 16)]]
        >>> layer.cells[1][0].kernel.path.partition("/")[2]
        'layer_1_forward/lstm_cell/kernel'
        """
        return self.parts.each(lambda part: part.cell) if self.parts else ByLayer([[self.cell]])

    def every_state(self, sequences: Array, **call: Any) -> ByLayer:
        """All eight states of every layer and direction: `states[layer][direction][name]`.

        Time axes are in the order of the input (that of the reading with `go_backwards`, or
        without several parts).

        Args:
            sequences, **call: as at the call of the layer.

        Raises:
            ConveyorError: a symbolic input, as of a functional model.

        >>> import numpy as np
        >>> from conveyor import LSTM
        >>> layer = LSTM(4, num_layers=2, bidirectional=True)
        >>> states = layer.every_state(np.ones((2, 5, 3), "float32"))
        >>> len(states), len(states[0]), tuple(states[1][0]["forget_gates"].shape)
        (2, 2, (2, 5, 4))
        """
        if isinstance(sequences, keras.KerasTensor):
            raise lesson(
                f"every_state of {self.where}",
                "an array (batch, time_steps, features)",
                "a symbolic tensor",
                "Call it with data; conveyor.trace(model, x) has the same of every LSTM of a "
                "model. outputs= names what a functional model returns.",
            )
        with recording() as records:
            self(sequences, **call)  # type: ignore[operator]
        states = {id(record.layer): record.states for record in records}
        if not self.parts:
            return ByLayer([[states[id(self)]]])
        return self.parts.each(lambda part: _turned(self, part, states[id(part)]))

    def torch_states(self, states: Any) -> tuple[Array, Array]:
        """States as `torch.nn.LSTM` orders them: h_n and c_n, (layers * directions, B, U) each.

        Args:
            states: the flat list of Keras, `[hidden_state, cell_state]` of each layer and
                direction: what `return_state=True` puts behind the first output. The way back
                is `initial_state=(h_n, c_n)`.

        >>> import numpy as np
        >>> from conveyor import LSTM
        >>> layer = LSTM(4, num_layers=2, bidirectional=True, return_state=True)
        >>> last, *states = layer(np.ones((2, 5, 3), "float32"))
        >>> h_n, c_n = layer.torch_states(states)
        >>> tuple(h_n.shape)
        (4, 2, 4)
        """
        pairs = given_states.pairs_of(states, None, self.cells.flat(), self.where)
        return tuple(K.stack(each) for each in zip(*pairs, strict=True))

    @property
    def initial_hidden_state(self) -> Any:
        """(U,), where it is learned; of several layers or directions, that of each."""
        if not self.parts:
            return self.cell.initial_hidden_state
        return self.cells.each(lambda cell: cell.initial_hidden_state)

    @property
    def initial_cell_state(self) -> Any:
        """(U,), where it is learned; of several layers or directions, that of each."""
        if not self.parts:
            return self.cell.initial_cell_state
        return self.cells.each(lambda cell: cell.initial_cell_state)

    # States -----------------------------------------------------------------------------

    def get_initial_state(self, batch_size: Any) -> list[Array]:
        """The states before the first step: hidden, cell; of each layer and direction."""
        if not self.parts:
            return super().get_initial_state(batch_size)  # type: ignore[misc, no-any-return]
        return [s for part in self.parts.flat() for s in part.get_initial_state(batch_size)]

    @property
    def states(self) -> list[Any] | None:
        """The variables of a stateful layer; None if there are none."""
        if not self.parts:
            return super().states  # type: ignore[misc, no-any-return]
        found = [variable for part in self.parts.flat() for variable in part.states or ()]
        return found or None

    @states.setter
    def states(self, value: None) -> None:
        """Keras's constructor sets it to None; there is nothing to do."""

    @property
    def variables(self) -> list[Any]:
        """The weights, the dropout seeds, and the states of a stateful layer, each once."""
        found: list[Any] = super().variables  # type: ignore[misc]
        return list({id(v): v for v in found}.values()) if self.parts else found

    def get_states(self) -> list[Any]:
        """The states after the last call, hidden then cell, of each layer: NumPy, (B, U) each."""
        if not self.parts:
            return super().get_states()  # type: ignore[misc, no-any-return]
        return [state for part in self.parts.flat() for state in part.get_states()]

    def set_states(self, states: Any) -> None:
        """Begin the next call with these: the flat list, or torch's pair of stacked arrays."""
        if not self.parts:
            super().set_states(states)  # type: ignore[misc]
            return
        parts = self.parts.flat()
        for part in parts:
            part._remembering("set_states()")
        pairs = given_states.pairs_of(states, None, self.cells.flat(), self.where)
        for part, pair in zip(parts, pairs, strict=True):
            part.set_states(pair)

    def reset_state(self, states: Any = None) -> None:
        """Forget the states, or begin the next call with these."""
        if not self.parts or states is not None:
            super().reset_state(states)  # type: ignore[misc]
            return
        for part in self.parts.flat():
            part.reset_state()


def make_parts(kind: type, given: dict[str, Any]) -> ByLayer:
    """The LSTMs of a stack, of this class."""
    return ByLayer([[kind(**each) for each in row] for row in arguments_of_parts(given)])


def _turned(layer: Any, part: Any, states: dict[AnyStateName, Array]) -> dict[AnyStateName, Array]:
    turn = part.go_backwards and not layer.go_backwards
    return {name: flipped(name, s) if turn else s for name, s in states.items()}
