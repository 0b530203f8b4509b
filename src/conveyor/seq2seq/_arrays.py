"""Names for what goes from encoder to decoder."""

from __future__ import annotations

from typing import Any

Array = Any  # of whichever framework Keras runs on

# Nests whose arrays all begin with the axis of sources, or of what is being written for them.
Memory = dict[str, Array]  # what a decoder can look at: the same at every step
State = dict[str, Any]  # what a decoder takes from step to step
