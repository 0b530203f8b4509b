"""Random weights to convert."""

from __future__ import annotations

import numpy as np

from conveyor.convert import CellWeights, LSTMWeights

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 6, 3)).astype("float32")


def cell(
    features,
    units,
    *,
    bias=True,
    projection=0,
    peepholes=False,
    output=False,
    gate_scale=None,
    cell_scale=False,
    dtype="float32",
    **settings,
):
    size, gates = projection or units, 3 if settings.get("coupled") else 4
    shapes = {
        "kernel": (features, gates * units),
        "recurrent_kernel": (size, gates * units),
        "bias": (gates * units,) if bias else None,
        "projection": (units, size) if projection else None,
        "peepholes": (gates - 1, units) if peepholes else None,
        "output_kernel": (units, units) if output else None,
        "output_bias": (units,) if output else None,
        "gate_scale": {"gates": (gates * units,), "joint": (2, gates * units)}.get(gate_scale),
        "cell_scale": (units,) if cell_scale else None,
        "cell_shift": (units,) if cell_scale else None,
    }
    arrays = {n: RNG.normal(size=s).astype(dtype) * 0.5 if s else None for n, s in shapes.items()}
    return CellWeights(**arrays, **settings)


def weights(count=2, directions=2, units=4, **options):
    size = options.get("projection") or units
    return LSTMWeights(
        tuple(
            tuple(cell(directions * size if n else 3, units, **options) for _ in range(directions))
            for n in range(count)
        )
    )


def assert_equal(actual, expected):
    for a, b in zip(actual.cells, expected.cells, strict=True):
        assert a.settings() == b.settings()
        mine, theirs = a.arrays(), b.arrays()
        for name in mine.keys() | theirs.keys():
            zeros = np.zeros_like(mine.get(name, theirs.get(name)))
            np.testing.assert_array_equal(mine.get(name, zeros), theirs.get(name, zeros))


ONE, MANY = weights(1, 1), weights()
