"""The training as TensorBoard reads it; without TensorFlow or PyTorch."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ._extras import tensorboard
from ._files import WholeRecords
from ._history import Evaluated, Reporter, TrainedBatch

_BATCHES_BETWEEN_POINTS: Final = 10


class TensorBoard(Reporter):
    """Appends scalars to a new event file in `folder`.

    Points for which a full disk has no room are missing.

    Args:
        folder: for `tensorboard --logdir folder`.
        step: batches so far. What other files of the folder have from there on comes again
            here: TensorBoard forgets it.

    Raises:
        ImportError: the package tensorboard is missing; the message says how to install it.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._protos = tensorboard()
        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        files = len(list(folder.iterdir()))  # two within a second
        self._file = WholeRecords(folder / f"{name}.{files}")
        self._writer = self._protos.RecordWriter(_Appending(self._file))
        self._write(file_version="brain.Event:2")
        start = self._protos.SessionLog(status=self._protos.SessionLog.START)
        self._write(step=step + 1, session_log=start)

    def trained(self, batch: TrainedBatch) -> None:
        """Every so often, a point of each curve."""
        if batch.step % _BATCHES_BETWEEN_POINTS == 0:
            values = {
                "train/loss": batch.loss,
                "train/cross_entropy": batch.cross_entropy,
                "train/learning_rate": batch.learning_rate,
            }
            self._scalars(batch.step, values)

    def evaluated(self, evaluated: Evaluated) -> None:
        """The curves of the dev pairs."""
        dev = evaluated.dev
        if dev is not None:
            names = ("perplexity", "bleu", "chrf", "exact_match")
            values = {f"dev/{name}": getattr(dev, name) for name in names}
            self._scalars(evaluated.step, values)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        value = self._protos.Summary.Value
        points = [value(tag=tag, simple_value=v) for tag, v in values.items() if v is not None]
        self._write(step=step, summary=self._protos.Summary(value=points))

    def _write(self, **fields: Any) -> None:
        event = self._protos.Event(wall_time=time.time(), **fields)
        self._writer.write(event.SerializeToString())


class _Appending:
    """What RecordWriter takes for a file; it writes a record at once."""

    def __init__(self, file: WholeRecords) -> None:
        self._file = file

    def write(self, record: bytes) -> None:
        self._file.append(record)
