"""Looking into an LSTM: what flows through it, and what it remembers.

describe        the shapes, parameters and outputs of every LSTM in a model, as data
explain         the same as a walk through one step, for a terminal and a notebook
trace           every state of every LSTM at every step, as an xarray.DataTree
gradient_flow   how far back in time the gradient of a loss reaches, layer by layer
health          gates that are stuck, units that are dead, how long they remember
memory          what each step still holds in the cell state: its exact split
find_nonfinite  where NaN or infinity begins, in values and gradients
to_lstmvis      a trace as the files that LSTMVis reads
record_states   the eight states of every conveyor.LSTM in one run of a model
report          one HTML page to explore what the LSTMs of a model remembered
write_report    the same page for a trace that is there
draw_cell, draw_time_steps   the drawings alone, as SVG text
"""

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
from ._lstmvis import to_lstmvis as to_lstmvis
from ._memory import memory as memory
from ._nonfinite import NonFinite as NonFinite
from ._nonfinite import find_nonfinite as find_nonfinite
from ._record import record_states as record_states
from ._report import report as report
from ._report_attention import Attention as Attention
from ._report_example import ReportExample as ReportExample
from ._report_page import write_report as write_report
from ._time_drawing import draw_time_steps as draw_time_steps
from ._trace import trace as trace

__all__ = [
    "Attention",
    "Explanation",
    "GradientFlow",
    "Health",
    "LayerFlow",
    "LayerGradientFlow",
    "NonFinite",
    "ReportExample",
    "Returned",
    "describe",
    "draw_cell",
    "draw_time_steps",
    "explain",
    "find_nonfinite",
    "gradient_flow",
    "health",
    "memory",
    "record_states",
    "report",
    "to_lstmvis",
    "trace",
    "write_report",
]
