"""ONNX: models and translators as files of one node a recurrent layer, such nodes as layers."""

from ._export import export as export
from ._export_translator import export_translator as export_translator
from ._load import load_lstm as load_lstm
from ._load_gru import load_gru as load_gru

__all__ = ["export", "export_translator", "load_gru", "load_lstm"]
