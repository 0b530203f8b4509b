"""What a wheel must do where it was just installed: the native engine is there, and is right."""

from __future__ import annotations

import numpy as np

from conveyor import engines, ops


def main() -> None:
    missing = {engine.name: engine.missing for engine in engines()}
    if missing["native"] is not None:
        raise SystemExit(f"no native engine: {missing['native']}")
    rng = np.random.default_rng(0)
    sizes = [(3, 20, 5), (5, 68), (17, 68)]
    x, kernel, recurrent_kernel = (rng.normal(size=size).astype("float32") for size in sizes)
    native, portable = (
        np.asarray(ops.lstm(x, kernel, recurrent_kernel, outputs="cell_states", engine=engine))
        for engine in ("native", "portable")
    )
    np.testing.assert_allclose(native, portable, rtol=1e-5, atol=1e-5)
    print("the engines agree on", native.shape)


if __name__ == "__main__":
    main()
