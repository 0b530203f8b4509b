"""What the extra `seq2seq` installs, imported where it is used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType, SimpleNamespace


def yaml() -> ModuleType:
    """PyYAML."""
    return _module("yaml", "PyYAML", "Settings in YAML are read and written")


def sacrebleu_metrics() -> ModuleType:
    """BLEU and chrF of sacrebleu."""
    return _module("sacrebleu.metrics", "sacrebleu", "BLEU and chrF are computed")


def tensorboard() -> SimpleNamespace:
    """Of tensorboard, what event files are made of; it needs no TensorFlow."""
    purpose = "Files for TensorBoard are written"
    proto = "tensorboard.compat.proto"
    events = _module(f"{proto}.event_pb2", "tensorboard", purpose)
    summaries = _module(f"{proto}.summary_pb2", "tensorboard", purpose)
    writer = _module("tensorboard.summary.writer.record_writer", "tensorboard", purpose)
    return SimpleNamespace(
        Event=events.Event,
        SessionLog=events.SessionLog,
        Summary=summaries.Summary,
        RecordWriter=writer.RecordWriter,
    )


def sentencepiece() -> ModuleType:
    """sentencepiece."""
    return _module("sentencepiece", "sentencepiece", "Texts are split into subwords")


def chatterbot_corpus() -> ModuleType:
    """chatterbot-corpus: data only."""
    purpose = "Conversations in many languages are brought"
    return _module("chatterbot_corpus", "chatterbot-corpus", purpose, extra="chatterbot")


def _module(name: str, package: str, purpose: str, extra: str = "seq2seq") -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{purpose} by the package {package}; it is not installed.\n"
            f'Write pip install "conveyor[{extra}]".'
        ) from error
