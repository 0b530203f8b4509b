"""Looking into an LSTM or a GRU: what flows through it, and what it remembers.

describe        the shapes, parameters and outputs of every layer in a model, as data
explain         the same as a walk through one step, for a terminal and a notebook
worked_example  every number of one step of one sample, for a pencil
gate_weights, set_gate_weights   W (units, units + features) and b of each gate, as articles
                write them
trace           every state of every layer at every step, as an xarray.DataTree
gradient_flow   how far back in time the gradient of a loss reaches, layer by layer
health          gates that are stuck, units that are dead, how long they remember
memory          what each step still holds in the cell state, of a GRU in the hidden state: its
                exact split
memory_estimate how much memory a model will take, before it runs
plot_states, plot_gates, plot_memory, plot_saturation, plot_gradient_flow   the same as
                pictures, on axes of matplotlib
find_nonfinite  where NaN or infinity begins, in values and gradients
to_lstmvis      a trace as the files that LSTMVis reads
report          one HTML page to explore what the layers of a model remembered
write_report    the same page for a trace that is there
draw_cell, draw_time_steps   the drawings alone, as SVG text
"""

from ..layers import gate_weights as gate_weights
from ..layers import set_gate_weights as set_gate_weights
from ._cell_drawing import draw_cell as draw_cell
from ._describe import describe as describe
from ._explain import Explanation as Explanation
from ._explain import explain as explain
from ._flow import LayerFlow as LayerFlow
from ._flow import Returned as Returned
from ._gradient_flow import GradientFlow as GradientFlow
from ._gradient_flow import LayerGradientFlow as LayerGradientFlow
from ._gradient_flow import gradient_flow as gradient_flow
from ._health import Health as Health
from ._health import health as health
from ._health_numbers import LayerHealth as LayerHealth
from ._lstmvis import to_lstmvis as to_lstmvis
from ._memory import memory as memory
from ._memory_estimate import MemoryEstimate as MemoryEstimate
from ._memory_estimate import memory_estimate as memory_estimate
from ._nonfinite import NonFinite as NonFinite
from ._nonfinite import find_nonfinite as find_nonfinite
from ._plots import plot_gates as plot_gates
from ._plots import plot_gradient_flow as plot_gradient_flow
from ._plots import plot_memory as plot_memory
from ._plots import plot_saturation as plot_saturation
from ._plots import plot_states as plot_states
from ._report import report as report
from ._report_attention import Attention as Attention
from ._report_example import ReportExample as ReportExample
from ._report_page import write_report as write_report
from ._search_tree import SearchNode as SearchNode
from ._search_tree import SearchTree as SearchTree
from ._time_drawing import draw_time_steps as draw_time_steps
from ._trace import trace as trace
from ._worked_example import WorkedExample as WorkedExample
from ._worked_example import worked_example as worked_example
from ._worked_gru import WorkedGRUExample as WorkedGRUExample

__all__ = [
    "Attention",
    "Explanation",
    "GradientFlow",
    "Health",
    "LayerFlow",
    "LayerGradientFlow",
    "LayerHealth",
    "MemoryEstimate",
    "NonFinite",
    "ReportExample",
    "Returned",
    "SearchNode",
    "SearchTree",
    "WorkedExample",
    "WorkedGRUExample",
    "describe",
    "draw_cell",
    "draw_time_steps",
    "explain",
    "find_nonfinite",
    "gate_weights",
    "gradient_flow",
    "health",
    "memory",
    "memory_estimate",
    "plot_gates",
    "plot_gradient_flow",
    "plot_memory",
    "plot_saturation",
    "plot_states",
    "set_gate_weights",
    "to_lstmvis",
    "trace",
    "worked_example",
    "write_report",
]
