"""The LSTM, the GRU, and the loss of a translator, as pure functions of arrays."""

from ._gru import check_gru_outputs as check_gru_outputs
from ._gru import gru as gru
from ._lengths import lengths_to_mask as lengths_to_mask
from ._linear_cross_entropy import linear_cross_entropy as linear_cross_entropy
from ._linear_top_k import linear_top_k as linear_top_k
from ._lstm import lstm as lstm
from ._lstm_step import lstm_step as lstm_step
from ._outputs import check_outputs as check_outputs
from ._stream import LSTMStream as LSTMStream

__all__ = [
    "LSTMStream",
    "check_gru_outputs",
    "check_outputs",
    "gru",
    "lengths_to_mask",
    "linear_cross_entropy",
    "linear_top_k",
    "lstm",
    "lstm_step",
]
