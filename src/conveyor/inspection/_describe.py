"""Reads the flow of data from the layers of a model, without building or changing any."""

from __future__ import annotations

from typing import Any

import keras

from .._errors import ConveyorError, lesson
from .._vocabulary import AnyStateName, has_time_axis
from ..layers._find import FoundLSTM, Layer, Shape, accepts_input_shape, find_lstms_and_grus
from ..layers._variant import size_of, variant_of
from ._flow import LayerFlow, Returned
from ._kinds import GRU_KIND, kind_of
from ._walkthrough import parameter_sum


def describe(
    model_or_layer: Layer, input_shape: tuple[int | None, ...] | None = None
) -> tuple[LayerFlow, ...]:
    """The flow of data through every LSTM and GRU of a model, read from the layers themselves.

    Args:
        model_or_layer: an LSTM or GRU of Keras or of conveyor, a Bidirectional, or a model that
            holds some at any depth.
        input_shape: what one sample looks like, without the batch, as in `Input(shape=...)`:
            `(time_steps, features)`, with `None` for any number of steps. Needed only where the
            layer has not seen an input yet; nothing is built by it.

    Returns:
        One `LayerFlow` per LSTM or GRU, each direction of a Bidirectional by itself, in the order
        of the layers.

    Raises:
        ConveyorError: there is none; a layer has not seen its input shape yet; `input_shape`
            disagrees with the layer or cannot be followed; or a layer holds more parameters than
            the formula explains.

    >>> import keras
    >>> flow, = describe(keras.layers.LSTM(64), input_shape=(20, 32))
    >>> flow.joined, flow.gate_weight_shape, flow.parameters
    (96, (64, 96), 24832)
    """
    if not isinstance(model_or_layer, keras.layers.Layer):
        raise lesson(
            "explain",
            "a Keras model or layer",
            type(model_or_layer).__name__,
            "Write explain(conveyor.LSTM(64), input_shape=(20, 32)) to see one at work.",
        )
    if input_shape is not None and not accepts_input_shape(model_or_layer):
        raise lesson(
            f'input_shape of "{model_or_layer.name}"',
            "an LSTM, a GRU, a Bidirectional or a Sequential, through which shapes can be followed",
            f"a {type(model_or_layer).__name__}, which knows its shapes once it is built",
            "Write explain(model), after model.build(...) or after one call on real data.",
        )
    shape = None if input_shape is None else (None, *input_shape)
    found = find_lstms_and_grus(model_or_layer, shape)
    if not found:
        raise lesson(
            "explain",
            "an LSTM or a GRU, or a model with one inside",
            f'the {type(model_or_layer).__name__} "{model_or_layer.name}", which holds none',
            "Write explain(conveyor.LSTM(64), input_shape=(20, 32)) to see one at work.",
        )
    return tuple(_flow(item) for item in found)


def _flow(found: FoundLSTM) -> LayerFlow:
    layer, cell = found.layer, found.layer.cell
    is_gru = kind_of(cell) is GRU_KIND
    time_steps, features = _input_axes(found)
    outputs: tuple[AnyStateName, ...] | None = getattr(layer, "outputs", None)
    flow = LayerFlow(
        name=found.path,
        class_name=class_name(layer),
        direction=found.direction,
        merge_mode=found.merge_mode,
        time_steps=time_steps,
        features=features,
        units=int(cell.units),
        use_bias=bool(cell.use_bias),
        activation=function_name(cell.activation),
        recurrent_activation=function_name(cell.recurrent_activation),
        returned=_read_above(found, time_steps) or _returned(layer, outputs, time_steps),
        outputs=outputs,
        in_stack=found.stack is not None,
        dtype=str(layer.compute_dtype),
        learned_states=getattr(layer, "initial_state", None) == "learned",
        variant=variant_of(cell),
        output_activation=_output_activation(cell),
        reset_after=bool(cell.reset_after) if is_gru else None,
    )
    if layer.built and layer.count_params() != flow.parameters:
        raise lesson(
            _called(found),
            f"{flow.parameters:,} parameters, by {parameter_sum(flow)}",
            f"{layer.count_params():,} in this {flow.class_name}",
            f"It holds more than the three weights of {'a GRU' if is_gru else 'an LSTM'}, so this "
            "account of it would be wrong. Explain the plain one: "
            f"explain(conveyor.{kind_of(cell).name}(...), input_shape=(...)).",
        )
    return flow


