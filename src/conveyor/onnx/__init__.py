"""ONNX: models and translators as files of one LSTM node a layer, and such nodes as layers."""

from ._export import export as export
from ._export_translator import export_translator as export_translator
from ._load import load_lstm as load_lstm

__all__ = ["export", "export_translator", "load_lstm"]
