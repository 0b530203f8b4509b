"""A trace as the files that LSTMVis reads."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import lesson
from .._vocabulary import AnyStateName
from ._extras import extra
from ._kinds import ALL_GATES, ALL_OVER_TIME


def to_lstmvis(trace: Any, path: str | os.PathLike[str]) -> Path:
    """Write a trace as a data folder for LSTMVis.

    The samples follow each other; masked steps are left out. The layers whose steps are those
    of the first one with tokens are written, each with the states that the trace holds.

    Args:
        trace: what `conveyor.trace(model, x, tokens=...)` returned.
        path: the folder to make: `lstm.yml`, `states.h5`, `words.h5` and `words.dict`.

    Returns:
        The path of the folder. Open it with LSTMVis's `lstm_server.py -dir`, given the folder
        above.

    Raises:
        ConveyorError: a trace without tokens or without states over time.
        OSError: the folder cannot be made, or is there.

    Strobelt, Gehrmann, Pfister & Rush 2018, "LSTMVis".

    >>> import keras, numpy as np, tempfile
    >>> from conveyor import trace
    >>> model = keras.Sequential([keras.Input((2, 3)), keras.layers.LSTM(4, name="reader")])
    >>> tree = trace(model, np.ones((1, 2, 3), "float32"), tokens=[["hello", "world"]])
    >>> folder = to_lstmvis(tree, tempfile.mkdtemp() + "/hello")
    >>> sorted(file.name for file in folder.iterdir())
    ['lstm.yml', 'states.h5', 'words.dict', 'words.h5']
    """
    nodes = {node.path.strip("/"): node for node in trace.subtree if "token" in node.coords}
    chosen = {path: _states(node) for path, node in nodes.items() if _states(node)}
    if not chosen:
        raise lesson(
            "to_lstmvis",
            "a trace with tokens and with states over time",
            "one without",
            'Write trace(model, x, tokens=[["mardi", "4", "mars"], ...]).',
        )
    first = next(iter(chosen))
    counts, words = _steps(nodes[first], chosen[first])
    folder = Path(path)
    folder.mkdir(parents=True)
    types = []
    h5py = extra("h5py", "to_lstmvis")
    with h5py.File(folder / "states.h5", "w") as file:
        for layer, (place, names) in enumerate(chosen.items(), start=1):
            node = nodes[place]
            if node["token"].shape != counts.shape or (node["token"].values != words).any():
                continue
            for name in names:
                file[f"{place}/{name}"] = node[name].values[counts].astype("float32")
                types.append(_type(layer, place, name))
    _write_words(folder, words[counts], h5py)
    (folder / "lstm.yml").write_text(_config(trace, types), encoding="utf-8")
    return folder


def _states(node: Any) -> list[AnyStateName]:
    return [name for name in ALL_OVER_TIME if name in node.data_vars]


def _steps(node: Any, names: list[AnyStateName]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(sample, time) where a step counts, and the tokens."""
    return ~np.isnan(node[names[0]].values).all(axis=-1), node["token"].values


def _type(layer: int, place: str, name: AnyStateName) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": name, "layer": layer, "path": f"{place}/{name}"}
    if name in ALL_GATES:  # LSTMVis applies tanh to what is not within -1 to 1
        kind |= {"unsigned": True, "transform": "none"}
    return kind


def _write_words(folder: Path, words: npt.NDArray[Any], h5py: Any) -> None:
    distinct, numbers = np.unique(words, return_inverse=True)
    with h5py.File(folder / "words.h5", "w") as file:
        file["words"] = numbers.astype("int32")
    # A line is a word, a blank and its number: LSTMVis splits at blanks, but knows " ".
    lines = [f"{_visible(str(word))} {n}\n" for n, word in enumerate(distinct)]
    (folder / "words.dict").write_text("".join(lines), encoding="utf-8")


def _visible(word: str) -> str:
    return "".join("␣" if letter.isspace() else letter for letter in word) or "∅"


def _config(trace: Any, types: list[dict[str, Any]]) -> str:
    config = {
        "name": str(trace.attrs.get("model", "model")),
        "description": f"written by conveyor {trace.attrs.get('conveyor', '')}".strip(),
        "files": {"states": "states.h5", "words": "words.h5", "words_dict": "words.dict"},
        "word_sequence": {"file": "words", "path": "words", "dict_file": "words_dict"},
        "states": {"file": "states", "types": types},
    }
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n"  # JSON is YAML
