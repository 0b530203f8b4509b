"""A translator as two graphs: the encoder, and one step of the decoder.

What the encoder's graph gives is what the step's reads beside the tokens, by the same names; what
goes from step to step comes out with `.next` behind its name.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from .._errors import ConveyorError, lesson
from ._builder import NEXT, Builder, Tensor
from ._emit_activations import activate
from ._emit_bidirectional import emit_bidirectional
from ._emit_lstm import emit_cell, emit_recurrent
from ._lstm_node import to_numpy

WHERE = "conveyor.onnx.export_translator"
_KINDS = ("none", "dot", "general", "concat", "additive")
_FAR_BELOW = -1e9  # to a softmax: never


def encoder_graph(build: Builder, model: Any) -> Any:
    """Tokens (B, T) to what all steps look at, and what goes into the first."""
    config = model.config.model
    if config.attention not in _KINDS:
        raise refused("attention", model.decoder, f"{config.attention}, which has no nodes yet")
    source = build.add_input("source", (None, None), "int64")
    padding = build("Equal", source, build.constant(np.int64(0)), hint="is_padding")
    mask = build("Not", padding, hint="is_token")
    table = build.constant(to_numpy(model.source_embedding.embeddings), "source_embedding")
    size = int(config.embedding_size)
    vectors = Tensor(build("Gather", table, source), (None, None, size), mask)
    states = []
    for lstm in model.encoder.lstms:
        both = isinstance(lstm, keras.layers.Bidirectional)
        emit = emit_bidirectional if both else emit_recurrent
        path = f"encoder/{lstm.name}"
        hidden, *last = (t.name for t in emit(build, lstm, vectors, [], path, refused))
        if both:
            last = [build("Concat", *last[k::2], axis=-1) for k in (0, 1)]
        states.append(last)
        if config.residual and size == config.units:
            hidden = build("Add", hidden, vectors.name)
        vectors, size = vectors.named(hidden, (None, None, config.units)), config.units
    _add_memory(build, model, vectors.name, mask)
    for lstm, (h, c) in zip(model.decoder.lstms, _bridge(build, model, states), strict=True):
        for name, value in (("hidden_state", h), ("cell_state", c)):
            build.add_output(value, f"{lstm.name}.{name}", (None, int(config.units)))
    batch = build("Slice", build("Shape", source), *(build.integers(n) for n in (0, 1, 0)))
    if config.input_feeding:
        shape = build("Concat", batch, build.integers(model.decoder.output_size), axis=0)
        zeros = build("Expand", build.number(0.0), shape)
        build.add_output(zeros, "fed", (None, int(model.decoder.output_size)))
    if config.coverage:
        zeros = build("Expand", build.number(0.0), build("Shape", source))
        build.add_output(zeros, "coverage", (None, None))
    return build.model("encoder")


def _add_memory(build: Builder, model: Any, values: str, mask: str) -> None:
    attention, units = model.decoder.attention, int(model.config.model.units)
    if attention is None:
        return
    build.add_output(values, "values", (None, None, units))
    if hasattr(attention, "to_keys"):
        keys = linear(build, attention.to_keys, values, "attention/keys")
        build.add_output(keys, "keys", (None, None, int(attention.to_keys.units)))
    build.add_output(mask, "mask", (None, None), "bool")


def _bridge(build: Builder, model: Any, states: list[Any]) -> list[tuple[str, str]]:
    config, bridge = model.config.model, model.bridge
    begun = []
    for n in range(config.decoder_layers):
        h, c = states[min(n, len(states) - 1)]
        if config.bridge == "zero":
            h = c = build("Mul", h, build.number(0.0))
        elif config.bridge == "projected":
            h = linear(build, bridge.hidden[n], h, f"bridge/hidden_state_{n + 1}")
            c = linear(build, bridge.cell[n], c, f"bridge/cell_state_{n + 1}")
        begun.append((h, c))
    return begun


def step_graph(build: Builder, model: Any) -> Any:
    """Tokens (B,), memory and states to logits (B, V), attention (B, T) and the next states."""
    config, decoder = model.config.model, model.decoder
    units, width = int(config.units), int(decoder.output_size)
    tokens = build.add_input("tokens", (None,), "int64")
    memory = _memory_inputs(build, decoder, units)
    states = [
        [build.add_input(f"{lstm.name}.{name}", (None, units), "float32") for name in _STATE]
        for lstm in decoder.lstms
    ]
    fed = build.add_input("fed", (None, width), "float32") if config.input_feeding else ""
    covered = build.add_input("coverage", (None, None), "float32") if config.coverage else ""

    table = build.constant(to_numpy(model.target_embedding.embeddings), "target_embedding")
    vectors, size = build("Gather", table, tokens), int(config.embedding_size)
    if fed:
        vectors, size = build("Concat", vectors, fed, axis=-1), size + width
    after: dict[str, tuple[str, int | None]] = {}
    for lstm, before in zip(decoder.lstms, states, strict=True):
        row = build("Unsqueeze", vectors, build.integers(1))
        x, path = Tensor(row, (None, 1, size)), f"decoder/{lstm.name}"
        found = emit_cell(build, lstm.cell, x, before, False, path, refused)
        after |= {f"{lstm.name}.{name}": (found[name], units) for name in _STATE}
        hidden = found["hidden_state"]
        residual = config.residual and size == units
        vectors, size = build("Add", hidden, vectors) if residual else hidden, units
    looked = ""
    if decoder.attention is not None:
        context, looked = _attend(build, decoder.attention, vectors, memory, covered)
        vectors = build("Concat", context, vectors, axis=-1)
    if decoder.combine is not None:
        vectors = linear(build, decoder.combine, vectors, "decoder/combine")
        vectors = build("Tanh", vectors) if decoder.attention is not None else vectors
    if fed:
        after["fed"] = (vectors, width)
    if covered:
        after["coverage"] = (build("Add", covered, looked), None)
    build.add_output(_logits(build, model, vectors, table), "logits", (None, model.target.size))
    if looked:
        build.add_output(looked, "attention", (None, None))
    for name, (value, last) in after.items():
        build.add_output(value, name + NEXT, (None, last))
    return build.model("decoder_step")


_STATE = ("hidden_state", "cell_state")


def _memory_inputs(build: Builder, decoder: Any, units: int) -> dict[str, str]:
    attention = decoder.attention
    if attention is None:
        return {}
    values = build.add_input("values", (None, None, units), "float32")
    keys = values
    if hasattr(attention, "to_keys"):
        keys = build.add_input("keys", (None, None, int(attention.to_keys.units)), "float32")
    return {"values": values, "keys": keys, "mask": build.add_input("mask", (None, None), "bool")}


def _attend(
    build: Builder, attention: Any, hidden: str, memory: dict[str, str], covered: str
) -> tuple[str, str]:
    """Context (B, U) and weights (B, T); the scores are those of `conveyor.seq2seq.Attention`."""
    query = build("Unsqueeze", hidden, build.integers(1))
    bonus = ""
    if covered:
        weight = build.constant(to_numpy(attention.coverage_weight), "attention/coverage")
        bonus = build("Mul", build("Unsqueeze", covered, build.integers(2)), weight)
    if hasattr(attention, "to_queries"):
        inside = linear(build, attention.to_queries, query, "attention/queries")
        inside = build("Add", inside, memory["keys"])
        inside = build("Add", inside, bonus) if bonus else inside
        scores = linear(build, attention.to_scores, build("Tanh", inside), "attention/scores")
    else:
        scores = build("MatMul", memory["keys"], build("Transpose", query, perm=[0, 2, 1]))
        scores = build("Add", scores, bonus) if bonus else scores
    scores = build("Squeeze", scores, build.integers(2))
    scores = build("Where", memory["mask"], scores, build.number(_FAR_BELOW))
    weights = build("Softmax", scores, axis=-1)
    weights = build("Where", memory["mask"], weights, build.number(0.0), hint="weights")
    row = build("Unsqueeze", weights, build.integers(1))
    context = build("MatMul", row, memory["values"])
    return build("Squeeze", context, build.integers(1)), weights


def _logits(build: Builder, model: Any, vectors: str, table: str) -> str:
    if model.to_logits is not None:
        return linear(build, model.to_logits, vectors, "to_logits")
    bias = build.constant(to_numpy(model.logit_bias), "logit_bias")
    return build("Gemm", vectors, table, bias, transB=1)


def linear(build: Builder, dense: Any, x: str, path: str) -> str:
    """What a Dense makes of x."""
    z = build("MatMul", x, build.constant(to_numpy(dense.kernel), f"{path}/kernel"), hint=path)
    if dense.use_bias:
        z = build("Add", z, build.constant(to_numpy(dense.bias), f"{path}/bias"))
    y = activate(build, dense.activation, z)
    if y is None:
        raise refused(path, dense, "with an activation that there is no node for")
    return y


def refused(path: str, layer: Any, why: str) -> ConveyorError:
    """The error that names a part that has no counterpart."""
    return lesson(
        WHERE,
        "parts that ONNX has a counterpart for",
        f'{type(layer).__name__} "{path}", {why}',
        "Translate with conveyor.Translator.",
    )
