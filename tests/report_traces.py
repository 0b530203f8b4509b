"""Traces made by hand, of the form that conveyor.trace gives."""

from __future__ import annotations

import numpy as np

STATES = (
    "cell_states",
    "hidden_states",
    "input_gates",
    "forget_gates",
    "candidates",
    "output_gates",
)


def lstm_states(samples, steps, units, seed=0):
    """(samples, steps, units) each: what an LSTM with random weights does with random inputs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, steps, 4)).astype("float32")
    w = rng.normal(size=(4, 4 * units)).astype("float32")
    r = rng.normal(size=(units, 4 * units)).astype("float32") / np.sqrt(units).astype("float32")
    b = np.repeat(rng.normal(size=(4, 1)), units, axis=1).ravel() + np.repeat([0, 2, 0, 0], units)
    states = {name: np.empty((samples, steps, units), "float32") for name in STATES}
    h = c = np.zeros((samples, units), "float32")
    for t in range(steps):
        i, f, g, o = np.split(x[:, t] @ w + h @ r + b, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        g = np.tanh(g)
        c = f * c + i * g
        h = o * np.tanh(c)
        for name, value in zip(STATES, (c, h, i, f, g, o), strict=True):
            states[name][:, t] = value
    return states


def dataset(states, tokens=None, **attrs):
    import xarray as xr

    samples, steps, units = next(iter(states.values())).shape
    coords = {"sample": range(samples), "time": range(steps), "unit": range(units)}
    if tokens is not None:
        padded = [[*sample, *[""] * (steps - len(sample))] for sample in tokens]
        coords["token"] = (("sample", "time"), np.array(padded, dtype=object))
    facts = {"layer": "conveyor.LSTM", "direction": "forward", "units": units}
    data = {name: (("sample", "time", "unit"), array) for name, array in states.items()}
    return xr.Dataset(data, coords, facts | attrs)


def tree(**datasets):
    """One node a layer; `__` in a name stands for the slash of a path."""
    import xarray as xr

    named = {path.replace("__", "/"): data for path, data in datasets.items()}
    return xr.DataTree.from_dict(named, name="trace")


def text_tree(texts, units=16, seed=0, name="encoder"):
    """A trace over texts of characters, masked past the end of each."""
    steps = max(map(len, texts))
    states = lstm_states(len(texts), steps, units, seed)
    for state in states.values():
        for sample, text in enumerate(texts):
            state[sample, len(text) :] = np.nan
    return tree(**{name: dataset(states, [list(text) for text in texts])})
