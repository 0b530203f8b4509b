"""ONNX: its operator LSTM as a layer."""

from ._load import load_lstm as load_lstm

__all__ = ["load_lstm"]
