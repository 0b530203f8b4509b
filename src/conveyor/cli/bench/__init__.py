"""`conveyor bench`: the LSTMs that are installed here, side by side on the same cores.

_experiments  which peers run which jobs against each other
  _race       takes turns between them, and keeps the times
    _pool     one process a peer: `python -m conveyor.cli.bench.worker PEER`
_limits       what this machine can do at best, measured in the same run
_report       everything measured, to and from JSON
  _compare    what follows: ratios, means
    _tables, _more_tables, _plot
"""

from ._experiments import EXPERIMENTS as EXPERIMENTS
from ._experiments import SIZES as SIZES
from ._peers import PEERS as PEERS
from ._pool import usable_cores as usable_cores
from ._report import Report as Report
from ._report import from_json as from_json
from ._report import to_json as to_json
from ._run import Settings as Settings
from ._run import run as run
from ._show import about as about
from ._show import show as show
from ._show import tables as tables
from ._show import to_markdown as to_markdown

__all__ = [
    "EXPERIMENTS",
    "PEERS",
    "SIZES",
    "Report",
    "Settings",
    "about",
    "from_json",
    "run",
    "show",
    "tables",
    "to_json",
    "to_markdown",
    "usable_cores",
]
