"""The LSTM as a pure function, for those who have arrays and weights and no layer."""

from ._lengths import lengths_to_mask as lengths_to_mask
from ._lstm import lstm as lstm
from ._outputs import check_outputs as check_outputs
from ._stream import LSTMStream as LSTMStream

__all__ = ["LSTMStream", "check_outputs", "lengths_to_mask", "lstm"]
