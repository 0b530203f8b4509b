"""Files that are either whole or not there, whatever happens while they are written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; what is there at the end of the block takes the place of `path`.

    Killed, out of disk space or with an error in the block: `path` is as it was. The power
    may fail after the block: what is there then is on the disk, not only in its cache.

    Args:
        path: the file to make or to replace.
    """
    part = path.with_name(f".part-{path.name}")  # the suffix stays: Keras goes by it
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the folder's list of names to the disk, where the system can."""
    if os.name == "nt":
        return  # a folder cannot be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Replace a file by this value."""
    with replacing(path) as part:
        part.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


class WholeRecords:
    """A file that grows by whole records only.

    Args:
        path: the file; made if it is not there, appended to if it is.
    """

    def __init__(self, path: Path) -> None:
        # Unbuffered: a record is in the file as soon as it is written.
        self._file = path.open("ab", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size

    def append(self, record: bytes) -> bool:
        """Whether there was room for it; if not, the file is as it was."""
        try:
            whole = self._file.write(record) == len(record)
        except OSError:
            whole = False
        if whole:
            self.size += len(record)
        else:
            self.cut(self.size)
        return whole

    def cut(self, size: int) -> None:
        """Keep the first bytes only."""
        self.size = min(size, self.size)
        self._file.truncate(self.size)

    def close(self) -> None:
        """Nothing comes after."""
        self._file.close()
