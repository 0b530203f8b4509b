"""`explain(model)`: how data flows through its LSTMs and GRUs, for a terminal and a notebook."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..layers._find import Layer
from ._describe import describe
from ._explanation_html import in_notebook
from ._flow import LayerFlow
from ._printed import Printed
from ._save import save
from ._walkthrough import (
    about_units,
    in_one_line,
    keras_weights,
    memory_of_states,
    notes,
    parameter_sum,
    returned,
    walk,
)


@dataclass(frozen=True)
class Explanation(Printed):
    """The account of every LSTM and GRU in a model: print it, or let a notebook show it.

    Attributes:
        flows: the numbers behind the words, one `LayerFlow` for each.
    """

    flows: tuple[LayerFlow, ...]

    def __rich__(self) -> RenderableType:
        first, *others = self.flows
        if not others:
            return _panel(first)
        # A second walk in full would be a wall of the same words with other numbers.
        said = set(notes(first))
        rest = (_short(flow, [note for note in notes(flow) if note not in said]) for flow in others)
        return Group(_panel(first), "", "The same walk through the other layers:", *rest)

    def _repr_html_(self) -> str:
        """For notebooks: a section a layer, the first one open, each with its drawings."""
        return in_notebook(self.flows)

    def save(self, path: str | os.PathLike[str], *, dark: bool | None = None) -> Path:
        """Write the drawings of all layers, or a page with the text, to a file.

        Args:
            path: `flow.svg` or `flow.png` for the cell of each layer with its numbers and its row
                of time steps; `flow.html` for a page with all that a notebook shows. An older
                file is replaced; folders are made where they are missing. `.png` needs the extra
                `inspect`, and no browser.
            dark: whether the background is dark. Left out, SVG and HTML follow the reader's
                setting, and PNG is light.

        Returns:
            The path of the file.

        Raises:
            ConveyorError: a name with another ending; `.png` without the extra.
            OSError: the file cannot be written.

        >>> import keras, tempfile
        >>> explanation = explain(keras.layers.LSTM(64), (20, 32))
        >>> explanation.save(f"{tempfile.mkdtemp()}/flow.svg").name
        'flow.svg'
        """
        return save(self.flows, path, dark)


def explain(
    model_or_layer: Layer, input_shape: tuple[int | None, ...] | None = None
) -> Explanation:
    """Walk one sample through the LSTMs and GRUs of a model, with the model's own numbers.

    Args:
        model_or_layer: an LSTM or GRU of Keras or of conveyor, a Bidirectional, or a model that
            holds some at any depth.
        input_shape: `(time_steps, features)`, one sample without the batch, for a layer that
            has seen no input yet. `None` as time_steps means any number of steps.

    Returns:
        What `print` shows as text and a notebook as a picture; `.flows` has the numbers.

    Raises:
        ConveyorError: as `describe` does, with the line to write.

    >>> import keras
    >>> print(explain(keras.layers.LSTM(64, name="lstm"), (20, 32)))  # doctest: +ELLIPSIS
    ╭─ lstm: keras.layers.LSTM(64) ─...╮
    ...
    │ input         (batch, time_steps, features)  (batch, 20, 32) ...
    │ one step      x_t: (features,)  (32,) ...
    ...
    │ joined        [h, x]: (units + features,)  (96,) ...
    ...
    """
    return Explanation(describe(model_or_layer, input_shape))


def _panel(flow: LayerFlow) -> RenderableType:
    steps = Table.grid(padding=(0, 2))
    steps.add_column(style="bold", no_wrap=True)
    steps.add_column(no_wrap=True)
    steps.add_column(style="cyan", justify="right", no_wrap=True)
    for step in walk(flow):
        steps.add_row(step.what, Text(step.rule), Text(step.shape))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()
    for place, line in enumerate(returned(flow)):
        facts.add_row("returned" if place == 0 else "", Text(line))
    facts.add_row("parameters", Text(parameter_sum(flow).replace(" = ", "\n= ", 1)))
    facts.add_row("", Text(keras_weights(flow), style="dim"))
    for place, line in enumerate(memory_of_states(flow)):
        facts.add_row("memory" if place == 0 else "", Text(line.replace(" = ", "\n= ", 1)))
    remarks = Table.grid(padding=(0, 1))
    for note in (about_units(flow), *notes(flow)):
        remarks.add_row("•", Text(note))
    return Panel(
        Group(steps, Padding(facts, (1, 0)), remarks),
        title=_title(flow),
        title_align="left",
        padding=(1, 2),
    )


def _title(flow: LayerFlow) -> Text:
    text = Text.assemble((flow.name, "bold"), f": {flow.class_name}({flow.units})")
    return text if flow.direction == "forward" else text.append(", backward")


def _short(flow: LayerFlow, remarks: list[str]) -> RenderableType:
    lines = Table.grid(padding=(0, 1))
    for mark, line in (("", in_one_line(flow)), *(("•", note) for note in remarks)):
        lines.add_row(" ", mark, Text(line))
    return Group("", _title(flow), lines)