def _called(found: FoundLSTM) -> str:
    return f'{kind_of(found.layer.cell).name} "{found.path}"'


def _output_activation(cell: Layer) -> str | None:
    function = variant_of(cell).output_activation
    return None if function is None else function_name(function)


def _input_axes(found: FoundLSTM) -> tuple[int | None, int]:
    """(T, F) of the input, from the build of the layer or from the caller's `input_shape`."""
    shape = found.input_shape
    if shape is not None and (len(shape) != 3 or shape[2] is None):
        raise lesson(
            _called(found),
            "input_shape=(time_steps, features), one sample without the batch",
            f"{shape[1:]}",
            "Write input_shape=(20, 32) for 20 steps of 32 features, or (None, 32) for any "
            "number of steps.",
        )
    if not found.layer.built:
        if shape is None or shape[2] is None:
            raise _not_built(found)
        return shape[1], shape[2]
    features = int(found.layer.cell.kernel.shape[0])
    if shape is None:
        return _built_time_steps(found.layer), features
    if shape[2] != features:
        raise lesson(
            _called(found),
            f"{features} features, for which its weights were made",
            f"input_shape={shape[1:]}",
            f"Write input_shape=({shape[1]}, {features}), or leave input_shape out.",
        )
    return shape[1], features


def _not_built(found: FoundLSTM) -> ConveyorError:
    return lesson(
        _called(found),
        "to know features, the length of one time step x_t",
        "no input so far: the layer is not built",
        "Write explain(layer, input_shape=(20, 32)) for 20 time steps of 32 features each.\n"
        "In a model: begin it with Input(shape=(20, 32)), or call it once on real data, and "
        "then write explain(model).",
    )


def _built_time_steps(layer: Layer) -> int | None:
    """T of the input with which Keras built the layer: where it remembers, and if fixed."""
    config: dict[str, Any] = layer.get_build_config() or {}
    shapes: dict[str, Any] = config.get("shapes_dict") or config
    shape: Shape | None = shapes.get("input_shape") or shapes.get("sequences_shape")
    return None if shape is None else shape[1]


def _returned(
    layer: Layer, outputs: tuple[AnyStateName, ...] | None, time_steps: int | None
) -> tuple[Returned, ...]:
    def returned(name: AnyStateName, because: str) -> Returned:
        return _one_returned(layer, name, time_steps, because)

    if outputs is not None:
        return tuple(returned(name, "outputs=...") for name in outputs)
    first = (
        returned("hidden_states", "return_sequences=True")
        if layer.return_sequences
        else returned("hidden_state", "return_sequences=False")
    )
    if not layer.return_state:
        return (first,)
    states = kind_of(layer.cell).states_of_a_step
    return (first, *(returned(name, "return_state=True") for name in states))


def _one_returned(
    layer: Layer, name: AnyStateName, time_steps: int | None, because: str
) -> Returned:
    steps = (time_steps,) if has_time_axis(name) else ()
    return Returned(name, (None, *steps, size_of(layer, name)), because)


def _read_above(found: FoundLSTM, time_steps: int | None) -> tuple[Returned, ...]:
    """What a layer of a stack hands on to the one above it; nothing for the top one."""
    if found.stack is None or not found.is_below_the_top:
        return ()
    because = f"num_layers={found.stack.num_layers}"
    return (_one_returned(found.layer, "hidden_states", time_steps, because),)


def class_name(layer: Layer) -> str:
    kind: type[Any] = layer.__class__
    package = kind.__module__.partition(".")[0]
    if package == "keras":
        inner = "" if kind.__name__ in ("LSTM", "GRU") else f"({type(layer.cell).__name__})"
        return f"keras.layers.{kind.__name__}{inner}"
    return f"conveyor.{kind.__name__}" if package == "conveyor" else kind.__qualname__


def function_name(function: object) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
