"""Weights of LSTMs and GRUs from one framework to another, each conversion run on both sides.

from conveyor import convert

lstm = convert.to_torch(layer)                   # Keras -> torch.nn.LSTM
model = convert.to_keras("weights.pt")           # and back
convert.save(layer, "weights.safetensors")       # with gate order, bias form and sizes in it
"""

from ._convert import save as save
from ._convert import to_block_lstm as to_block_lstm
from ._convert import to_flax as to_flax
from ._convert import to_haste as to_haste
from ._convert import to_keras as to_keras
from ._convert import to_onnx as to_onnx
from ._convert import to_torch as to_torch
from ._convert import weights_of as weights_of
from ._gru_weights import GRUCellWeights as GRUCellWeights
from ._gru_weights import GRUWeights as GRUWeights
from ._haste import HasteLSTM as HasteLSTM
from ._tensorflow import BlockLSTM as BlockLSTM
from ._weights import CellWeights as CellWeights
from ._weights import LSTMWeights as LSTMWeights

__all__ = [
    "BlockLSTM",
    "CellWeights",
    "GRUCellWeights",
    "GRUWeights",
    "HasteLSTM",
    "LSTMWeights",
    "save",
    "to_block_lstm",
    "to_flax",
    "to_haste",
    "to_keras",
    "to_onnx",
    "to_torch",
    "weights_of",
]
