"""`report(model, x)`: from a model to one HTML page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._errors import ConveyorError, lesson
from ..layers._find import Layer
from ._describe import describe
from ._gradient_flow import gradient_flow
from ._health import health
from ._report_attention import Attention, Hypothesis
from ._report_example import ReportExample
from ._report_page import write_report
from ._search_tree import SearchTree
from ._trace import trace


def report(
    model: Layer,
    x: Any,
    path: str | os.PathLike[str] = "report.html",
    text: Sequence[Sequence[str]] | Mapping[str, Sequence[Sequence[str]]] | None = None,
    *,
    y: Any = None,
    loss: Any = None,
    time: Sequence[Any] | None = None,
    title: str | None = None,
    examples: Sequence[ReportExample] = (),
    summary: Mapping[str, str] | None = None,
    attention: Attention | None = None,
    beams: Sequence[Sequence[Hypothesis]] | None = None,
    searches: Sequence[SearchTree | None] | None = None,
    max_bytes: int = 5_000_000,
) -> Path:
    """Run a model and write one HTML page to explore what its LSTMs and GRUs remembered.

    The page opens offline on a phone or a laptop. It shows every state of every layer and sample
    with its values, each unit over all samples and the passages that drive it most, and finds
    the passages in which the same units are on as in one that you select; then the health of the
    gates, and with `y` how far gradients reach.

    Args:
        model: a model or layer, with its weights, that holds LSTMs or GRUs of conveyor or of
            Keras.
        x: what the model is called with: an array, or arrays in lists or dicts.
        path: the file to write; an older one is replaced.
        text: what stands at each step: for each sample a list of strings, or a string for its
            characters, one for each step or for each step that counts. For layers with time axes
            of their own a dict, path of the layer to such a list.
        y: what the model should have made of `x`, for `gradient_flow`; none is drawn without.
        loss: as in `gradient_flow`, where the model was not compiled with one.
        time: (T,) timestamps or other values for the steps, instead of 1, 2, 3, ...
        title: the heading of the page; the name of the model by default.
        examples: more to say of each sample than its text: what the model wrote, what it should.
        summary: facts for the head of the page, label to text, `{"accuracy": "93.8 %"}`.
        attention: for a sequence-to-sequence model, what it looked at while it wrote.
        beams: for each sample the hypotheses (text, score) that were considered.
        searches: for each sample how the search for its text went, or None.
        max_bytes: how large the file may become. Numbers become less exact first, then gates
            are kept for fewer samples, then the units that vary least are left out; the page
            says which.

    Returns:
        The path of the file.

    Raises:
        ConveyorError: a model without weights or without LSTM and GRU; a text that does not
            fit the steps; y without a loss; examples, attention, beams or searches that do
            not fit the samples.
        OSError: the file cannot be written.

    >>> import keras, numpy as np, tempfile
    >>> model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4, name="reader")])
    >>> x = np.ones((2, 5, 3), "float32")
    >>> path = report(model, x, tempfile.mkdtemp() + "/report.html", text=["hello", "world"])
    >>> "reader" in path.read_text(encoding="utf-8")
    True
    """
    if isinstance(text, str):
        raise lesson(
            "report",
            "text with a list of tokens for each sample",
            f"one text, {text!r}",
            f"Write text=[{text!r}]: a text stands for its characters. For words: text=[{text!r}"
            ".split()].",
        )
    try:
        tree = trace(model, x, tokens=text, time=time)
    except ConveyorError as error:
        if text is not None:
            error.add_note("What trace calls tokens= is text= in report.")
        raise
    return write_report(
        path,
        title=str(model.name) if title is None else title,
        tree=tree,
        examples=examples,
        flows=describe(model),
        summary=summary,
        gradients=None if y is None else gradient_flow(model, x, y, loss=loss),
        health=health(tree),
        attention=attention,
        beams=beams,
        searches=searches,
        max_bytes=max_bytes,
    )
