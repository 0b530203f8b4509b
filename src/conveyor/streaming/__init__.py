"""A trained model, fed one time step at a time, for any number of sessions."""

from ._stream import Stream as Stream

__all__ = ["Stream"]
