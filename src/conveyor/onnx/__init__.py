"""ONNX: models as files of one LSTM node a layer, and such nodes as layers."""

from ._export import export as export
from ._load import load_lstm as load_lstm

__all__ = ["export", "load_lstm"]
