"""`conveyor explain`, `conveyor trace` and `conveyor report`: look into a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from .. import inspection
from .._errors import lesson
from ._model_file import ModelFile, check_is_file, load

Data = Annotated[
    Path,
    typer.Argument(
        help="A file of np.savez: the array x, or one for each input of the model by its name; "
        "and y, where there is one."
    ),
]
Text = Annotated[
    Path | None,
    typer.Option(help="A text file with a line for each sample: tokens, with blanks between."),
]
Characters = Annotated[
    bool, typer.Option("--characters", help="Every character of --text is a token.")
]


def explain(
    model: ModelFile,
    save: Annotated[
        Path | None, typer.Option(help="Write a drawing: flow.svg, flow.html or flow.png.")
    ] = None,
) -> None:
    """Walk one sample through the LSTMs and GRUs of a model, with its own numbers."""
    explanation = inspection.explain(load(model))
    Console().print(explanation)
    if save is not None:
        explanation.save(save)
        typer.echo(f"Drawn: {save}")


def trace(
    model: ModelFile,
    data: Data,
    out: Annotated[Path, typer.Option(help="The Zarr store to write.")] = Path("trace.zarr"),
    text: Text = None,
    characters: Characters = False,
    layer: Annotated[
        list[str] | None, typer.Option(help="Only this layer, by its path; may be repeated.")
    ] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="Only this state; may be repeated.")
    ] = None,
    preactivations: Annotated[
        bool, typer.Option("--preactivations", help="Keep z of each gate as well.")
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Samples at a time; by default as many as fit 128 MiB.", min=1),
    ] = None,
) -> None:
    """Write every state of every LSTM and GRU at every time step to a Zarr store, for xarray."""
    x, _ = read_arrays(data)
    select = {"layers": layer or None, "states": state or None}
    tree = inspection.trace(
        load(model),
        x,
        tokens=_tokens(text, characters),
        select=select,
        preactivations=preactivations,
        to=out,
        batch_size=batch_size,
    )
    for node in tree.subtree:
        if node.data_vars:
            sizes = ", ".join(f"{axis} {size}" for axis, size in node.sizes.items())
            typer.echo(f"{node.path.strip('/')}: {sizes}; {', '.join(node.data_vars)}")
    typer.echo(f'Written: {out}    xarray.open_datatree("{out}", engine="zarr") reads it')


def report(
    model: ModelFile,
    data: Data,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    text: Text = None,
    characters: Characters = False,
) -> None:
    """Write one HTML page on which to explore what the LSTMs and GRUs of a model remember."""
    x, y = read_arrays(data)
    inspection.report(load(model), x, out, text=_tokens(text, characters), y=y)
    typer.echo(f"Written: {out}    open it in a browser")


def read_arrays(path: Path) -> tuple[Any, Any]:
    """The inputs, one array or a dict of them, and the targets."""
    check_is_file(path, "arrays", "np.savez")
    try:
        with path.open("rb") as raw:  # NumPy would leave a damaged file open
            found = np.load(raw, allow_pickle=False)
            arrays = {"x": found} if isinstance(found, np.ndarray) else dict(found)
    except Exception as error:  # of zip, zlib and NumPy
        raise lesson(
            str(path),
            "numbers in a file of np.savez",
            str(error).partition("\n")[0] or type(error).__name__,
            'Write np.savez("data.npz", x=x, y=y).',
        ) from error
    y = arrays.pop("y", None)
    if not arrays:
        raise lesson(
            str(path),
            "an array x",
            f"{'y alone' if y is not None else 'no array'}",
            'Write np.savez("data.npz", x=x, y=y).',
        )
    return (arrays["x"] if list(arrays) == ["x"] else arrays), y


def _tokens(path: Path | None, characters: bool) -> list[list[str]] | None:
    if path is None:
        return None
    lines = path.read_text(encoding="utf-8").splitlines()
    return [list(line) if characters else line.split() for line in lines]
