"""Steps of a search, several of them in one compiled call."""

from __future__ import annotations

from typing import Any, Final, cast

import keras
from keras import ops

from ..layers import Compiled
from ._arrays import Array
from ._ensemble import Ensemble
from ._steps import Carry, Plan, begin, step, unfinished

CHUNK: Final = 32  # steps at most between two looks at what is finished

Batch = tuple[Any, Carry]  # memory and carry


class Chunks:
    """The compiled parts of a search: begin, some steps, keep these sources.

    Compiled once for each set of shapes, which is why one object serves all searches of its
    models and its plan.
    """

    def __init__(self, models: Ensemble, plan: Plan) -> None:
        self.plan = plan
        self._models = models
        layers = cast(Any, models.models)
        self.weights = Compiled(models.weights, weights_of=layers)
        self.begin = Compiled(self._begin, weights_of=layers)
        self.run = Compiled(self._run, weights_of=layers)
        self.keep = Compiled(self._keep, weights_of=())

    def _begin(self, source: Array, given: dict[str, Array], capacity: Array) -> Batch:
        memory, states = self._models.begin(source, self.plan.width)
        return memory, begin(self.plan, states, given, capacity)

    def _run(
        self,
        weights: Any,
        memory: Any,
        carry: Carry,
        given: dict[str, Array],
        schedule: dict[str, Array],
    ) -> tuple[Carry, Array, Array, Any]:
        """Steps until few enough sources are unfinished.

        Args:
            weights: of `weights`, looked up once for a whole search.
            memory, carry: of the batch.
            given: see `step`, but `uniforms` (CHUNK, B, K).
            schedule: `start`, the number of the first step; `steps`, at most CHUNK;
                `leave_at`: with so many sources unfinished the chunk ends.

        Returns:
            The carry, how many steps were made, which sources are unfinished, and the records,
            (CHUNK, B, K) each.
        """

        # Logits are needed one by one where some are barred, or one is drawn.
        whole = self.plan.ngram or self.plan.way == "sample"
        models = self._models.bound(weights)
        output = None if whole else models.output()

        def goes_on(done: Array, carry: Carry, records: Any) -> Array:
            left = ops.sum(ops.cast(unfinished(self.plan, carry), "int32"))
            return ops.logical_and(done < schedule["steps"], left > schedule["leave_at"])

        def one(done: Array, carry: Carry, records: Any) -> Any:
            now = dict(given)
            if "uniforms" in now:
                now["uniforms"] = ops.take(now["uniforms"], done, axis=0)
            number = schedule["start"] + done
            carry, record = step(self.plan, models, output, memory, carry, number, now)
            here = ops.reshape(ops.arange(CHUNK, dtype="int32") == done, (-1, 1, 1))
            written = zip(records, record, strict=True)
            return done + 1, carry, tuple(ops.where(here, new, old) for old, new in written)

        blank = ops.zeros((CHUNK, 1, 1), "int32") + ops.zeros_like(carry["last"])
        records = (blank, blank, ops.cast(blank, "float32"))
        nothing = ops.zeros_like(schedule["start"])
        done, carry, records = ops.while_loop(goes_on, one, (nothing, carry, records))
        return carry, done, unfinished(self.plan, carry), records

    def _keep(self, memory: Any, carry: Carry, rows: Array) -> Batch:
        def of_sources(array: Array) -> Array:
            return ops.take(array, rows, axis=0)

        width = self.plan.width
        flat = ops.reshape(rows[:, None] * width + ops.arange(width, dtype="int32"), (-1,))

        def of_targets(array: Array) -> Array:
            return ops.take(array, flat, axis=0)

        kept = {name: of_sources(array) for name, array in carry.items() if name != "states"}
        kept["states"] = keras.tree.map_structure(of_targets, carry["states"])
        return keras.tree.map_structure(of_sources, memory), kept
