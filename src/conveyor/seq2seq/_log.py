"""The training line by line, in a file for programs."""

from __future__ import annotations

import json
import math
from collections import deque
from pathlib import Path
from typing import Any

from ._files import WholeRecords
from ._history import Evaluated, Reporter, TrainedBatch


class Log(Reporter):
    """Appends one JSON object a line: `begin`, `batch`, `evaluation`, `notice`, `end`.

    A full disk stops no training: the lines wait, and are written when there is room.

    Args:
        path: the file; made if it is not there.
        keep: how many bytes of it are of what the training has behind it. What follows was
            written by a process that died since, and its last line may be torn: it goes, as
            the same batches come again. None: all of it is kept.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        self._file = WholeRecords(path)
        if keep is not None:
            self._file.cut(keep)
        self._waiting: deque[bytes] = deque()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._file.size

    def write(self, event: str, values: dict[str, Any]) -> None:
        """Append a line."""
        line = json.dumps({"event": event, **_jsonable(values)}, ensure_ascii=False)
        self._waiting.append(line.encode() + b"\n")
        while self._waiting and self._file.append(self._waiting[0]):
            self._waiting.popleft()

    def began(self, facts: dict[str, Any]) -> None:
        """A line on what is trained, and how."""
        self.write("begin", facts)

    def trained(self, batch: TrainedBatch) -> None:
        """A line a batch."""
        self.write("batch", batch._asdict())

    def evaluated(self, evaluated: Evaluated) -> None:
        """A line an evaluation."""
        self.write("evaluation", evaluated.to_dict())

    def notice(self, text: str) -> None:
        """A line a notice."""
        self.write("notice", {"text": text})

    def ended(self, facts: dict[str, Any]) -> None:
        """A line on how it ended."""
        self.write("end", facts)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _jsonable(value: Any) -> Any:
    """JSON has no infinity and no NaN: null."""
    if isinstance(value, dict):
        return {name: _jsonable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        fields = getattr(value, "_asdict", None)
        return _jsonable(fields()) if fields else [_jsonable(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
