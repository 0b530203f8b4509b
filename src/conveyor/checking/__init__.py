"""Every way to run a model, side by side: `conveyor.check`."""

from ._check import check as check
from ._report import Check as Check
from ._report import CheckedPath as CheckedPath

__all__ = ["Check", "CheckedPath", "check"]
