"""`conveyor.tbptt`: truncated back-propagation through time, in Keras's `fit`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
from keras.src.trainers.data_adapters import array_slicing  # Keras has no public name for it

from .._errors import lesson
from ._batches import Batches
from ._carried import CarriedStates
from ._step import step_of
from ._time_axis import WHERE, time_axis_of
from ._windows import Windows


def tbptt(model: Any, window: int) -> TruncatedBPTT:
    """Train a model on sequences that are too long to be differentiated as a whole.

    Truncated back-propagation through time, with windows that follow one another (the BPTT(h; h')
    of Williams & Peng, "An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent
    Network Trajectories", Neural Computation 2(4), 1990, with h = h'): each batch of sequences
    is cut into windows of time steps; for each window, in order, the optimizer makes a step, and
    the states at its end are what the next window begins with, without gradient. A new batch of
    sequences begins anew. Memory is that of a window, however long the sequences are; what a
    step has to do with one that is more than a window before it is not learned from the gradient.

    The trainer works on the model itself: its weights, optimizer, loss and metrics. The model
    is not stateful, before, after or meanwhile.

    Args:
        model: Sequential or functional, compiled before `fit`, with LSTMs (or other recurrent
            layers of Keras) that read forwards, and outputs for every time step.
        window: time steps in a window. The last of a sequence may be shorter; one as long as
            the sequences is `model.fit`.

    Raises:
        ConveyorError: a model that is another in windows: Bidirectional, or layers that look at
            several time steps at once; an output without a time axis; a window that is no
            positive integer.

    >>> import keras, numpy as np, conveyor
    >>> model = keras.Sequential(
    ...     [keras.Input((None, 3)), conveyor.LSTM(8, return_sequences=True), keras.layers.Dense(1)]
    ... )
    >>> model.compile("adam", "mse")
    >>> x, y = np.ones((4, 1000, 3)), np.ones((4, 1000, 1))
    >>> history = conveyor.tbptt(model, window=100).fit(x, y, batch_size=2, verbose=0)
    >>> int(model.optimizer.iterations)
    20
    """
    return TruncatedBPTT(model, window)


class TruncatedBPTT:
    """Trains a model window by window: see `conveyor.tbptt`, which makes it.

    Attributes:
        model: that is trained.
        window: time steps in a window.
    """

    def __init__(self, model: Any, window: int) -> None:
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise lesson(
                WHERE,
                "window, a number of time steps from 1",
                repr(window),
                "Write conveyor.tbptt(model, window=100).",
            )
        self.model = model
        self.window = window
        self._axis = time_axis_of(model)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: Any = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
    ) -> keras.callbacks.History:
        """`model.fit`, with a step of the optimizer for each window.

        Everything is as in Keras, with sequences for samples: batches are of whole sequences,
        `shuffle` shuffles these, validation is on whole sequences, and callbacks see `model`.
        A batch that callbacks and the progress bar count is a window.

        Args:
            x, y: arrays (sequences, time_steps, ...), nested as the model's inputs and outputs
                are; an input without a time axis goes with every window. Or a PyDataset, a
                generator, a `tf.data.Dataset`, a DataLoader of such batches.
            sample_weight: (sequences,) or (sequences, time_steps). Windows in which all weights
                are zero are read and not learned from; so are those in which every sequence is
                padding (by a Masking layer or `Embedding(mask_zero=True)` behind each input).
            steps_per_epoch: batches of sequences in an epoch.
            class_weight: None: Keras has it for one label a sample, not for labels over time.
            batch_size, epochs, verbose, callbacks, validation_split, validation_data, shuffle,
                initial_epoch, validation_steps, validation_batch_size, validation_freq: as in
                Keras.

        Raises:
            ConveyorError: a model that is not compiled; inputs of several lengths; targets
                without a time axis; a class_weight.
        """
        model = self.model
        if not model.compiled:
            raise lesson(
                WHERE,
                "a compiled model",
                f'"{model.name}", which is not',
                'Write model.compile("adam", loss=...) before fit.',
            )
        if class_weight is not None:
            raise lesson(
                WHERE,
                "weights of time steps",
                "class_weight, which Keras has for one label a sample",
                "Write sample_weight=np.vectorize(class_weight.get)(y), with labels y of shape "
                "(sequences, time_steps).",
            )
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = array_slicing.train_validation_split(
                (x, y, sample_weight), validation_split=validation_split
            )
        batches = Batches(
            x,
            y=y,
            sample_weight=sample_weight,
            batch_size=batch_size,
            shuffle=shuffle,
            steps=steps_per_epoch,
        )
        windows = Windows(batches, self.window, self._axis)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = keras.callbacks.CallbackList(
                callbacks,
                add_history=True,
                add_progbar=verbose != 0,
                model=model,
                verbose=verbose,
                epochs=epochs,
                steps=windows.known_count,
            )
        with self._stepping_through(windows):
            return model.fit(
                windows,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_data=validation_data,
                shuffle=False,
                initial_epoch=initial_epoch,
                validation_steps=validation_steps,
                validation_batch_size=validation_batch_size or batch_size,
                validation_freq=validation_freq,
            )

    @contextmanager
    def _stepping_through(self, windows: Windows) -> Iterator[None]:
        """Let `model.fit` train on windows; afterwards the model is as it was, but trained."""
        model = self.model
        carried = CarriedStates(self._axis.recurrent, windows.rows)
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            # The end of the data is the end of the epoch.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            # JAX, where a batch is larger than any before, and so are its states.
            warnings.filterwarnings("ignore", "Some donated buffers were not usable")
            for inner in self._axis.models:
                stack.enter_context(_any_length(inner))
            stack.enter_context(carried.within(model))
            stack.enter_context(_without_xla(model))
            # Not when the first window is traced: variables cannot be made in a branch.
            model._symbolic_build(data_batch=windows.sample)
            try:
                object.__setattr__(model, "train_step", step_of(model, carried, windows.skips))
                model.train_function = None
                yield
            finally:
                vars(model).pop("train_step", None)
                model.train_function = None


@contextmanager
def _without_xla(model: Any) -> Iterator[None]:
    """TensorFlow's XLA wants the batch of the states fixed; `tf.function` alone does not."""
    compiles = keras.backend.backend() == "tensorflow" and model.jit_compile
    if compiles:
        model.jit_compile = False
    try:
        yield
    finally:
        if compiles:
            model.jit_compile = True


@contextmanager
def _any_length(model: Any) -> Iterator[None]:
    """Let a model with Input((1000, 3)) take windows."""
    before = vars(model).get("_manual_input_spec", _any_length)
    object.__setattr__(model, "_manual_input_spec", None)
    try:
        yield
    finally:
        vars(model).pop("_manual_input_spec")
        if before is not _any_length:
            object.__setattr__(model, "_manual_input_spec", before)
