"""`conveyor.accelerate`: a Keras model with conveyor's LSTM and GRU in place of Keras's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from rich.console import Console
from rich.table import Table

from .. import _engines
from .._errors import lesson
from ._bidirectional import Bidirectional, is_plain
from ._cell import LSTMCell
from ._find import find_recurrent
from ._gru import GRU
from ._gru_cell import GRUCell
from ._keras_layers import run_here, runs_here
from ._known_cells import LOOPS, cells_of, is_gru_cell, why_unknown
from ._lstm import LSTM

_WHERE = "conveyor.accelerate"


@dataclass(frozen=True)
class Replacement:
    """What becomes of one recurrent layer.

    Attributes:
        path: of the layer in the model, `decoder/lstm`.
        was: its class, with the class of its cell where that says more.
        now: "conveyor.LSTM" or "conveyor.GRU"; "its loop" where the class stays and only the loop
            over the time steps runs on conveyor's engines; None where all stays as it is.
        why: why it stays, or why not all of it is replaced; None where it is.
    """

    path: str
    was: str
    now: str | None
    why: str | None = None


def accelerate(model: Any, *, verbose: bool = True) -> Any:
    """Put conveyor's LSTM and GRU in place of Keras's in a model, and say what was replaced.

    The model itself is changed and returned. Its weights are the same variables, and so the
    optimizer's state, names, outputs and the file's layout stay what they are; it may be
    Sequential, functional, subclassed, nested, built or not. `keras.layers.LSTM` and
    `RNN(LSTMCell(...))` become `conveyor.LSTM`, also inside `Bidirectional` and other wrappers,
    so that `outputs=`, traces and streams know them; a `Bidirectional` of them becomes
    `conveyor.Bidirectional`, which runs both at once. Of a class derived from them, and of
    `RNN([LSTMCell(...), ...])`, the loop over the time steps alone is replaced: a file written
    from such a layer holds Keras's own again. A file with `conveyor.LSTM` in it wants
    `import conveyor` before `keras.saving.load_model`.

    So it is with `keras.layers.GRU`, `RNN(GRUCell(...))` and `conveyor.GRU`, and with stacks of
    cells of both kinds, where the native engine computes the GRU.

    `fit`, `predict` and `evaluate` are compiled anew. To go back, load the model's file without
    accelerating it.

    Args:
        model: a Keras model or layer.
        verbose: print what became of each recurrent layer; `acceleration_plan(model)` gives
            the same as values, and changes nothing.

    Returns:
        The model that was given.

    Raises:
        ConveyorError: no Keras model; or a single layer that is to be replaced itself and
            cannot be.

    >>> import keras, conveyor
    >>> model = keras.Sequential([keras.Input((7, 3)), keras.layers.LSTM(4), keras.layers.Dense(1)])
    >>> model = conveyor.accelerate(model, verbose=False)
    >>> type(model.layers[0]) is conveyor.LSTM
    True
    """
    _check_is_model(model)
    found = find_recurrent(model)
    plan = acceleration_plan(model)
    for item, replacement in zip(found, plan, strict=True):
        if replacement.now == _LSTM:
            _become_conveyor(item.layer)
        elif replacement.now == _GRU:
            _become_gru(item.layer)
        elif replacement.now is not None and not runs_here(item.layer):
            run_here(item.layer)
    if any(replacement.now for replacement in plan):
        _run_directions_together(model)
        _forget_compiled(model)
    if verbose:
        _show(model, plan)
    return model


_LSTM, _GRU = "conveyor.LSTM", "conveyor.GRU"
_PLAIN_CELLS = (keras.layers.LSTMCell, LSTMCell, keras.layers.GRUCell, GRUCell)


def acceleration_plan(model: Any) -> tuple[Replacement, ...]:
    """What `accelerate(model)` would do to each recurrent layer; nothing is changed.

    >>> import keras
    >>> layers = keras.layers.LSTM(4, name="a"), keras.layers.SimpleRNN(4, name="b")
    >>> model = keras.Sequential(layers)
    >>> for replacement in acceleration_plan(model):
    ...     print(replacement.path, replacement.now, replacement.why)
    a conveyor.LSTM None
    b None SimpleRNNCell, which is neither an LSTM nor a GRU cell
    """
    _check_is_model(model)
    return tuple(_planned(item.path, item.layer) for item in find_recurrent(model))


def _planned(path: str, layer: Any) -> Replacement:
    was = type(layer).__name__
    if isinstance(layer, (LSTM, GRU)):
        return Replacement(path, f"conveyor.{was}", None, "it is conveyor's already")
    if type(layer) is keras.layers.RNN:
        was = f"RNN({', '.join(type(cell).__name__ for cell in cells_of(layer))})"
    stays = _stays(layer)
    if stays is not None:
        return Replacement(path, was, None, stays)
    keeps = _keeps_its_class(layer)
    becomes = _GRU if is_gru_cell(layer.cell) else _LSTM
    return Replacement(path, was, "its loop" if keeps else becomes, keeps)


def _stays(layer: Any) -> str | None:
    """Why a layer stays what it is altogether."""
    reason = why_unknown(layer)
    if reason is not None:
        return reason
    if getattr(layer, "use_cudnn", "auto") is True:
        return "use_cudnn=True asks for Keras's own kernel"
    for cell in filter(is_gru_cell, cells_of(layer)):
        decision = _engines.expect_gru("auto", cell.activation, cell.recurrent_activation)
        why = decision.passed_over.get("native")
        if why:
            return f"the native engine does not compute {why}"
    return None


def _keeps_its_class(layer: Any) -> str | None:
    """Why a layer cannot become one of conveyor's, while its loop can run here."""
    if type(layer) not in LOOPS:
        return f"{type(layer).__name__} is a class of its own"
    if type(layer.cell) not in _PLAIN_CELLS:
        return f"{type(layer.cell).__name__} is not one plain cell"
    if layer.cell.dtype_policy.name != layer.dtype_policy.name:
        return f"its cell has the dtype {layer.cell.dtype_policy.name}"
    if layer.stateful and not layer.built:
        return "it is stateful, and not built yet"
    return None


