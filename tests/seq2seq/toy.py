"""A model that a search can be judged with: a table, and the same table in NumPy."""

from __future__ import annotations

import itertools

import keras
import numpy as np
from keras import ops

from conveyor.seq2seq._tokens import BEGIN, END, PADDING, UNKNOWN

WRITABLE_FROM = 4


class Table(keras.Model):
    """Logits of a token: a table of the two tokens before, and one of the source token here.

    Reads (B, T); writes `size` tokens. Attention looks at the source token of this step, once
    around and again. Nothing is random.
    """

    def __init__(self, size: int, seed: int = 0, scale: float = 2.0, source_size: int = 12):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.tables = [
            self.add_weight(shape=shape, initializer="zeros")
            for shape in ((size, size, size), (source_size, size))
        ]
        for table in self.tables:
            table.assign(rng.normal(size=table.shape) * scale)
        self.size = size
        self.built = True

    def begin(self, source):
        mask = ops.not_equal(source, PADDING)
        nothing = ops.zeros_like(source[:, :1])
        memory = {"source": source, "length": ops.sum(ops.cast(mask, "int32"), axis=1)}
        return memory, {"step": nothing, "before": [nothing]}

    def step(self, tokens, memory, state):
        bigrams, of_source = (ops.convert_to_tensor(table) for table in self.tables)
        rows = ops.shape(memory["source"])[0]
        step = ops.reshape(state["step"], (rows, -1))
        place = step % ops.maximum(memory["length"][:, None], 1)
        read = ops.reshape(ops.take_along_axis(memory["source"], place, axis=1), (-1,))
        place = ops.reshape(place, (-1, 1))
        attention = ops.cast(ops.arange(memory["source"].shape[1]) == place, "float32")
        before = ops.reshape(state["before"][0], (-1,))
        pair = before * self.size + tokens
        flat = ops.reshape(bigrams, (-1, self.size))
        logits = ops.take(flat, pair, axis=0) + ops.take(of_source, read, axis=0)
        return logits, {"step": state["step"] + 1, "before": [tokens[:, None]]}, attention


class Oracle:
    """The same in NumPy, float64, one target at a time."""

    def __init__(self, *models):
        self.tables = [
            [ops.convert_to_numpy(table).astype("float64") for table in model.tables]
            for model in models
        ]
        self.size = models[0].size

    def log_probabilities(self, source, tokens):
        """Of the next token after these."""
        before, last = ([PADDING, BEGIN, *tokens])[-2:]
        probabilities = 0
        for bigrams, of_source in self.tables:
            logits = bigrams[before, last] + of_source[source[len(tokens) % len(source)]]
            e = np.exp(logits - logits.max())
            probabilities = probabilities + e / e.sum() / len(self.tables)
        return np.log(probabilities)

    def token_log_probabilities(self, source, tokens, finished):
        written = [*tokens, END] if finished else tokens
        return [
            self.log_probabilities(source, written[:n])[token] for n, token in enumerate(written)
        ]

    def greedy(self, source, limit):
        tokens = []
        while len(tokens) < limit:
            logs = self.log_probabilities(source, tokens)
            logs[[PADDING, BEGIN, UNKNOWN]] = -np.inf
            token = int(np.argmax(logs))
            if token == END:
                return tokens, True
            tokens.append(token)
        return tokens, False

    def every(self, source, limit, alpha):
        """All targets of at most `limit` steps that end: (score, tokens), best first."""
        found = []
        for length in range(limit):
            for tokens in itertools.product(range(WRITABLE_FROM, self.size), repeat=length):
                total = sum(self.token_log_probabilities(source, tokens, True))
                found.append((total / ((5 + length + 1) / 6) ** alpha, list(tokens)))
        return sorted(found, key=lambda item: -item[0])


def sources(count, seed=0, longest=7, source_size=12):
    rng = np.random.default_rng(seed)
    return [
        rng.integers(1, source_size, size=rng.integers(1, longest + 1)).tolist()
        for _ in range(count)
    ]
