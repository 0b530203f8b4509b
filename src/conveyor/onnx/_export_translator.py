"""`conveyor.onnx.export_translator`: a translator that runs in ONNX Runtime alone."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from .._errors import lesson
from ._builder import NEXT, Builder
from ._compare import checked, relative, session_of
from ._emit_translator import WHERE, encoder_graph, refused, step_graph
from ._export import check_opset, is_seq2seq, told, write


def export_translator(
    translator: Any,
    directory: str | os.PathLike[str],
    *,
    opset: int = 17,
    verbose: bool = True,
) -> Path:
    """Write a translator as ONNX, with a script that translates without conveyor and Keras.

    | file | what it is |
    |---|---|
    | encoder.onnx | `source` (B, T) to what steps look at, and to the states before the first |
    | decoder_step.onnx | that and `tokens` (B,) to `logits` (B, V), `attention` (B, T), states |
    | translator.json | both vocabularies, and where translations are cut off |
    | translate.py | standard input to standard output, greedily: `python translate.py < texts` |

    The encoder's outputs are the step's inputs, by the same names: `values`, `keys` and `mask` of
    an attention, `lstm.hidden_state`, `lstm.cell_state`, `fed` with input feeding, `coverage`.
    Those that change come out of a step with `.next` behind. The script needs numpy and
    onnxruntime, and sentencepiece for subwords.

    Both graphs are run in ONNX Runtime where it is installed, and compared with the model, before
    anything is written. One that computes in 16 bits is exported, and compared, in float32.

    Args:
        translator: `conveyor.Translator` of one model, or `conveyor.seq2seq.Seq2Seq`.
        directory: made if missing.
        opset: of the operators, see `export`.
        verbose: print the largest difference from the model.

    Returns:
        The directory.

    Raises:
        ConveyorError: what is no translator, or an ensemble; numbers that differ.

    >>> from tempfile import mkdtemp
    >>> from conveyor.seq2seq import Characters, Config, ModelConfig, Seq2Seq
    >>> sizes = ModelConfig(units=8, embedding_size=8, output_size=8)
    >>> letters = Characters("abc")
    >>> model = Seq2Seq(letters, letters, Config(model=sizes))
    >>> written = export_translator(model, mkdtemp(), verbose=False)
    >>> sorted(path.name for path in written.iterdir())
    ['decoder_step.onnx', 'encoder.onnx', 'translate.py', 'translator.json']
    """
    directory = Path(directory)
    check_opset(opset, WHERE)
    model = _in_float32(_one_model(translator))
    encoder = encoder_graph(Builder(opset), model)
    step = step_graph(Builder(opset), model)
    difference = _difference(encoder, step, model)
    directory.mkdir(parents=True, exist_ok=True)
    write(encoder, directory / "encoder.onnx")
    write(step, directory / "decoder_step.onnx")
    search = model.config.search
    described = {
        "source": model.source.to_dict(),
        "target": model.target.to_dict(),
        "max_length_ratio": search.max_length_ratio,
        "max_length_extra": search.max_length_extra,
        "no_repeat_ngram": search.no_repeat_ngram,
    }
    text = json.dumps(described, ensure_ascii=False)
    (directory / "translator.json").write_text(text + "\n", encoding="utf-8")
    script = files(__package__).joinpath("_translate.py").read_text(encoding="utf-8")
    (directory / "translate.py").write_text(script, encoding="utf-8")
    if verbose:
        Console().print(
            f"{WHERE}: {directory}, {told(difference)}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    return directory


def _one_model(translator: Any) -> Any:
    models = getattr(translator, "models", (translator,))
    if not all(map(is_seq2seq, models)):
        raise lesson(
            WHERE,
            "a conveyor.Translator, or a Seq2Seq",
            type(translator).__name__,
            'Write export_translator(Translator.load("model/"), "exported/").',
        )
    if len(models) != 1:
        raise lesson(
            WHERE,
            "a translator of one model",
            f"an ensemble of {len(models)}",
            "Export each model by itself, and average their probabilities.",
        )
    return models[0]


def _in_float32(model: Any) -> Any:
    if model.compute_dtype == "float32":
        return model
    if model.variable_dtype != "float32":
        raise refused(str(model.name), model, f"whose weights are {model.variable_dtype}")
    copy = type(model).from_config({**model.get_config(), "dtype": "float32"})
    copy.set_weights(model.get_weights())
    return copy


def _difference(encoder: Any, step: Any, model: Any) -> float | None:
    """The largest difference over three steps of several sources, one of them empty, and of one."""
    sessions = session_of(encoder), session_of(step)
    if None in sessions:
        return None
    rng = np.random.default_rng(0)
    largest = 0.0
    for lengths in ((5, 2, 0), (1,)):
        within = np.arange(max(lengths)) < np.array(lengths)[:, None]
        source = (rng.integers(1, model.source.size, within.shape) * within).astype("int32")
        memory, state = model.begin(source)
        read = _run(sessions[0], {"source": source.astype("int64")})
        for _ in range(3):
            tokens = rng.integers(1, model.target.size, len(lengths)).astype("int32")
            logits, state, attention = model.step(tokens, memory, state)
            wanted = {"logits": logits, "attention": attention, "fed.next": state.get("fed")}
            wanted["coverage.next"] = state.get("coverage")
            for lstm, (h, c) in zip(model.decoder.lstms, state["lstms"], strict=True):
                wanted |= {f"{lstm.name}.hidden_state.next": h, f"{lstm.name}.cell_state.next": c}
            made = _run(sessions[1], {"tokens": tokens.astype("int64"), **read})
            for name, value in made.items():
                expected = keras.ops.convert_to_numpy(wanted[name])
                largest = max(largest, relative(value, expected))
                if name.endswith(NEXT):
                    read[name.removesuffix(NEXT)] = value
    return checked(largest)


def _run(session: Any, given: dict[str, Any]) -> dict[str, Any]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, given), strict=True))
