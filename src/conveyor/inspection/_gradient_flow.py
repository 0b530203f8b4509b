"""`gradient_flow(model, x, y)`: how far back in time the gradient of a loss reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..layers._find import Layer
from ._arriving import arriving, loss_of
from ._backward import backward
from ._flow_verdict import Verdict, judge
from ._printed import Printed
from ._run import named, watching
from ._samples import as_samples, as_targets, batches, check_count, take
from ._state_gradients import StateGradients

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class LayerGradientFlow:
    """The gradients that flow back through one call of an LSTM or a GRU.

    Attributes:
        path: of the layer in the model.
        d_hidden_states: (T,) the norm of dL/dh_t, mean over the samples; L the loss of a sample.
        d_cell_states: (T,) likewise of dL/dc_t, with zoneout of c_t before that, as h_t is made of
            it; None for a GRU, which has no cell state.
        d_inputs: (T,) likewise of dL/dx_t, x the input of this layer.
        decay: (T,) how much of the gradient of the cell state, of a GRU of the hidden state, is
            left k steps back from the last one read, decay[0] = 1: geometric mean over the
            samples, and without what arrives at the steps on the way.
        memory_length: the number of steps back at which `decay` falls to 1/e; inf where it does
            not within the sequence.
        verdict: one of "healthy", "vanishes", "explodes", "nothing arrives", with the figures.
        advice: what to try; empty where nothing is wrong.
    """

    path: str
    d_hidden_states: Array
    d_cell_states: Array | None
    d_inputs: Array
    decay: Array
    memory_length: float
    verdict: str
    advice: str


@dataclass(frozen=True)
class GradientFlow(Printed):
    """The gradients through time of each LSTM and GRU of a model; print it, or show it.

    Attributes:
        loss: of the samples, on average.
        layers: a `LayerGradientFlow` by the path of its layer.
    """

    loss: float
    layers: dict[str, LayerGradientFlow]

    def __rich__(self) -> RenderableType:
        table = Table("layer", "memory length, steps", "gradient", box=None, pad_edge=False)
        for path, flow in self.layers.items():
            length = f"{flow.memory_length:.1f}"
            if flow.memory_length == np.inf:
                length = f"more than {np.isfinite(flow.decay).sum() - 1}"
            table.add_row(path, length, Text(flow.verdict))
        advice = {f"{path}: {f.advice}": None for path, f in self.layers.items() if f.advice}
        return Group(f"Loss {self.loss:.4g}", table, *(Text(line) for line in advice))


def gradient_flow(
    model: Layer, x: Any, y: Any = None, *, loss: Any = None, batch_size: int = 32
) -> GradientFlow:
    """Follow the gradient of the loss back through the time steps of every LSTM and GRU.

    dL/dh_t and dL/dc_t are total derivatives: by every way on which the state of step t reaches
    the loss, through all that `conveyor.LSTM` may have beyond the plain one. The model runs as in
    `predict`, without dropout, and is as before afterwards.

    Args:
        model: a model with its weights, of LSTMs or GRUs of conveyor or of Keras.
        x: what the model is called with.
        y: what it should have made of it, as for `fit`.
        loss: a loss of Keras, by name or as a function of (y, what the model makes); by default
            the one that the model was compiled with. It is to be a mean over the samples.
        batch_size: the number of samples to run at a time.

    Returns:
        The norms at each step, the memory length and a verdict for each layer. The time axis is
        that of the user, also for a layer that goes backwards; masked steps are NaN.

    Raises:
        ConveyorError: as `trace` does; no loss; y of another length; a backend without
            gradients.

    Vanishing and exploding gradients: Hochreiter 1991; Bengio, Simard & Frasconi 1994; Pascanu,
    Mikolov & Bengio 2013, whose norms these are.

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((8, 3)), keras.layers.LSTM(4, name="reader")])
    >>> x, y = np.ones((2, 8, 3), "float32"), np.zeros((2, 4), "float32")
    >>> flow = gradient_flow(model, x, y, loss="mse")
    >>> flow.layers["reader"].d_cell_states.shape
    (8,)
    """
    where = "gradient_flow"
    x, samples = as_samples(x, where)
    y = as_targets(y, samples, where)
    check_count(batch_size, "batch_size", where)
    wanted = loss_of(model, loss, where)
    found: dict[str, list[StateGradients]] = {}
    backwards: dict[str, bool] = {}
    total = 0.0
    with watching(model, where) as watched:
        for part in batches(samples, batch_size):
            targets_of_part = None if y is None else take(y, part)
            value, calls = arriving(model, take(x, part), targets_of_part, wanted, watched.records)
            count = part.stop - part.start
            total += value * count
            for path, (record, at_states) in zip(
                named([record for record, _ in calls], watched.paths), calls, strict=True
            ):
                # A mean over the samples of the batch: times their number, it is of each its own.
                own = {name: gradient * count for name, gradient in at_states.items()}
                found.setdefault(path, []).append(backward(record, own))
                backwards[path] = bool(record.layer.go_backwards)
    return GradientFlow(
        total / samples,
        {path: _layer(path, each, backwards[path]) for path, each in found.items()},
    )


def _layer(path: str, each: list[StateGradients], turned: bool) -> LayerGradientFlow:
    counts = np.concatenate([g.counts for g in each])
    d_memory = np.concatenate([_norms(g.memory) for g in each])
    handed_on = np.concatenate([_norms(g.handed_on) for g in each])
    decay = _decay(d_memory, handed_on, counts)
    is_gru = each[0].cell_states is None
    verdict: Verdict = judge(d_memory, decay, counts, is_gru=is_gru)
    in_time = slice(None, None, -1) if turned else slice(None)

    def mean(norms: Array) -> Array:
        return _mean(norms, counts)[in_time]

    return LayerGradientFlow(
        path,
        mean(np.concatenate([_norms(g.hidden_states) for g in each])),
        None if is_gru else mean(d_memory),
        mean(np.concatenate([_norms(g.inputs) for g in each])),
        decay,
        verdict.memory_length,
        verdict.words,
        verdict.advice,
    )


def _norms(gradients: Array) -> Array:
    norms: Array = np.linalg.norm(gradients, axis=-1)
    return norms


def _mean(norms: Array, counts: Array) -> Array:
    """(T,) over the samples that count at a step; NaN where none does."""
    of_step = counts.sum(axis=0)
    total = np.where(counts, norms, 0).sum(axis=0)
    return np.where(of_step > 0, total / np.maximum(of_step, 1), np.nan)


def _decay(norms: Array, handed_on: Array, counts: Array) -> Array:
    """(T,) what is left of the gradient so many steps back that count."""
    samples, steps = norms.shape
    total, seen = np.zeros(steps), np.zeros(steps)
    with np.errstate(divide="ignore", invalid="ignore"):
        for sample in range(samples):
            read = np.flatnonzero(counts[sample])[::-1]
            if len(read) == 0 or not norms[sample, read].any():
                continue
            # From each step that counts to the one before it.
            ratios = np.log(handed_on[sample, read[1:]] / norms[sample, read[:-1]])
            course = np.concatenate([[0.0], np.cumsum(ratios)])
            total[: len(read)] += course
            seen[: len(read)] += 1
        return np.where(seen > 0, np.exp(total / seen), np.nan)
