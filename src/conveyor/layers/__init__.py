"""Layers for Keras models."""

from ._cell import LSTMCell as LSTMCell
from ._keras_layers import running_here as running_here
from ._lstm import LSTM as LSTM
from ._recording import Record as Record
from ._recording import Records as Records
from ._recording import recording as recording

__all__ = ["LSTM", "LSTMCell", "Record", "Records", "recording", "running_here"]
