"""`conveyor.Stream`: a trained model, one time step at a time."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .._errors import lesson
from ._plan import plan_of
from ._session_files import read, write
from ._sessions import WHERE, Sessions, States
from ._values import Value

_BLOCK = 1024  # steps of a chunk that are computed layer by layer


class Stream:
    """A trained model that is fed one time step at a time, with a memory for each session.

    It computes what the model does on the whole sequence, as far as it has come. Every LSTM and
    GRU of the model goes on from where its session stands; embeddings, Dense layers and whatever
    else works on one time step alone come between. Masks of `Masking` and
    `Embedding(mask_zero=True)` are heeded: a masked step leaves its session as it was. Weights are
    copied when the stream is made. A stream belongs to one thread at a time.

    Args:
        model: Sequential or functional, or an LSTM or GRU; all of them read forward in time.
        engine: "auto", "native" or "portable", see `conveyor.engines()`.

    Raises:
        ConveyorError: a model that cannot be streamed, with the layer and the reason: it reads
            backwards (Bidirectional), or looks at several time steps at once.

    >>> import keras, numpy as np
    >>> from conveyor import LSTM
    >>> model = keras.Sequential([keras.Input((None, 3)), LSTM(4), keras.layers.Dense(2)])
    >>> x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    >>> stream = Stream(model)
    >>> for x_t in x:
    ...     y = stream.step(x_t)
    >>> y.shape
    (2,)
    >>> bool(np.allclose(y, model.predict(x[None], verbose=0)[0], atol=1e-5))
    True
    """

    def __init__(self, model: Any, *, engine: str = "auto") -> None:
        self._plan = plan_of(model, engine)
        self._sessions = Sessions(self._plan.cells)

    # ------------------------------------------------------------------------ stepping

    def step(self, x: Any, *, session: Hashable | list[Hashable] | None = None) -> Any:
        """Read one time step.

        Args:
            x: what the model's input has at one time step: (F,), or a token's id. With a list of
                sessions, a row for each: (B, F), (B,). A list of such for several inputs.
            session: whose step it is, any key; a new one begins as the model does. A list of
                keys makes a step for each of them at once. None is a session, too.

        Returns:
            What the model returns: at this time step where it has a time axis, without it.

        Raises:
            ConveyorError: another shape, or a session twice.
        """
        several = isinstance(session, list)
        keys = session if isinstance(session, list) else [session]
        inputs = self._inputs(x, keys, several, 0)
        outputs = self._plan.run([Value(x) for x in inputs], self._sessions.rows(keys))
        arrays = [_copy_unless_fresh(output.array, inputs) for output in outputs]
        return self._finished(arrays, several)

    def feed(self, chunk: Any, *, session: Hashable | list[Hashable] | None = None) -> Any:
        """Read several time steps.

        Args:
            chunk: (T, F), or (B, T, F) for a list of sessions, T >= 1; token ids likewise.
            session: see `step`.

        Returns:
            What the model returns for these steps: (T, ...) where it has a time axis, else what
            it returned last.
        """
        several = isinstance(session, list)
        keys = session if isinstance(session, list) else [session]
        chunks = self._inputs(chunk, keys, several, 1)
        lengths = {array.shape[1] for array in chunks}
        if len(lengths) != 1 or lengths == {0}:
            raise lesson(
                f"{WHERE}.feed",
                "chunks of one length, at least one time step",
                f"{sorted(lengths)} time steps",
                "Write stream.feed(x[:10]).",
            )
        (length,) = lengths
        # Time in front; not all states of a long chunk at once.
        fed = [array.swapaxes(0, 1) for array in chunks]
        rows = self._sessions.rows(keys)
        parts = [
            self._plan.feed([Value(array[start : start + _BLOCK]) for array in fed], rows)
            for start in range(0, length, _BLOCK)
        ]
        joined = []
        for n, number in enumerate(self._plan.outputs):
            arrays = [part[n].array for part in parts]
            if self._plan.times[number]:
                joined.append(np.concatenate(arrays).swapaxes(0, 1))
            else:
                joined.append(np.array(arrays[-1]))
        return self._finished(joined, several)

    def _inputs(self, x: Any, keys: list[Hashable], several: bool, more: int) -> list[np.ndarray]:
        """The arrays of the model's inputs, with a batch axis and `more` time axes behind it."""
        shapes = self._plan.shapes
        alone = not (several or more) and len(shapes) == 1 and type(x) is np.ndarray
        if alone and x.shape == shapes[0] and x.dtype == self._plan.dtypes[0]:  # the usual, fast
            return [x[None]]
        given = x if isinstance(x, (list, tuple)) and len(shapes) > 1 else [x]
        arrays = [np.asarray(array) if several else np.asarray(array)[None] for array in given]
        fits = len(arrays) == len(shapes) and all(
            array.ndim == 1 + more + len(shape)
            and len(array) == len(keys)
            and array.shape[1 + more :] == shape
            for array, shape in zip(arrays, shapes, strict=True)
        )
        if fits:
            kinds = zip(arrays, self._plan.dtypes, strict=True)
            return [array.astype(dtype, copy=False) for array, dtype in kinds]
        before = ([str(len(keys))] if several else []) + ["time_steps"] * more
        wanted = " and ".join(f"({', '.join([*before, *map(str, shape)])})" for shape in shapes)
        raise lesson(
            f"{WHERE}.{'feed' if more else 'step'}",
            f"x of shape {wanted}",
            f"shape {' and '.join(str(np.shape(array)) for array in given)}",
            "A list of sessions takes a row for each, a single session no batch axis; step reads "
            "one time step, feed several.",
        )

    def _finished(self, arrays: list[np.ndarray], several: bool) -> Any:
        if not several:
            arrays = [array[0] for array in arrays]
        if self._plan.structure is None:
            return arrays[0]
        return keras.tree.pack_sequence_as(self._plan.structure, arrays)

    # ------------------------------------------------------------------------ sessions

    @property
    def sessions(self) -> list[Hashable]:
        """The keys of those that have made a step, or were loaded."""
        return list(self._sessions)

    def states(self, session: Hashable = None) -> States:
        """Copies of (hidden_state, cell_state), each (U,), by the path of the layer.

        Of a GRU it is (hidden_state,).
        """
        return self._sessions.read(session, "states")

    def set_states(self, states: States, session: Hashable = None) -> None:
        """Go on from these states, as `states` gives them."""
        self._sessions.write(session, states)

    def fork(self, session: Hashable, to: Hashable) -> None:
        """Make `to` a copy of a session: both go on from here, each on its own."""
        self._sessions.write(to, self._sessions.read(session, "fork"))

    def reset(self, session: Hashable = None) -> None:
        """Begin a session anew."""
        self._sessions.known(session, "reset")
        self._sessions.begin_anew(session)

    def drop(self, session: Hashable = None) -> None:
        """Forget a session; its place is used by the next new one."""
        self._sessions.known(session, "drop")
        self._sessions.drop(session)

    def save(
        self, path: str | os.PathLike[str], sessions: Iterable[Hashable] | None = None
    ) -> Path:
        """Write sessions to a file, an .npz without pickles; it appears whole or not at all.

        Args:
            path: of the file.
            sessions: which; all if None. Keys are text, whole numbers or None.
        """
        keys = self.sessions if sessions is None else list(sessions)
        return write(Path(path), keys, [self._sessions.read(key, "save") for key in keys])

    def load(self, path: str | os.PathLike[str]) -> list[Hashable]:
        """Add the sessions of a file, in place of those with the same key.

        Returns:
            Their keys.

        Raises:
            ConveyorError: a file that `save` did not write, or of another model. No session is
                changed then.
        """
        found = read(Path(path))
        for states in found.values():  # before anything is written
            self._sessions.check(states)
        for key, states in found.items():
            self._sessions.write(key, states)
        return list(found)

    # ---------------------------------------------------------------------------- about

    def explain_engine(self) -> str:
        """Which engine runs the steps, and why no faster one does."""
        return "\n".join(dict.fromkeys(str(cell.engine) for cell in self._plan.cells))

    def __repr__(self) -> str:
        paths = ", ".join(cell.path for cell in self._plan.cells)
        return f"<Stream through {paths}; {len(self._sessions)} sessions>"


def _copy_unless_fresh(array: np.ndarray, inputs: list[np.ndarray]) -> np.ndarray:
    """What the next step does not write to, and the caller does not hold already."""
    if array.flags.owndata and not any(array is x for x in inputs):
        return array
    return array.copy()
