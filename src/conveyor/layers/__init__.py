"""Layers for Keras models."""

from ._accelerate import Replacement as Replacement
from ._accelerate import accelerate as accelerate
from ._accelerate import acceleration_plan as acceleration_plan
from ._bidirectional import Bidirectional as Bidirectional
from ._cell import LSTMCell as LSTMCell
from ._compiled import Compiled as Compiled
from ._gate_weights import gate_weights as gate_weights
from ._gate_weights import set_gate_weights as set_gate_weights
from ._gru import GRU as GRU
from ._gru_cell import GRUCell as GRUCell
from ._keras_layers import running_here as running_here
from ._keras_layers import running_on as running_on
from ._lstm import LSTM as LSTM
from ._over_time import over_time as over_time
from ._patch import patch_keras as patch_keras
from ._patch import unpatch_keras as unpatch_keras
from ._recording import Record as Record
from ._recording import Records as Records
from ._recording import recording as recording

__all__ = [
    "GRU",
    "LSTM",
    "Bidirectional",
    "Compiled",
    "GRUCell",
    "LSTMCell",
    "Record",
    "Records",
    "Replacement",
    "accelerate",
    "acceleration_plan",
    "gate_weights",
    "over_time",
    "patch_keras",
    "recording",
    "running_here",
    "running_on",
    "set_gate_weights",
    "unpatch_keras",
]
