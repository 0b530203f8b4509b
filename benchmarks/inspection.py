"""What looking costs: `trace` beside the forward pass, the callbacks beside an epoch of `fit`.

    KERAS_BACKEND=jax python benchmarks/inspection.py --fit

Ratios of medians, interleaved in one run.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import keras
import numpy as np

from conveyor import LSTM, trace
from conveyor._engines import glue
from conveyor._vocabulary import STATE_NAMES
from conveyor.callbacks import GateHealth, GradientFlow

SIZES = [(32, 100, 64, 128), (64, 100, 128, 256), (256, 100, 32, 64)]


def tracing(batch: int, time_steps: int, features: int, units: int) -> None:
    """`trace` over a forward pass that gives all eight states as NumPy arrays."""
    x = np.random.default_rng(0).normal(size=(batch, time_steps, features)).astype("float32")
    layer = LSTM(units, outputs=STATE_NAMES)
    layer.build(x.shape)
    theirs = keras.layers.LSTM(units)
    theirs.build(x.shape)

    def forward() -> None:
        with glue.active().without_gradients():
            for state in layer(x):
                keras.ops.convert_to_numpy(state)

    runs: dict[str, Callable[[], object]] = {
        "forward": forward,
        "trace": lambda: trace(layer, x),
        "trace, batches of 32": lambda: trace(layer, x, batch_size=32),
        "trace of keras.layers.LSTM": lambda: trace(theirs, x),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(22):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if turn > 1:
                seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        size = f"{batch}x{time_steps}x{features}x{units}"
        print(f"{size}  {name:28s} {median * 1e3:8.2f} ms  {median / medians['forward']:.2f}x")


def fitting() -> None:
    """Epochs of a text classifier with the callbacks, and the time that these took."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(1, 1000, size=(3200, 100)), rng.integers(0, 2, size=(3200, 1))
    inputs = keras.Input((100,), dtype="int32")
    h = keras.layers.Embedding(1000, 64)(inputs)
    h = LSTM(128)(LSTM(128, return_sequences=True)(h))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(h))
    model.compile(loss="binary_crossentropy", optimizer="adam")
    for callback in (GateHealth(x), GradientFlow(x, y)):
        took: list[float] = []
        look = callback.look

        def timed(look=look, took=took):
            began = time.perf_counter()
            found = look()
            took.append(time.perf_counter() - began)
            return found

        callback.look = timed
        began = time.perf_counter()
        model.fit(x, y, batch_size=32, epochs=4, callbacks=[callback], verbose=0)
        whole = time.perf_counter() - began
        later = ", ".join(f"{seconds * 1e3:.0f}" for seconds in took[1:]) or "none"
        print(
            f"{type(callback).__name__}: first look {took[0] * 1e3:.0f} ms, later {later} ms, "
            f"of {whole * 1e3:.0f} ms for 4 epochs: {sum(took) / whole:.1%}, "
            f"without the first {sum(took[1:]) / whole:.1%}"
        )


if __name__ == "__main__":
    print(f"{keras.backend.backend()}, {glue.active().threads() or 'all'} threads")
    for size in SIZES:
        tracing(*size)
    if "--fit" in sys.argv:
        fitting()
