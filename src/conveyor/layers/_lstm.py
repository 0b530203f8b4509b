"""`conveyor.LSTM`: the layer of Keras, with every state at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops as K

from .. import _engines, ops
from .._engines import Array, Decision
from .._vocabulary import STATE_NAMES, AnyStateName, StateName, has_time_axis
from ..ops import _checks as ops_checks
from ..ops._lstm import lstm_and_decision
from ..ops._remat import check_remat
from . import _checks, _recording, _stack_call
from ._cell import LSTMCell
from ._gate_weights import WithGateWeights
from ._initial_state import WithInitialState, check_initial_state
from ._reads_sequences import ReadsSequences
from ._stack import ByLayer, WithLayers, make_parts
from ._stack_arguments import OF_A_STACK, check_stack, is_stack
from ._stack_states import pairs_of
from ._states import StatesBetweenCalls
from ._variant import PLAIN, CellVariant, Settings, as_variant, size_of
from ._variant_weights import drawn_in


@keras.saving.register_keras_serializable(package="conveyor")
class LSTM(
    WithLayers,
    Settings,
    ReadsSequences,
    StatesBetweenCalls,
    WithInitialState,
    WithGateWeights,
    keras.layers.LSTM,
):
    """Long short-term memory: `keras.layers.LSTM`, and every state at every time step.

    The same arguments, weights, numbers and files as the layer of Keras. The input is
    (batch, time_steps, features), short (B, T, F); `units`, short U, is the size of the
    hidden and of the cell state. With h' and c' the states before the step:

        i = sigma(x W_i + h' R_i + b_i)     f = sigma(x W_f + h' R_f + b_f)
        g = tanh (x W_c + h' R_c + b_c)     o = sigma(x W_o + h' R_o + b_o)
        c = f * c' + i * g                  h = o * tanh(c)

    (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000.) The gates
    are packed in the order input, forget, candidate, output into kernel (F, 4U),
    recurrent_kernel (U, 4U) and bias (4U,).

    What comes back:

    | arguments | returned |
    |---|---|
    | none | hidden_state (B, U) |
    | `return_sequences=True` | hidden_states (B, T, U) |
    | `return_state=True` | hidden_state, hidden_state, cell_state |
    | both | hidden_states, hidden_state, cell_state |
    | `outputs=("hidden_states", "cell_states")` | what it says, in that order |

    Beyond the plain LSTM, each by itself or together, in this order within a step; what is
    marked w is a weight more, behind those of the plain LSTM in files:

    | argument | what it adds |
    |---|---|
    | `layer_norm="gates"` | z = LN(x W + h' R) * w + b for each gate by itself |
    | `layer_norm="joint"` | z = LN(x W) * w_x + LN(h' R) * w_h + b over all gates at once |
    | `peephole=True` | z_i + w_i * c' and z_f + w_f * c', z_o + w_o * c |
    | `clip=a`, `cell_clip=a` | each z, or c, at most a and at least -a |
    | `coupled=True` | i = 1 - f, and no weights of an input gate |
    | `layer_norm="cell"` | h = o * tanh(LN(c) * w + w') |
    | `output_transform=True` | h = o * tanh(c w + w'), w (U, U) |
    | `output_activation="relu"` | h = o * relu(c); the activation is that of the candidate |
    | `projection=p` | h = (o * tanh(c)) w, w (U, p); hidden states have p numbers |
    | `zoneout=(a, b)` | units of h keep their old value with probability a, those of c with b |

    with LN(a) = (a - mean(a)) / sqrt(var(a) + 1e-5).

    Args:
        units: size U of the hidden and of the cell state.
        activation: for the candidate, and for the cell state on its way out where
            `output_activation` names no other.
        recurrent_activation: for the three gates.
        use_bias, kernel_initializer, recurrent_initializer, bias_initializer,
            unit_forget_bias, kernel_regularizer, recurrent_regularizer,
            bias_regularizer, activity_regularizer, kernel_constraint,
            recurrent_constraint, bias_constraint: as in Keras.
        dropout: fraction of the input to drop in training, one mask a call, shared over
            time (four masks, one a gate, with `implementation=1`).
        recurrent_dropout: the same for the hidden state on its way into the gates.
        seed: of the dropout.
        return_sequences, return_state: see the table.
        go_backwards: read the last step first. Everything with a time axis, the mask for
            the next layer too, comes in the order read.
        stateful: begin each call with the states of the last one. Any batch size; another
            one wants `reset_state()` first. States are not saved with the weights:
            `get_states()` gives them.
        unroll: write the loop out. For short sequences.
        use_cudnn: "auto" or False; as in Keras, True is an error where there is none.
        outputs: names of states instead of the two flags, one or several, in any order:
            `hidden_states`, `cell_states`, `input_gates`, `forget_gates`, `candidates`,
            `output_gates` (B, T, U), `hidden_state`, `cell_state` (B, U). One name gives
            one tensor. All carry gradients. At a masked step the states repeat those
            before it, and the gates are zero.
        engine: "auto", "portable" or "native"; see `explain_engine()`.
        zero_output_for_mask: zeros instead of repeated states at masked steps, in
            everything that has a time axis.
        implementation: 1 or 2, see `dropout`.
        initial_state: "learned" begins each sequence with two more weights, (U,) each, zeros before
            training, instead of zeros; at the call `initial_state` still goes before.
        keras_masks: True treats masks as Keras 3.15 does: the mask of the input is not looked at
            where an `initial_state` is given, and goes on unturned with `go_backwards`.
            `accelerate` sets it, so that a trained model keeps its numbers.
        remat: a number of time steps: keep the states of every so many-th step alone for the
            gradient, and compute the rest again on the way back. For sequences of many thousand
            steps; see `conveyor.memory_estimate`.
        num_layers: so many LSTMs one above the other: each reads the hidden states of the one
            below, and all have the arguments above (`dropout` is on the input of each). What
            comes back is that of the top layer.
        bidirectional: each layer has two LSTMs, of which one reads the last step first (Schuster
            & Paliwal 1997). What has a time axis comes back in the order of the input.
        merge_mode: how two directions are joined, for the layer above and in what comes back:
            "concat", "sum", "mul" or "ave"; None gives the two of the top layer by themselves,
            forward first, and joins by "concat" between the layers.
        inter_layer_dropout: fraction of what each layer but the top one hands on to drop in
            training, drawn for each time step by itself: `dropout` of `torch.nn.LSTM`.
        peephole: the cell state is seen by the gates, by way of (3U,) weights in the order input,
            forget, output, zeros before training (Gers & Schmidhuber 2000,
            doi:10.1109/IJCNN.2000.861302).
        coupled: what is forgotten makes room for what comes in, i = 1 - f (Greff et al. 2015,
            arXiv:1503.04069). The kernels are (F, 3U) and (U, 3U), the bias (3U,), in the order
            forget, candidate, output; `gate_weights()` has no "input".
        output_transform: a fifth weight and bias, output_kernel (U, U) and output_bias (U,), on
            the cell state's way out. They begin with the identity and zeros: the plain LSTM.
        projection: the size p of the hidden state, that recurrent_kernel (p, 4U) reads, made by
            projection_kernel (U, p), which begins as `kernel_initializer` says (Sak et al. 2014,
            arXiv:1402.1128; `proj_size` of torch.nn.LSTM).
        layer_norm: "gates", of each gate by itself, as in TensorFlow's LayerNormBasicLSTMCell;
            "joint", of what comes from x and from h, as in Ba, Kiros & Hinton 2016,
            arXiv:1607.06450, equations 20 and 21; "cell", on the cell state's way out, their
            equation 22 (TensorFlow's also goes on with it); or one of the first two with "cell"
            as a pair. gate_scale is (4U,), or (2, 4U) for "joint"; cell_scale and cell_shift (U,).
        zoneout: one number, or the pair (hidden, cell). At inference a state is that part of its
            old value, and the rest of the new one (Krueger et al. 2017, arXiv:1606.01305).
        recurrent_weight_dropout: fraction of recurrent_kernel to drop in training, one mask a
            call; what is left is scaled by 1 / (1 - rate) (DropConnect; Merity et al. 2018,
            arXiv:1708.02182).
        clip: bound on the inputs of gates and candidate, as in ONNX.
        cell_clip: bound on the cell state, as in TensorFlow's BlockLSTM.
        output_activation: for the cell state on its way out; None is `activation`.
        **kwargs: `name`, `dtype` and `trainable`.

    Call arguments:
        sequences: (B, T, F) floats.
        initial_state: the pair [hidden_state, cell_state], (B, U) each. Of several layers or
            directions the flat list of all pairs, layer by layer, forward before backward, as
            `return_state=True` gives it behind the first output; or the pair of torch,
            (layers * directions, B, U) each, see `torch_states`.
        mask: (B, T), False at steps to skip, in any pattern. It goes on to the next layer.
        training: whether dropout is on.
        lengths: (B,) integers from 0 to T, the same for padding on the right.
        resets: (B, T), True at the first step of each sequence where several lie one behind the
            other: the states begin anew there, as at the first step of all (with zeros, or with
            what was learned). An `initial_state` is that of the first sequence alone. No state
            and no gradient crosses between the steps t - 1 and t, also with `go_backwards`.

    Raises:
        ConveyorError: arguments and inputs that do not fit, each with the line to write.

    >>> from conveyor import Input, LSTM
    >>> x = Input(shape=(20, 8))
    >>> hs, cs = LSTM(10, outputs=("hidden_states", "cell_states"))(x)
    >>> hs.shape, cs.shape
    ((None, 20, 10), (None, 20, 10))
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
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
        use_cudnn: bool | str = "auto",
        *,
        outputs: str | Sequence[str] | None = None,
        engine: str = "auto",
        zero_output_for_mask: bool = False,
        implementation: int = 2,
        initial_state: str | None = None,
        keras_masks: bool = False,
        remat: int | None = None,
        num_layers: int = 1,
        bidirectional: bool = False,
        merge_mode: str | None = "concat",
        inter_layer_dropout: float = 0.0,
        peephole: bool = False,
        coupled: bool = False,
        output_transform: bool = False,
        projection: int | None = None,
        layer_norm: str | Sequence[str] | None = None,
        zoneout: float | Sequence[float] = 0.0,
        recurrent_weight_dropout: float = 0.0,
        clip: float | None = None,
        cell_clip: float | None = None,
        output_activation: Any = None,
        **kwargs: Any,
    ) -> None:
        given = {n: v for n, v in locals().items() if n not in ("self", "__class__")}
        where = type(self).__name__
        _checks.check_units(units, where)
        _checks.check_rate(dropout, "dropout", where)
        _checks.check_rate(recurrent_dropout, "recurrent_dropout", where)
        _checks.check_use_cudnn(use_cudnn, where)
        check_initial_state(initial_state, stateful, where)
        check_remat(remat, where)
        _checks.check_not_both_flags(outputs, return_sequences, return_state, where)
        names = None if outputs is None else ops.check_outputs(outputs, where)
        _engines.check_name(engine, where)
        beyond_plain = {
            "peephole": peephole,
            "coupled": coupled,
            "output_transform": output_transform,
            "projection": projection,
            "layer_norm": layer_norm,
            "zoneout": zoneout,
            "recurrent_weight_dropout": recurrent_weight_dropout,
            "clip": clip,
            "cell_clip": cell_clip,
            "output_activation": output_activation,
        }
        as_variant(beyond_plain, units, where)
        check_stack(given, where)
        cell = LSTMCell(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            implementation=implementation,
            **beyond_plain,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="lstm_cell",  # the path of the weights in Keras's files
        )
        parts = make_parts(LSTM, given) if is_stack(given) else ByLayer(())
        if parts:
            cell = parts[0][0].cell  # what is the same in all cells is read from the first
        # That of RNN: Keras's LSTM would make a cell of its own.
        super(keras.layers.LSTM, self).__init__(
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
        self.remat = None if remat is None else int(remat)
        self.keep_parts(parts, given)
        self._use_cudnn = use_cudnn
        # As far as it is known now; every call says what it was.
        self._decision: Decision = _engines.expect(
            engine, cell.activation, cell.recurrent_activation
        )
        self.supports_masking = True
        if stateful and keras.backend.backend() == "tensorflow":
            self.supports_jit = False  # XLA wants the batch of the remembered states fixed

    # Shapes ---------------------------------------------------------------------------

    def output_names(self) -> tuple[StateName, ...]:
        """The names of what a call returns, whether flags or `outputs=` chose it.

        >>> LSTM(10, return_state=True).output_names()
        ('hidden_state', 'hidden_state', 'cell_state')
        """
        if self.parts:
            return _stack_call.output_names(self)
        if self.outputs is not None:
            return self.outputs
        first: StateName = "hidden_states" if self.return_sequences else "hidden_state"
        return (first, "hidden_state", "cell_state") if self.return_state else (first,)

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        if self.parts:
            return _stack_call.output_shape(self, sequences_shape)
        batch, time_steps = sequences_shape[:2]
        shapes = tuple(
            (batch, *((time_steps,) if has_time_axis(name) else ()), size_of(self, name))
            for name in self.output_names()
        )
        return shapes[0] if len(shapes) == 1 else shapes

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        ops_checks.check_x(tuple(sequences_shape), self.where)
        if self.parts:
            _stack_call.build(self, sequences_shape)
            return
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
        _checks.check_input(sequences, self.cell.kernel.shape[0] if self.built else None, where)
        batch, time_steps = sequences.shape[:2]
        if self.unroll:
            _checks.check_unroll(time_steps, where)
        if initial_state is not None and self.parts:
            pairs = pairs_of(initial_state, batch, self.cells.flat(), where)
            initial_state = [state for pair in pairs for state in pair]
        elif initial_state is not None:
            _checks.check_initial_state(initial_state, batch, self.cell.state_size, where)
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
        mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        if self.parts:
            return _stack_call.run(self, sequences, initial_state, mask, bool(training), resets)
        call = self.asked(sequences, initial_state, mask, bool(training), resets)
        return self.answered(call, *lstm_and_decision(**call))

    def asked(
        self, sequences: Array, initial_state: Any, mask: Any, training: bool, resets: Any
    ) -> dict[str, Any]:
        """What a call asks of `ops.lstm`."""
        if self._use_cudnn is True:
            raise _checks.cudnn_asked_for(self.where)
        watched = _recording.records() is not None
        drops = training and (self.cell.dropout > 0 or self.cell.recurrent_dropout > 0)
        hidden_state = cell_state = None  # zeros, which no engine needs to see
        begins_with_zeros = initial_state is None and self._begins_with_zeros
        if watched or drops or not begins_with_zeros:
            hidden_state, cell_state = self._states_before(sequences, initial_state)
        dropout_mask = recurrent_dropout_mask = None
        if drops:
            dropout_mask, recurrent_dropout_mask = self.cell.draw_dropout_masks(
                sequences[:, 0, :], hidden_state, training
            )
        given = self.cell.weights_for_ops()
        if training and self.variant.draws:
            given |= self.cell.drawn(given, *K.shape(sequences)[:2])
        if training:
            # Forgotten at once: a mask left over from a call that failed would enter the next.
            self.cell.reset_dropout_mask()
            self.cell.reset_recurrent_dropout_mask()
        if resets is not None:
            resets = K.not_equal(K.convert_to_tensor(resets), 0)
            if self.initial_state is not None:
                resets = K.where(resets, 2, 0)  # not at zeros, but where the first one began
        wanted = STATE_NAMES if watched else (*self.output_names(), *self.remembered_names)
        return {
            "x": sequences,
            **given,
            "hidden_state": hidden_state,
            "cell_state": cell_state,
            "mask": mask,
            "resets": resets,
            "dropout_mask": dropout_mask,
            "recurrent_dropout_mask": recurrent_dropout_mask,
            "go_backwards": self.go_backwards,
            "unroll": self.unroll,
            "remat": self.remat,
            "outputs": tuple(dict.fromkeys(wanted)),
            "engine": self.engine,
            "where": self.where,
        }

    def answered(self, call: dict[str, Any], values: Sequence[Array], decision: Decision) -> Any:
        """What the layer returns, of what `asked` asked for."""
        if decision != self._decision:  # Keras looks closely at each attribute that is set
            self._decision = decision
        states: dict[AnyStateName, Array] = dict(zip(call["outputs"], values, strict=True))
        mask = call["mask"]
        if self._memory is not None:
            self._memory.write([states[name] for name in self.remembered_names])
        watching = _recording.records()
        if watching is not None:
            before = call["hidden_state"], call["cell_state"]
            record = _recording.Record(
                self, call["x"], mask, *before, states, decision, call["resets"], drawn_in(call)
            )
            states = watching.add(record)
        names = self.output_names()
        returned = [states[name] for name in names]
        if self.zero_output_for_mask and mask is not None:
            returned = self._zero_where_masked(names, returned, mask)
        return returned[0] if len(names) == 1 else tuple(returned)

    @property
    def variant(self) -> CellVariant:  # type: ignore[override]
        """What the cell has beyond the plain LSTM."""
        variant: CellVariant = self.cell.variant
        return variant

    @property
    def use_cudnn(self) -> bool | str:
        """Whether `keras.layers.Bidirectional` may run Keras's kernel for cuDNN instead.

        It may on JAX with a GPU, unless that kernel lacks what was asked for.
        """
        asked_for_more = (
            self.outputs is not None
            or self.engine != "auto"
            or self.variant is not PLAIN
            or self.parts
        )
        return False if asked_for_more or _recording.records() is not None else self._use_cudnn

    @use_cudnn.setter
    def use_cudnn(self, value: bool | str) -> None:
        self._use_cudnn = value

    # About itself ---------------------------------------------------------------------

    def explain_engine(self) -> str:
        """Which engine ran the last call, or will run the first, and why no faster one does.

        >>> print(LSTM(4, engine="portable").explain_engine())
        portable engine
        """
        return _stack_call.explain_engine(self) if self.parts else str(self._decision)

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
            "remat": self.remat,
            **{name: getattr(self, name) for name in OF_A_STACK},
            **self.variant.get_config(),
        }
        return {**super().get_config(), **own}
