"""Looking into an LSTM: what flows through it, and what it remembers.

describe        the shapes, parameters and outputs of every LSTM in a model, as data
explain         the same as a walk through one step, for a terminal and a notebook
trace           every state of every LSTM at every step, as an xarray.DataTree
record_states   the eight states of every conveyor.LSTM in one run of a model
write_report    one HTML page with both, and the heat maps of what was remembered
draw_cell, draw_time_steps   the drawings alone, as SVG text
"""

from ._cell_drawing import draw_cell as draw_cell
from ._describe import describe as describe
from ._explain import Explanation as Explanation
from ._explain import explain as explain
from ._flow import LayerFlow as LayerFlow
from ._flow import Returned as Returned
from ._record import record_states as record_states
from ._report import report as report
from ._report_example import ReportExample as ReportExample
from ._report_page import write_report as write_report
from ._time_drawing import draw_time_steps as draw_time_steps
from ._trace import trace as trace

__all__ = [
    "Explanation",
    "LayerFlow",
    "ReportExample",
    "Returned",
    "describe",
    "draw_cell",
    "draw_time_steps",
    "explain",
    "record_states",
    "report",
    "trace",
    "write_report",
]
