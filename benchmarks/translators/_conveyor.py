"""conveyor's translator as a contestant, on the backend that KERAS_BACKEND names."""

from __future__ import annotations

from typing import Any

import keras

from conveyor.seq2seq._config import Config
from conveyor.seq2seq._learner import Learner
from conveyor.seq2seq._model import Seq2Seq
from conveyor.seq2seq._optimizer import optimizer_for

from ._data import Files, trim, vocabulary_of


class Conveyor:
    """See `_worker.Translating`."""

    def __init__(self, dtype: str, files: Files) -> None:
        keras.utils.set_random_seed(0)
        vocabulary = vocabulary_of(files)
        policy = "mixed_bfloat16" if dtype == "bfloat16" else "float32"
        config = Config()
        model = Seq2Seq(vocabulary, vocabulary, config, dtype=policy)
        self._model = model
        self._learner = Learner(model, config.training)
        self._learner.compile(optimizer=optimizer_for(config.training))
        batches = files.batches()
        exact = keras.backend.backend() == "torch"  # the others compile each shape
        self._batches = [trim(batch) for batch in batches] if exact else batches

    def train(self, number: int) -> float:
        self._learner.reset_metrics()
        logs: Any = self._learner.train_on_batch(self._batches[number], return_dict=True)
        return float(logs["loss"])

    def learn(self, minutes: float, save: str) -> dict[str, Any]:
        raise NotImplementedError("quality runs `conveyor train`")

    def load(self, path: str) -> None:
        # The saved one has the precision that it was trained in.
        loaded = keras.saving.load_model(path, compile=False)
        policy = self._model.dtype_policy
        self._model = Seq2Seq(loaded.source, loaded.target, loaded.config, dtype=policy)
        self._model.set_weights(loaded.get_weights())

    def translate(self, sources: list[list[int]], beam: int) -> list[list[int]]:
        from conveyor.seq2seq._config import SearchConfig
        from conveyor.seq2seq._search import search

        found = search(self._model, sources, SearchConfig(beam=beam))
        return [list(hypotheses[0].tokens) for hypotheses in found]
