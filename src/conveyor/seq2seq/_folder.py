"""Where everything of a model lies."""

from __future__ import annotations

from pathlib import Path


class Folder:
    """The files in the folder of a model.

    >>> Folder("model").model.as_posix()
    'model/model.keras'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.training = self.path / "training.json"  # what was given, and how it ended
        self.config = self.path / "config.yaml"
        self.vocabulary = self.path / "vocabulary.json"
        self.model = self.path / "model.keras"  # the one to use
        self.best = self.path / "best"  # the best few, by dev pairs
        self.checkpoint = self.path / "checkpoint"  # what resume needs
        self.log = self.path / "log.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.data = self.path / "data"  # pairs as tokens; made again where they are missing
