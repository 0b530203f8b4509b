"""One training a folder."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._errors import lesson

_NAME = ".lock"


@contextmanager
def locked(folder: Path, where: str) -> Iterator[None]:
    """Nobody else trains in this folder meanwhile.

    The system holds the lock for as long as the process lives, so that a killed one leaves
    none behind. The file says whose it is.

    Raises:
        ConveyorError: another training has it.
    """
    path = folder / _NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        try:
            _lock(descriptor)
        except OSError:
            raise lesson(
                where,
                "a folder that no other training is using",
                f"{folder}, where {_owner(path)} is at work",
                "Wait for it or stop it (Ctrl-C), or write another folder: out=...",
            ) from None
        os.ftruncate(descriptor, 0)
        owner = {"process": os.getpid(), "host": socket.gethostname()}
        os.write(descriptor, json.dumps(owner).encode())
        yield
    finally:
        os.close(descriptor)  # and with it the lock


def _owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_text(encoding="utf-8"))
        return f"process {owner['process']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # Far behind the text: Windows lets nobody read what is locked.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
