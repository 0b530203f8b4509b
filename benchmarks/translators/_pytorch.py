"""The plain PyTorch translators as contestants."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
import torch

from ._data import Files, rounds
from ._peer import Batch, Sizes, Trainer, Translator, from_conveyor
from ._peer_search import Searcher
from ._plain import PlainTrainer, PlainTranslator

_PEAK, _WARM_UP = 2e-3, 0.03  # conveyor's, and its cosine
_BATCH_TOKENS = 1_500


class PyTorch:
    """See `_worker.Translating`."""

    def __init__(self, name: str, dtype: str, threads: int, files: Files) -> None:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        torch.manual_seed(0)
        self._files = files
        self._compiled = name.endswith("compiled")
        self._dtype = getattr(torch, dtype)
        how = {"bfloat16": dtype == "bfloat16", "compiled": self._compiled}
        sizes = Sizes(_vocabulary_size(files))
        plain = name.endswith("plain")
        self._translator = PlainTranslator(sizes) if plain else Translator(sizes)
        self._trainer = (PlainTrainer if plain else Trainer)(self._translator, **how)
        self._batches = [Batch.of(inputs) for inputs in files.batches()]
        self._searcher: Searcher | None = None

    def train(self, number: int) -> float:
        return self._trainer.step(self._batches[number])

    def learn(self, minutes: float, save: str) -> dict[str, Any]:
        ids = self._files.ids()
        stream = rounds(ids["source"], ids["target"], _BATCH_TOKENS, seed=0)
        began = time.perf_counter()
        curve, tokens = [], 0
        while (share := (time.perf_counter() - began) / (60 * minutes)) < 1:
            rate = min(share / _WARM_UP, (1 + math.cos(math.pi * share)) / 2) * _PEAK
            batch = Batch.of(next(stream))
            curve.append((round(60 * minutes * share, 2), self._trainer.step(batch, rate)))
            tokens += len(batch.labels)
        torch.save(self._translator.state_dict(), save)
        return {"tokens": tokens, "curve": curve[:: max(1, len(curve) // 200)]}

    def load(self, path: str) -> None:
        """A .pt of `learn`, or an .npz of conveyor's weights."""
        sizes = Sizes(_vocabulary_size(self._files))
        if path.endswith(".npz"):
            with np.load(path) as weights:
                translator = from_conveyor(weights, sizes)
        else:
            translator = Translator(sizes)
            translator.load_state_dict(torch.load(path, weights_only=True))
        self._searcher = Searcher(translator, self._dtype, compiled=self._compiled)

    def translate(self, sources: list[list[int]], beam: int) -> list[list[int]]:
        if self._searcher is None:
            raise RuntimeError("nothing was loaded")
        return self._searcher.translate(sources, beam=beam)


def _vocabulary_size(files: Files) -> int:
    return int(json.loads((files.folder / "sizes.json").read_text())["vocabulary"])
