"""Looking into the LSTMs and GRUs of a model while it is trained."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np

from .._errors import lesson
from ._gradient_flow import GradientFlow as Flow
from ._gradient_flow import gradient_flow
from ._health import Health, health
from ._kinds import kind_of
from ._run import layers_in
from ._samples import as_samples, as_targets, check_count, take
from ._trace import trace


class _AfterEpochs(keras.callbacks.Callback):
    """Looks at a few samples after an epoch, as often as its share of the time allows."""

    def __init__(self, x: Any, y: Any, samples: int, share: float) -> None:
        super().__init__()
        where = type(self).__name__
        if not 0 < share <= 1:
            raise lesson(where, "share of the time, above 0 and up to 1", repr(share), "share=0.05")
        x, count = as_samples(x, where)
        check_count(samples, "samples", where)
        few = slice(0, min(samples, count))
        self.x = take(x, few)
        y = as_targets(y, count, where)
        self.y = None if y is None else take(y, few)
        self.share = share
        self.history: dict[int, Any] = {}
        self._trained = self._looked = self._last = 0.0
        self._names: list[str] = []

    def look(self) -> tuple[Any, dict[str, float]]:
        """What to keep in the history, and the numbers for the logs."""
        raise NotImplementedError

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        began = time.perf_counter()
        self._trained += began - self._began
        logs = {} if logs is None else logs
        if self.history and self._looked + self._last > self.share * self._trained:
            logs.update(dict.fromkeys(self._names, float("nan")))
            return
        self.history[epoch], numbers = self.look()
        self._names = list(numbers)
        logs.update(numbers)
        if len(self.history) > 1:  # the first time functions are compiled, and never again
            self._last = time.perf_counter() - began
            self._looked += self._last


class GateHealth(_AfterEpochs):
    """`conveyor.health` after each epoch of `fit`: gates that are stuck, units that die.

    Puts three numbers a layer into the logs of Keras, so that the history, `CSVLogger` and
    `TensorBoard` have them where they come after it in `callbacks=[...]`:

    - `{layer}/saturated`: the share of gate values below 0.1 or above 0.9;
    - `{layer}/half_life`: of the median unit's memory, in steps;
    - `{layer}/dead_units`: their number.

    Args:
        x: samples to look at, as for `fit`; the first of them are enough.
        samples: how many to run, at most.
        share: of the time of training that may go into it. It looks after the first two epochs;
            then it leaves epochs out, and writes NaN for them, where it would take more. The
            first look, in which functions are compiled, is not counted.
        detail: put each side of each gate into the logs, too, as
            `{layer}/forget_gates_left_saturated`, mean over the units.

    Attributes:
        history: epoch to `Health`, for those that it looked at.

    Raises:
        ConveyorError: as `trace` does; a share that is none.

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4, name="reader")])
    >>> model.compile(loss="mse")
    >>> x, y = np.ones((8, 5, 3), "float32"), np.zeros((8, 4), "float32")
    >>> kept = model.fit(x, y, epochs=1, callbacks=[GateHealth(x)], verbose=0).history
    >>> kept["reader/dead_units"]
    [0.0]
    """

    def __init__(
        self, x: Any, *, samples: int = 32, share: float = 0.05, detail: bool = False
    ) -> None:
        super().__init__(x, None, samples, share)
        self.detail = detail

    def look(self) -> tuple[Health, dict[str, float]]:
        """The health of the model now."""
        kinds = [kind_of(item.layer.cell) for item in layers_in(self.model, type(self).__name__)]
        states = dict.fromkeys(name for kind in kinds for name in (*kind.gates, "hidden_states"))
        found = health(trace(self.model, self.x, select={"states": [*states]}))
        numbers: dict[str, float] = {}
        for path, layer in found.layers.items():
            sides = {
                "left_saturated": layer.left_saturated,
                "right_saturated": layer.right_saturated,
            }
            shares = {
                f"{path}/{gate}_{side}": float(np.mean(of_unit))
                for side, gates in sides.items()
                for gate, of_unit in gates.items()
            }
            numbers[f"{path}/saturated"] = sum(shares.values()) / len(layer.left_saturated)
            numbers[f"{path}/half_life"] = float(np.median(layer.half_life))
            numbers[f"{path}/dead_units"] = float(layer.dead.sum())
            if self.detail:
                numbers |= shares
        return found, numbers


class GradientFlow(_AfterEpochs):
    """`conveyor.gradient_flow` after each epoch of `fit`: how far back the loss reaches.

    Puts two numbers a layer into the logs of Keras, as `GateHealth` does:

    - `{layer}/memory_length`: the steps back at which the gradient falls to 1/e; inf where it
      does not;
    - `{layer}/gradient_left`: how much of it is left at the first step that was read.

    Args:
        x: samples to look at, as for `fit`.
        y: what the model should make of them.
        samples: how many to run, at most.
        share: of the time of training that may go into it, as for `GateHealth`.
        loss: by default the one that the model was compiled with.

    Attributes:
        history: epoch to `conveyor.inspection.GradientFlow`.

    Raises:
        ConveyorError: as `gradient_flow` does; a share that is none.

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4, name="reader")])
    >>> model.compile(loss="mse")
    >>> x, y = np.ones((8, 5, 3), "float32"), np.zeros((8, 4), "float32")
    >>> flow = GradientFlow(x, y)
    >>> kept = model.fit(x, y, epochs=1, callbacks=[flow], verbose=0).history
    >>> flow.history[0].layers["reader"].d_cell_states.shape
    (5,)
    """

    def __init__(
        self, x: Any, y: Any, *, samples: int = 32, share: float = 0.05, loss: Any = None
    ) -> None:
        super().__init__(x, y, samples, share)
        self.loss = loss

    def look(self) -> tuple[Flow, dict[str, float]]:
        """The gradients through time in the model now."""
        found = gradient_flow(self.model, self.x, self.y, loss=self.loss)
        numbers: dict[str, float] = {}
        for path, layer in found.layers.items():
            left = layer.decay[np.isfinite(layer.decay)]
            numbers[f"{path}/memory_length"] = layer.memory_length
            numbers[f"{path}/gradient_left"] = float(left[-1]) if len(left) else float("nan")
        return found, numbers
