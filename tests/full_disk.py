"""A disk without room, as Python's files see it."""

from __future__ import annotations

import errno
import io
import os
import pathlib
from contextlib import contextmanager


@contextmanager
def full_disk(monkeypatch, room, only=lambda path: True):
    """Files opened for writing take so many bytes in all, then raise ENOSPC.

    Args:
        monkeypatch: of pytest.
        room: in bytes; `left.room` of what this gives may be changed meanwhile.
        only: the paths that lie on that disk.
    """

    class Left:
        pass

    left = Left()
    left.room = room
    real_open = io.open

    class Full(io.FileIO):
        def write(self, data):
            size = memoryview(data).nbytes
            if not left.room and size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.name)
            taken = min(left.room, size)
            left.room -= taken
            return super().write(memoryview(data).cast("B")[:taken])

    def opening(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **rest):
        if not set(mode) & set("wax+") or isinstance(file, int) or not only(pathlib.Path(file)):
            return real_open(file, mode, buffering, encoding, errors, newline, **rest)
        raw = Full(os.fspath(file), mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    with monkeypatch.context() as patch:
        patch.setattr(io, "open", opening)
        patch.setattr("builtins.open", opening)
        yield left