def _become_gru(layer: Any) -> None:
    """As `_become_conveyor`."""
    cell, attributes = layer.cell, vars(layer)
    remembered = attributes.pop("states", None)
    use_cudnn = attributes.pop("use_cudnn", "auto")
    object.__setattr__(cell, "__class__", GRUCell)
    object.__setattr__(layer, "__class__", GRU)
    layer._decision = _engines.expect_gru("auto", cell.activation, cell.recurrent_activation)
    _set_beyond_keras(layer, use_cudnn, remembered)


def _become_conveyor(layer: Any) -> None:
    """The same object, with its variables, under another class.

    Whatever refers to the layer goes on to: the graph of a functional model, an attribute of a
    subclassed one, the optimizer. What `LSTM.__init__` sets beyond Keras's is set here.
    """
    cell, attributes = layer.cell, vars(layer)
    remembered = attributes.pop("states", None)
    use_cudnn = attributes.pop("use_cudnn", "auto")
    # Past Keras, which would look for weights in them.
    object.__setattr__(cell, "__class__", LSTMCell)
    object.__setattr__(layer, "__class__", LSTM)
    layer.remat = None
    layer._decision = _engines.expect("auto", cell.activation, cell.recurrent_activation)
    _set_beyond_keras(layer, use_cudnn, remembered)


def _run_directions_together(model: Any) -> None:
    """As `_become_conveyor`, for wrappers around two LSTMs that are conveyor's now."""
    for layer in model._flatten_layers(include_self=True, recursive=True):
        if type(layer) is keras.layers.Bidirectional and is_plain(layer.forward_layer):
            object.__setattr__(layer, "__class__", Bidirectional)


def _set_beyond_keras(layer: Any, use_cudnn: Any, remembered: Any) -> None:
    layer.outputs = None
    layer.engine = "auto"
    layer.initial_state = None
    layer.keras_masks = True
    layer._use_cudnn = use_cudnn
    layer.input_spec = None  # the layer's own errors say more
    layer.supports_jit = not (layer.stateful and keras.backend.backend() == "tensorflow")
    if remembered is not None:
        layer.build_memory(int(remembered[0].shape[0]))
        layer.set_states([keras.ops.convert_to_numpy(state) for state in remembered])


def _forget_compiled(model: Any) -> None:
    """Compiled functions of a model, and of those inside, hold the old layers."""
    for layer in model._flatten_layers(include_self=True, recursive=True):
        if isinstance(layer, keras.Model):
            layer.train_function = layer.test_function = layer.predict_function = None


def _check_is_model(model: Any) -> None:
    if not isinstance(model, keras.layers.Layer):
        raise lesson(
            _WHERE,
            "a Keras model or layer",
            type(model).__name__,
            "Write conveyor.accelerate(model); a file is read by "
            'keras.saving.load_model("model.keras").',
        )


def _show(model: Any, plan: tuple[Replacement, ...]) -> None:
    done = sum(replacement.now is not None for replacement in plan)
    title = f'{_WHERE}: {done} of {len(plan)} recurrent layers of "{model.name}" replaced'
    table = Table("layer", "was", "is", "why")
    for item in plan:
        table.add_row(item.path, item.was, item.now or "as it was", item.why or "")
    console = Console()
    console.print(title, markup=False, highlight=False, soft_wrap=True)
    if plan:
        console.print(table)
