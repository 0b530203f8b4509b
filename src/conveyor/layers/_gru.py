"""`conveyor.GRU`: the layer of Keras, with every state and gate at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops as K

from .. import _engines, ops
from .._engines import Array, Decision
from .._vocabulary import GRU_STATE_NAMES, AnyStateName, GRUStateName, has_time_axis
from ..ops import _checks as ops_checks
from ..ops._gru import gru_and_decision
from . import _checks, _recording
from ._gate_weights import WithGateWeights
from ._gru_cell import STATES, GRUCell
from ._initial_state import WithInitialState, check_initial_state
from ._reads_sequences import ReadsSequences
from ._states import StatesBetweenCalls
from ._variant import refuse_of_lstm


@keras.saving.register_keras_serializable(package="conveyor")
class GRU(ReadsSequences, StatesBetweenCalls, WithInitialState, WithGateWeights, keras.layers.GRU):
    """Gated recurrent unit: `keras.layers.GRU`, and every state and gate at every time step.

    The same arguments, weights, numbers and files as the layer of Keras. The input is
    (batch, time_steps, features), short (B, T, F); `units`, short U, is the size of the
    hidden state. With h' the state before the step:

        z = sigma(x W_z + h' R_z + b_z)     r = sigma(x W_r + h' R_r + b_r)
        g = tanh(x W_g + b_g + r * (h' R_g + b'_g))     with reset_after
        g = tanh(x W_g + (r * h') R_g + b_g)            without
        h = z * h' + (1 - z) * g

    (Cho et al. 2014, doi:10.3115/v1/D14-1179; the update gate keeps where it is 1, as in
    Keras and PyTorch.) The gates are packed in the order update, reset, candidate into
    kernel (F, 3U), recurrent_kernel (U, 3U) and bias: (2, 3U) with `reset_after`, one for
    the input and one for the hidden state, else (3U,).

    What comes back:

    | arguments | returned |
    |---|---|
    | none | hidden_state (B, U) |
    | `return_sequences=True` | hidden_states (B, T, U) |
    | `return_state=True` | hidden_state, hidden_state |
    | both | hidden_states, hidden_state |
    | `outputs=("hidden_states", "update_gates")` | what it says, in that order |

    Args:
        units: size U of the hidden state.
        activation: for the candidate.
        recurrent_activation: for the two gates.
        use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
            kernel_regularizer, recurrent_regularizer, bias_regularizer,
            activity_regularizer, kernel_constraint, recurrent_constraint,
            bias_constraint: as in Keras.
        dropout: fraction of the input to drop in training, one mask a call, shared over
            time (three masks, one a gate, with `implementation=1`).
        recurrent_dropout: the same for the hidden state on its way into the gates, with three
            masks. What the update gate keeps is not dropped.
        seed: of the dropout.
        return_sequences, return_state: see the table.
        go_backwards: read the last step first. Everything with a time axis, the mask for
            the next layer too, comes in the order read.
        stateful: begin each call with the state of the last one. Any batch size; another
            one wants `reset_state()` first. The state is not saved with the weights:
            `get_states()` gives it.
        unroll: write the loop out. For short sequences.
        reset_after: which of the two candidates, see above. True is that of cuDNN and PyTorch.
        use_cudnn: "auto" or False; as in Keras, True is an error where there is none.
        outputs: names of states instead of the two flags, one or several, in any order:
            `hidden_states`, `update_gates`, `reset_gates`, `candidates` (B, T, U),
            `hidden_state` (B, U). One name gives one tensor. All carry gradients. At a masked
            step the states repeat those before it, and the gates are zero.
        engine: "auto", "portable" or "native"; see `explain_engine()`.
        zero_output_for_mask: zeros instead of repeated states at masked steps, in
            everything that has a time axis.
        implementation: 1 or 2, see `dropout`.
        initial_state: "learned" begins each sequence with one more weight, (U,), zeros before
            training, instead of zeros; at the call `initial_state` still goes before.
        keras_masks: True treats masks as Keras 3.15 does: the mask of the input is not looked at
            where an `initial_state` is given, and goes on unturned with `go_backwards`.
        **kwargs: `name`, `dtype` and `trainable`.

    Call arguments:
        sequences: (B, T, F) floats.
        initial_state: hidden_state (B, U), by itself or in a list.
        mask: (B, T), False at steps to skip, in any pattern. It goes on to the next layer.
        training: whether dropout is on.
        lengths: (B,) integers from 0 to T, the same for padding on the right.
        resets: (B, T), True at the first step of each sequence where several lie one behind the
            other: the state begins anew there, as at the first step of all (with zeros, or with
            what was learned). An `initial_state` is that of the first sequence alone. No state
            and no gradient crosses between the steps t - 1 and t, also with `go_backwards`.

    Raises:
        ConveyorError: arguments and inputs that do not fit, each with the line to write.

    >>> from conveyor import GRU, Input
    >>> x = Input(shape=(20, 8))
    >>> hs, z = GRU(10, outputs=("hidden_states", "update_gates"))(x)
    >>> hs.shape, z.shape
    ((None, 20, 10), (None, 20, 10))
    """

    state_names = STATES

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: bool | str = "auto",
        *,
        outputs: str | Sequence[str] | None = None,
        engine: str = "auto",
        zero_output_for_mask: bool = False,
        implementation: int = 2,
        initial_state: str | None = None,
        keras_masks: bool = False,
        **kwargs: Any,
    ) -> None:
        where = type(self).__name__
        refuse_of_lstm(kwargs, where)
        _checks.check_units(units, where)
        _checks.check_rate(dropout, "dropout", where)
        _checks.check_rate(recurrent_dropout, "recurrent_dropout", where)
        _checks.check_use_cudnn(use_cudnn, where)
        check_initial_state(initial_state, stateful, where, STATES)
        _checks.check_not_both_flags(outputs, return_sequences, return_state, where, STATES)
        names = None if outputs is None else ops.check_gru_outputs(outputs, where)
        _engines.check_name(engine, where)
        cell = GRUCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            reset_after=reset_after,
            seed=seed,
            implementation=implementation,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="gru_cell",  # the path of the weights in Keras's files
        )
        # That of RNN: Keras's GRU would make a cell of its own.
        super(keras.layers.GRU, self).__init__(
            cell,
            # Wrappers such as Bidirectional ask these two what the first output is, and
            # whether there are more.
            return_sequences=return_sequences if names is None else has_time_axis(names[0]),
            return_state=return_state if names is None else len(names) > 1,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            zero_output_for_mask=zero_output_for_mask,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.outputs = names
        self.engine = engine
        self.initial_state = initial_state
        cell.learns_initial_state = initial_state is not None
        self.keras_masks = keras_masks
        self._use_cudnn = use_cudnn
        # As far as it is known now; every call says what it was.
        self._decision: Decision = _engines.expect_gru(
            engine, cell.activation, cell.recurrent_activation
        )
        self.supports_masking = True
        if stateful and keras.backend.backend() == "tensorflow":
            self.supports_jit = False  # XLA wants the batch of the remembered states fixed

    # Shapes ---------------------------------------------------------------------------

    def output_names(self) -> tuple[GRUStateName, ...]:
        """The names of what a call returns, whether flags or `outputs=` chose it.

        >>> GRU(10, return_state=True).output_names()
        ('hidden_state', 'hidden_state')
        """
        if self.outputs is not None:
            return self.outputs
        first: GRUStateName = "hidden_states" if self.return_sequences else "hidden_state"
        return (first, "hidden_state") if self.return_state else (first,)

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        batch, time_steps = sequences_shape[:2]
        shapes = tuple(
            (batch, time_steps, self.units) if has_time_axis(name) else (batch, self.units)
            for name in self.output_names()
        )
        return shapes[0] if len(shapes) == 1 else shapes

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        ops_checks.check_x(tuple(sequences_shape), self.where)
        batch, _, features = sequences_shape
        if not self.cell.built:
            self.cell.build((batch, features))
            self.cell.built = True
        self.build_memory(batch)

    # The call -------------------------------------------------------------------------

    def __call__(
        self,
        sequences: Array,
        initial_state: Any = None,
        mask: Any = None,
        training: bool | None = None,
        *,
        lengths: Any = None,
        resets: Any = None,
    ) -> Any:
        where = self.where
        _checks.check_is_array(sequences, where)
        features = self.cell.kernel.shape[0] if self.built else None
        _checks.check_input(sequences, features, where, gates=3)
        batch, time_steps = sequences.shape[:2]
        if self.unroll:
            _checks.check_unroll(time_steps, where)
        if initial_state is not None:
            several = isinstance(initial_state, (list, tuple))
            initial_state = list(initial_state) if several else [initial_state]
            _checks.check_initial_state(initial_state, batch, (self.units,), where, STATES)
        sequences, given = self.given_at_call(
            sequences, initial_state, mask, training, lengths, resets
        )
        return super().__call__(sequences, **given)

    def call(
        self,
        sequences: Array,
        initial_state: Any = None,
        mask: Any = None,
        training: bool | None = False,
        resets: Any = None,
    ) -> Any:
        if self._use_cudnn is True:
            raise _checks.cudnn_asked_for(self.where)
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        watching = _recording.records()
        drops = bool(training) and (self.cell.dropout > 0 or self.cell.recurrent_dropout > 0)
        hidden_state = dropout_mask = recurrent_dropout_mask = (
            None  # zeros, which none needs to see
        )
        begins_with_zeros = initial_state is None and self._begins_with_zeros
        if watching is not None or drops or not begins_with_zeros:
            (hidden_state,) = self._states_before(sequences, initial_state)
        if drops:
            dropout_mask, recurrent_dropout_mask = self.cell.draw_dropout_masks(
                sequences[:, 0, :], hidden_state, True
            )
            # Forgotten at once: a mask left over from a call that failed would enter the next.
            self.cell.reset_dropout_mask()
            self.cell.reset_recurrent_dropout_mask()
        if resets is not None:
            resets = K.not_equal(K.convert_to_tensor(resets), 0)
            if self.initial_state is not None:
                resets = K.where(resets, 2, 0)  # not at zeros, but where the first one began
        names = self.output_names()
        wanted = GRU_STATE_NAMES if watching is not None else (*names, *self.remembered_names)
        wanted = tuple(dict.fromkeys(wanted))
        values, decision = gru_and_decision(
            sequences,
            **self.cell.weights_for_ops(),
            hidden_state=hidden_state,
            mask=mask,
            resets=resets,
            dropout_mask=dropout_mask,
            recurrent_dropout_mask=recurrent_dropout_mask,
            go_backwards=self.go_backwards,
            unroll=self.unroll,
            outputs=wanted,
            engine=self.engine,
            where=self.where,
        )
        if decision != self._decision:  # Keras looks closely at each attribute that is set
            self._decision = decision
        states: dict[AnyStateName, Array] = dict(zip(wanted, values, strict=True))
        if self._memory is not None:
            self._memory.write([states[name] for name in self.remembered_names])
        if watching is not None:
            record = _recording.Record(
                self, sequences, mask, hidden_state, None, states, decision, resets
            )
            states = watching.add(record)
        returned = [states[name] for name in names]
        if self.zero_output_for_mask and mask is not None:
            returned = self._zero_where_masked(names, returned, mask)
        return returned[0] if len(names) == 1 else tuple(returned)

    @property
    def use_cudnn(self) -> bool | str:
        """Whether `keras.layers.Bidirectional` may run Keras's kernel for cuDNN instead.

        It may on JAX with a GPU, unless that kernel lacks what was asked for.
        """
        asked_for_more = self.outputs is not None or self.engine != "auto"
        return False if asked_for_more or _recording.records() is not None else self._use_cudnn

    @use_cudnn.setter
    def use_cudnn(self, value: bool | str) -> None:
        self._use_cudnn = value

    # About itself ---------------------------------------------------------------------

    def explain_engine(self) -> str:
        """Which engine ran the last call, or will run the first, and why no faster one does.

        >>> print(GRU(4, engine="portable").explain_engine())
        portable engine
        """
        return str(self._decision)

    def get_config(self) -> dict[str, Any]:
        flags = self.outputs is None
        own = {
            "outputs": self.outputs,
            "return_sequences": self.return_sequences and flags,
            "return_state": self.return_state and flags,
            "use_cudnn": self._use_cudnn,
            "implementation": self.implementation,
            "engine": self.engine,
            "initial_state": self.initial_state,
            "keras_masks": self.keras_masks,
        }
        return {**super().get_config(), **own}
