"""Several LSTMs in one layer: one above the other, in one direction or two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import ops as K

from .._engines import Array
from .._errors import lesson
from .._vocabulary import StateName, has_time_axis
from . import _stack_states as given_states
from ._recording import recording
from ._stack_arguments import arguments_of_parts, seed_of_part


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
    where: str
    output_names: Callable[[], tuple[StateName, ...]]
    # Those of a single LSTM; also of a layer of Keras that became one of these.
    num_layers = 1
    bidirectional = False
    merge_mode: str | None = "concat"
    inter_layer_dropout = 0.0
    parts = ByLayer(())

    def make_parts(self, parts: ByLayer, given: dict[str, Any]) -> None:
        """Keep them, and the arguments of the stack."""
        self.num_layers = int(given["num_layers"])
        self.bidirectional = given["bidirectional"]
        self.merge_mode = given["merge_mode"]
        self.inter_layer_dropout = float(given["inter_layer_dropout"])
        if not parts:
            return
        self.parts = parts
        for part in parts.flat():
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
        >>> [[cell.kernel.shape for cell in directions] for directions in layer.cells]
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


def parts_of(kind: type, given: dict[str, Any]) -> ByLayer:
    """The LSTMs of a stack, of this class."""
    return ByLayer([[kind(**each) for each in row] for row in arguments_of_parts(given)])


# The call -----------------------------------------------------------------------------------


def run(
    layer: Any, sequences: Array, initial_state: Any, mask: Any, training: bool, resets: Any
) -> Any:
    """What the whole returns; a mask goes through all layers."""
    cells = layer.cells.flat()
    pairs: Iterator[Any] = iter(
        [None] * len(cells)
        if initial_state is None
        else given_states.pairs_of(initial_state, sequences.shape[0], cells, layer.where)
    )
    x, states = sequences, []
    for n, row in enumerate(layer.parts):
        top = n == len(layer.parts) - 1
        returned = []
        for part in row:
            values = part.call(x, next(pairs), mask, training, resets)
            names = part.output_names()
            values = [values] if len(names) == 1 else list(values)
            if layer.return_state and layer.outputs is None:
                states += values[-2:]
            if part.go_backwards and not (top and layer.go_backwards):
                values = [_flip_time(a, b) for a, b in zip(names, values, strict=True)]
            returned.append(values)
        if not top:
            x = merged(between(layer.merge_mode), [values[0] for values in returned])[0]
            x = _dropped(layer, x) if training and layer.inter_layer_dropout else x
    count = len(layer.outputs) if layer.outputs is not None else 1
    outputs = [
        value
        for each in list(zip(*returned, strict=True))[:count]
        for value in merged(layer.merge_mode, list(each))
    ]
    outputs += states
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def between(merge_mode: str | None) -> str:
    """How the layer above reads two directions: None is for what the whole returns."""
    return merge_mode or "concat"


def merged(merge_mode: str | None, directions: list[Array]) -> list[Array]:
    """One array of the two directions, or both."""
    if len(directions) == 1 or merge_mode is None:
        return directions
    if merge_mode == "concat":
        return [K.concatenate(directions, axis=-1)]
    forward, backward = directions
    if merge_mode == "mul":
        return [forward * backward]
    return [forward + backward if merge_mode == "sum" else (forward + backward) / 2]


def _dropped(layer: Any, x: Array) -> Array:
    rate = layer.inter_layer_dropout
    if rate == 1:  # where one over what is kept is no number
        return K.zeros_like(x)
    return keras.random.dropout(x, rate, seed=layer.seed_generator)


def _flip_time(name: str, value: Array) -> Array:
    return K.flip(value, axis=1) if has_time_axis(name) else value


def _turned(layer: Any, part: Any, states: dict[StateName, Array]) -> dict[StateName, Array]:
    turn = part.go_backwards and not layer.go_backwards
    return {name: _flip_time(name, s) if turn else s for name, s in states.items()}


# Shapes -------------------------------------------------------------------------------------


def shapes(layer: Any, sequences_shape: Any) -> list[tuple[Any, ...]]:
    """The shapes of what each part reads, layer by layer; at the end that of the whole's output."""
    read = [tuple(sequences_shape)]
    for row in layer.parts:
        every = [_shapes_of(part, read[-1]) for part in row]
        width = merged_width(between(layer.merge_mode), [s["hidden_states"][-1] for s in every])
        read.append((*read[-1][:2], width))
    return read


def merged_width(merge_mode: str | None, widths: list[int]) -> int:
    """The last axis of two directions joined."""
    return sum(widths) if merge_mode == "concat" else widths[0]


def _shapes_of(part: Any, sequences_shape: Any) -> dict[StateName, tuple[Any, ...]]:
    """Of what a part returns, and of its hidden states."""
    names = part.output_names()
    found = part.compute_output_shape(sequences_shape)
    named = dict(zip(names, [found] if len(names) == 1 else found, strict=True))
    width = part.cell.state_size[0]
    return {"hidden_states": (*sequences_shape[:2], width), **named}


def output_shape(layer: Any, sequences_shape: Any) -> Any:
    """What `compute_output_shape` gives."""
    read = shapes(layer, sequences_shape)
    batch = sequences_shape[0]
    every = [_shapes_of(part, read[-2]) for part in layer.parts[-1]]
    names = layer.parts[-1][0].output_names()
    first = names if layer.outputs is not None else names[:1]
    found = []
    for name in first:
        each = [shape[name] for shape in every]
        if layer.merge_mode is None:
            found += each
        else:
            width = merged_width(layer.merge_mode, [shape[-1] for shape in each])
            found.append((*each[0][:-1], width))
    if layer.return_state and layer.outputs is None:
        found += [(batch, size) for cell in layer.cells.flat() for size in cell.state_size]
    return found[0] if len(found) == 1 else tuple(found)


def output_names(layer: Any) -> tuple[StateName, ...]:
    """The names of what the whole returns, one for each tensor."""
    names = layer.parts[-1][0].output_names()
    first = names if layer.outputs is not None else names[:1]
    twice = 2 if layer.bidirectional and layer.merge_mode is None else 1
    found = tuple(name for name in first for _ in range(twice))
    if layer.return_state and layer.outputs is None:
        found += names[1:] * len(layer.parts.flat())
    return found


def build(layer: Any, sequences_shape: Any) -> None:
    """Make the weights of every part."""
    for row, shape in zip(layer.parts, shapes(layer, sequences_shape), strict=False):
        for part in row:
            if not part.built:
                part.build(shape)


def explain_engine(layer: Any) -> str:
    """Which engine ran each part."""
    told = {part.name: part.explain_engine() for part in layer.parts.flat()}
    if len(set(told.values())) == 1:
        return str(next(iter(told.values())))
    return "\n".join(f"{name}: {engine}" for name, engine in told.items())
