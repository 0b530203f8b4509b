"""The native engine on TensorFlow: where its ops run, and where they say that they do not."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops as K

from cases import CASES, Case
from conveyor import LSTM, ops
from conveyor._engines import _layout, _library
from conveyor._vocabulary import STATE_NAMES
from frameworks import BACKEND, assert_close, only_on, to_numpy
from native_calls import ops_in_graph
from oracles import finite_differences, reference_backward, reference_forward

if BACKEND == "tensorflow":
    import tensorflow as tf

    from conveyor._engines.glue import _tensorflow_native

pytestmark = [
    only_on("tensorflow"),
    pytest.mark.skipif(_library.missing() is not None, reason=str(_library.missing())),
]

WEIGHTS = ("x", "kernel", "recurrent_kernel", "bias", "hidden_state", "cell_state")
DROPOUT = ("dropout_mask", "recurrent_dropout_mask")
SMALL = Case(name="small", mask="holes", initial_states=True, resets=True)
by_name = pytest.mark.parametrize("case", CASES, ids=str)
tapes = pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])


def tensors(case: Case, dtype: str = "float32"):
    """The arguments, arrays as tensors, and the same numbers in NumPy."""
    arguments = case.arguments("float64")
    for name in (*WEIGHTS, *DROPOUT):
        if arguments[name] is not None:
            arguments[name] = K.cast(K.convert_to_tensor(arguments[name]), dtype)
    exact = {k: to_numpy(v) if hasattr(v, "dtype") else v for k, v in arguments.items()}
    return arguments, exact


def of_any_size(function, *arrays):
    """A graph that knows neither batch nor time_steps, called."""
    specs = [
        tf.TensorSpec([None] * min(2, len(a.shape)) + list(a.shape[2:]), a.dtype) for a in arrays
    ]
    return tf.function(function, input_signature=specs)(*arrays)


def decision(layer: LSTM) -> str:
    return str(layer.explain_engine())


def test_the_ops_are_there() -> None:
    assert _tensorflow_native.missing() is None


# ------------------------------------------------------------------------------- the numbers


@by_name
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_eight_states_of_any_size(case: Case, dtype: str) -> None:
    if dtype == "bfloat16" and case.activation != "tanh":
        pytest.skip("values grow past the tolerance of 16 bits")
    arguments, exact = tensors(case, dtype)
    expected = reference_forward(**exact)
    mask = tf.ones(exact["x"].shape[:2], bool) if case.mask == "none" else arguments["mask"]

    def run(x, mask):
        changed = {**arguments, "x": x, "mask": None if case.mask == "none" else mask}
        return ops.lstm(**changed, outputs=STATE_NAMES, engine="native")

    for values in (run(arguments["x"], mask), of_any_size(run, arguments["x"], tf.constant(mask))):
        for name, value in zip(STATE_NAMES, values, strict=True):
            assert value.dtype == dtype
            assert_close(value, expected[name], dtype)


@by_name
@tapes
def test_gradients_of_everything(case: Case, graph: bool) -> None:
    arguments, exact = tensors(case)
    names = [n for n in (*WEIGHTS, *DROPOUT) if arguments[n] is not None]
    rng = np.random.default_rng(7)
    cotangents = {n: rng.normal(size=v.shape) for n, v in reference_forward(**exact).items()}
    expected = reference_backward(cotangents, **exact)
    expected |= of_dropout_masks(exact, cotangents)

    def run(*given):
        with tf.GradientTape() as tape:
            tape.watch(given)
            changed = {**arguments, **dict(zip(names, given, strict=True))}
            states = ops.lstm(**changed, outputs=STATE_NAMES, engine="native")
        arriving = [tf.constant(cotangents[n], "float32") for n in STATE_NAMES]
        return tape.gradient(states, given, output_gradients=arriving)

    given = [arguments[n] for n in names]
    for name, gradient in zip(names, (tf.function(run) if graph else run)(*given), strict=True):
        scale = max(1.0, float(np.abs(expected[name]).max()))
        assert_close(gradient / scale, expected[name] / scale, scale=5)


def of_dropout_masks(exact, cotangents):
    names = [n for n in DROPOUT if exact[n] is not None]

    def loss(*masks):
        states = reference_forward(**{**exact, **dict(zip(names, masks, strict=True))})
        return sum((states[n] * cotangents[n]).sum() for n in STATE_NAMES)

    return dict(zip(names, finite_differences(loss, [exact[n] for n in names]), strict=True))


def test_bfloat16_trains_with_a_cell_state_in_float32() -> None:
    arguments, exact = tensors(SMALL, "bfloat16")
    arguments["cell_state"] = tf.cast(arguments["cell_state"], "float32")
    given = [arguments["kernel"], arguments["cell_state"]]
    with tf.GradientTape() as tape:
        tape.watch(given)
        hs = ops.lstm(**arguments, engine="native")
    ones = {"hidden_states": np.ones(hs.shape)}
    expected = reference_backward(ones, **exact)
    gradients = tape.gradient(hs, given)
    for name, gradient in zip(("kernel", "cell_state"), gradients, strict=True):
        assert gradient.dtype == arguments[name].dtype
        assert_close(
            gradient, expected[name], "bfloat16", scale=float(np.abs(expected[name]).max())
        )


@tapes
@pytest.mark.parametrize("dropout", ["none", "per_gate"])
def test_second_derivatives(graph: bool, dropout) -> None:
    case = Case(name="second", mask="holes", initial_states=True, resets=True, dropout=dropout)
    arguments, exact = tensors(case, "float64")
    rng = np.random.default_rng(3)
    direction = {n: rng.normal(size=exact[n].shape) for n in WEIGHTS}
    arriving = {n: rng.normal(size=(3, 5, 3)) for n in ("cell_states", "output_gates")}

    def run(*given):
        with tf.GradientTape() as outer:
            outer.watch(given)
            with tf.GradientTape() as inner:
                inner.watch(given)
                changed = {**arguments, **dict(zip(WEIGHTS, given, strict=True))}
                states = ops.lstm(**changed, outputs=tuple(arriving), engine="native")
            slopes = inner.gradient(
                states, given, output_gradients=[*map(tf.constant, arriving.values())]
            )
        return outer.gradient(
            slopes, given, output_gradients=[*map(tf.constant, direction.values())]
        )

    def slope(step):
        moved = {n: exact[n] + step * direction[n] for n in WEIGHTS}
        return reference_backward(arriving, **{**exact, **moved})

    ahead, behind = slope(1e-5), slope(-1e-5)
    actual = (tf.function(run) if graph else run)(*(arguments[n] for n in WEIGHTS))
    for name, value in zip(WEIGHTS, actual, strict=True):
        measured = (ahead[name] - behind[name]) / 2e-5
        np.testing.assert_allclose(value, measured, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------- what TensorFlow makes of it


def test_only_the_gradients_that_are_needed() -> None:
    arguments, _ = tensors(SMALL)

    @tf.function
    def run(kernel):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            hs = ops.lstm(**{**arguments, "kernel": kernel}, engine="native")
        return tape.gradient(hs, kernel)

    (backward,) = ops_in_graph(run.get_concrete_function(arguments["kernel"]))["Backward"]
    assert backward.attr["wanted"].list.i == [1 << _library.INPUTS.index("kernel")]


def test_nothing_is_kept_without_a_tape_and_a_late_gradient_is_right() -> None:
    arguments, exact = tensors(SMALL)
    run = tf.function(lambda x: ops.lstm(**{**arguments, "x": x}, engine="native"))
    (forward,) = ops_in_graph(run.get_concrete_function(arguments["x"]))["Forward"]
    assert forward.attr["keep"].list.i == [0]
    with tf.GradientTape() as tape:
        tape.watch(arguments["x"])
        hs = run(arguments["x"])
    expected = reference_backward({"hidden_states": np.ones(hs.shape)}, **exact)["x"]
    assert_close(tape.gradient(hs, arguments["x"]), expected, scale=5)


@tapes
def test_a_persistent_tape_a_jacobian_and_forward_mode(graph: bool) -> None:
    arguments, exact = tensors(SMALL, "float64")

    def run(x):
        return ops.lstm(**{**arguments, "x": x}, outputs="cell_state", engine="native")

    x, run = arguments["x"], tf.function(run) if graph else run
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        c = run(x)
    expected = reference_backward({"cell_state": np.ones(c.shape)}, **exact)["x"]
    for _ in range(2):
        assert_close(tape.gradient(c, x), expected, "float64")
    jacobian = tape.jacobian(c, x, experimental_use_pfor=False)
    assert_close(tf.reduce_sum(jacobian, axis=[0, 1]), expected, "float64")
    with tf.autodiff.ForwardAccumulator(x, x) as forward:
        c = run(x)
    assert_close(forward.jvp(c), tf.reduce_sum(jacobian * x, axis=[2, 3, 4]), "float64")


def test_steps_of_a_loop_that_hands_the_states_on() -> None:
    arguments, exact = tensors(SMALL)
    names = ("hidden_state", "cell_state")

    @tf.function
    def run(x, times):
        with tf.GradientTape() as tape:
            tape.watch(x)
            states = tuple(arguments[n] for n in names)
            for _ in tf.range(times):
                changed = {**arguments, "x": x, **dict(zip(names, states, strict=True))}
                states = ops.lstm(**changed, outputs=names, engine="native")
        return states, tape.gradient(states[1], x)

    (h, c), gradient = run(arguments["x"], 2)
    first = reference_forward(**exact)
    then = {**exact, **{n: first[n] for n in names}}
    second = reference_forward(**then)
    assert_close(h, second["hidden_state"])
    assert_close(c, second["cell_state"])
    late = reference_backward({"cell_state": np.ones((3, 3))}, **then)
    early = reference_backward({n: late[n] for n in names}, **exact)
    assert_close(gradient, late["x"] + early["x"], scale=5)


def test_sizes_that_do_not_fit_fail_where_they_are_known() -> None:
    arguments, _ = tensors(SMALL)

    def run(x, hidden_state):
        changed = {**arguments, "x": x, "hidden_state": hidden_state, "mask": None}
        return ops.lstm(**changed, engine="native")

    run = tf.function(
        run, input_signature=[tf.TensorSpec((None, None, 4)), tf.TensorSpec((None, 3))]
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"hidden_state of shape \(3, 3\)"):
        run(arguments["x"], arguments["hidden_state"][:2])


def test_no_sequences() -> None:
    arguments, _ = tensors(Case(name="empty", batch=0))
    with tf.GradientTape() as tape:
        tape.watch(arguments["kernel"])
        hs = ops.lstm(**arguments, engine="native")
    assert hs.shape == (0, 5, 3)
    assert not tf.math.count_nonzero(tape.gradient(hs, arguments["kernel"]))


@pytest.mark.parametrize(("variable", "expected"), [(None, 3), ("1", 0)])
def test_as_many_threads_as_tensorflow_unless_told(monkeypatch, variable, expected) -> None:
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 3)
    monkeypatch.setattr(_library, "_number_of_threads", variable and int(variable))
    arguments, _ = tensors(SMALL)
    run = tf.function(lambda x: ops.lstm(**{**arguments, "x": x}, engine="native"))
    (forward,) = ops_in_graph(run.get_concrete_function(arguments["x"]))["Forward"]
    numbers = np.array(forward.attr["problem"].list.i, np.int64).tobytes()
    told = _layout.LSTM.from_buffer_copy(numbers.ljust(ctypes.sizeof(_layout.LSTM), b"\0"))
    assert told.threads == expected


# -------------------------------------------------------------------------------------- Keras


def model(engine: str = "auto", **arguments) -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = [
        keras.layers.Embedding(9, 4, mask_zero=True),
        LSTM(5, return_sequences=True, dropout=0.2, seed=1, engine=engine),
        keras.layers.Bidirectional(LSTM(3, engine=engine)),
        keras.layers.Dense(1),
    ]
    made = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    made.compile("adam", "mse", **arguments)
    return made


TOKENS = np.array([[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 7, 8]], "int32")


def trained(made: keras.Model) -> list:
    history = made.fit(TOKENS, np.ones((3, 1)), epochs=3, verbose=0)
    evaluated = made.evaluate(TOKENS, np.ones((3, 1)), verbose=0)
    return [*history.history["loss"], evaluated, *made.predict(TOKENS, verbose=0).ravel()]


def test_fit_evaluate_and_predict_as_on_the_portable_engine() -> None:
    np.testing.assert_allclose(trained(model("native")), trained(model("portable")), rtol=1e-4)


def test_fit_takes_it_by_default_and_on_replicas() -> None:
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        made = model()
    made.fit(TOKENS, np.ones((3, 1)), verbose=0)
    assert decision(made.layers[1]) == "native engine"


# -------------------------------------------------------------------------- where it cannot run


def test_under_xla_it_is_the_portable_engine() -> None:
    layer = LSTM(3)
    x = tf.random.normal((2, 4, 5))
    expected = layer(x)
    assert decision(layer) == "native engine"
    assert_close(tf.function(tf.function(layer), jit_compile=True)(x), expected)
    assert "not native: XLA" in decision(layer)


def test_xla_names_the_op_in_a_function_that_was_traced_without_it() -> None:
    layer = LSTM(3)
    x = tf.random.normal((2, 4, 5))
    traced = tf.function(layer)
    traced(x)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Conveyor>LstmForward"):
        tf.function(traced, jit_compile=True)(x)


def test_where_arrays_are_elsewhere(monkeypatch) -> None:
    layer = LSTM(3)
    x = tf.random.normal((2, 4, 5))
    with monkeypatch.context() as on_a_gpu:
        on_a_gpu.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
        layer(x)
        assert decision(layer) == "native engine"  # this array is on the CPU
        tf.function(layer)(x)
        assert "not native: it runs on CPUs" in decision(layer)
    servers = object.__new__(tf.distribute.ParameterServerStrategy)
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: servers)
    assert "parameter server" in _tensorflow_native._elsewhere(
        tf.function(lambda: x).get_concrete_function().outputs[0]
    )


READER = """
import json, sys
import numpy as np
import tensorflow as tf
x = np.load(sys.argv[1] + "/x.npy")
read = lambda name: tf.saved_model.load(f"{sys.argv[1]}/{name}")
exported, module = read("exported"), read("module")
answers = {"exported": exported.serve(x).numpy().tolist(), "module": module.run(x).numpy().tolist()}
try:
    read("signature")
