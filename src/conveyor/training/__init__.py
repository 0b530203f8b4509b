"""Training on sequences that are too long to be differentiated as a whole."""

from ._tbptt import TruncatedBPTT as TruncatedBPTT
from ._tbptt import tbptt as tbptt

__all__ = ["TruncatedBPTT", "tbptt"]
