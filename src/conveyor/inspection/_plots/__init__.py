"""Plots of what an LSTM or a GRU does over time: each takes an `Axes` of matplotlib and returns it.

plot_states         one state of all units as a heat map
plot_gates          the gates, the candidate and the memory of one unit
plot_memory         what each step still holds in the cell state, of a GRU in the hidden state
plot_saturation     how often each gate of each unit stands at 0 and at 1
plot_gradient_flow  the gradients at each step, on a logarithmic axis

They change no setting of matplotlib and choose no backend.
"""

from ._gates import plot_gates as plot_gates
from ._gradient_flow import plot_gradient_flow as plot_gradient_flow
from ._memory import plot_memory as plot_memory
from ._saturation import plot_saturation as plot_saturation
from ._states import plot_states as plot_states

__all__ = ["plot_gates", "plot_gradient_flow", "plot_memory", "plot_saturation", "plot_states"]