except Exception as error:
    answers["signature"] = str(error)
import conveyor.ops
known = read("signature")
values = known.signatures["serving_default"](tf.constant(x))
answers["known"] = values.popitem()[1].numpy().tolist()
print(json.dumps(answers))
"""


def test_saved_models_are_read_without_conveyor(tmp_path) -> None:
    made = model()
    made.fit(TOKENS, np.ones((3, 1)), verbose=0)
    expected = made.predict(TOKENS, verbose=0).ravel()
    np.save(tmp_path / "x.npy", TOKENS)
    made.export(tmp_path / "exported", verbose=False)
    assert "not native: this function is exported" in decision(made.layers[1])

    # Traced with the ops, which TensorFlow does again when it saves the function.
    module = tf.Module()
    module.model, module.run = made, tf.function(made)
    module.run(TOKENS)
    assert decision(made.layers[1]) == "native engine"
    tf.saved_model.save(module, tmp_path / "module")
    assert "not native: this function is exported" in decision(made.layers[1])

    # A graph that is handed over as it is says what it needs, and has it once conveyor is there.
    traced = module.run.get_concrete_function(tf.TensorSpec((None, None), tf.int32))
    tf.saved_model.save(module, tmp_path / "signature", signatures=traced)

    run = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert run.returncode == 0, run.stderr
    answers = json.loads(run.stdout.splitlines()[-1])
    for name in ("exported", "module", "known"):
        np.testing.assert_allclose(np.ravel(answers[name]), expected, rtol=1e-5)
    assert "Conveyor>LstmForward" in answers["signature"]
