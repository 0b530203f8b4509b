"""What long sequences cost: peak memory and time of an epoch, each in a process of its own.

    KERAS_BACKEND=jax python benchmarks/long_sequences.py
    KERAS_BACKEND=jax python benchmarks/long_sequences.py --layer keras --time-steps 2000

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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
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
    table = Table("trained on", "peak memory (MB)", "an epoch (s)")
    for window in WINDOWS:
        given = ["--window", str(window)] if window else []
        command = [sys.executable, *sys.argv, "--here", *given]
        shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        result = json.loads(shown.splitlines()[-1])
        name = f"windows of {window}" if window else f"all {options.time_steps} steps"
        table.add_row(name, f"{result['megabytes']:.0f}", f"{result['seconds']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
