"""Callbacks for `fit`: `GateHealth` and `GradientFlow`, to see what training does to an LSTM."""

from .inspection._callbacks import GateHealth as GateHealth
from .inspection._callbacks import GradientFlow as GradientFlow

__all__ = ["GateHealth", "GradientFlow"]
