"""What long sequences cost: peak memory and time of an epoch, each in a process of its own.

    KERAS_BACKEND=jax python benchmarks/long_sequences.py
    KERAS_BACKEND=jax python benchmarks/long_sequences.py --layer keras --time-steps 2000
    ... python benchmarks/long_sequences.py --what remat --sequences 1 --time-steps 100000

Memory is what the process takes at its peak beyond what it took before `fit`; the time is that of
the faster of two epochs behind the first, which compiles.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import conveyor

WINDOWS = (None, 1000, 100)
REMATS = (None, 1000, 300, 100)
LAYERS = {"conveyor": conveyor.LSTM, "keras": keras.layers.LSTM}


class EpochTimes(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self._began)


def megabytes_now() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def measure(options: argparse.Namespace) -> dict[str, float]:
    """One way of training, in this process."""
    if options.what == "remat":
        return measure_remat(options)
    rng = np.random.default_rng(0)
    shape = (options.sequences, options.time_steps)
    x = rng.normal(size=(*shape, 16)).astype("float32")
    y = rng.normal(size=(*shape, 1)).astype("float32")
    lstm = LAYERS[options.layer](options.units, return_sequences=True)
    model = keras.Sequential([keras.Input((None, 16)), lstm, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    trainer = conveyor.tbptt(model, options.window) if options.window else model
    times, before = EpochTimes(), megabytes_now()
    trainer.fit(x, y, batch_size=options.sequences, epochs=3, callbacks=[times], verbose=0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"megabytes": peak - before, "seconds": min(times.seconds[1:])}


def measure_remat(options: argparse.Namespace) -> dict[str, float]:
    """Steps of training on the last state of whole sequences."""
    x = np.random.default_rng(0).normal(size=(options.sequences, options.time_steps, 16))
    x, y = x.astype("float32"), np.ones((options.sequences, 1), "float32")
    lstm = conveyor.LSTM(options.units, remat=options.window)
    model = keras.Sequential([keras.Input((None, 16)), lstm, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.train_on_batch(x[:, :3000], y)  # what a first step takes in any case
    before, times = megabytes_now(), []
    for _ in range(4):
        began = time.perf_counter()
        model.train_on_batch(x, y)
        times.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    estimate = conveyor.memory_estimate(model, options.sequences, options.time_steps)
    return {
        "megabytes": peak - before,
        "seconds": min(times[1:]),
        "estimate": estimate.training / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--what", choices=["tbptt", "remat"], default="tbptt")
    parser.add_argument("--layer", choices=LAYERS, default="conveyor")
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--time-steps", type=int, default=10_000)
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--window", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options)))
        return
    remat = options.what == "remat"
    table = Table("trained on", "peak memory (MB)", "a step (s)" if remat else "an epoch (s)")
    if remat:
        table.add_column("memory_estimate (MB)")
    for window in REMATS if remat else WINDOWS:
        given = ["--window", str(window)] if window else []
        command = [sys.executable, *sys.argv, "--here", *given]
        shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        result = json.loads(shown.splitlines()[-1])
        name = f"all {options.time_steps} steps"
        if window:
            name = f"remat={window}" if remat else f"windows of {window}"
        estimate = [f"{result['estimate']:.0f}"] if remat else []
        table.add_row(name, f"{result['megabytes']:.0f}", f"{result['seconds']:.2f}", *estimate)
    Console().print(table)


if __name__ == "__main__":
    main()
