"""GateHealth and GradientFlow: into the logs of Keras, for a small part of the time."""

from __future__ import annotations

import csv

import keras
import numpy as np
import pytest
from keras import layers

from conveyor import ConveyorError, callbacks, gradient_flow, health, trace
from frameworks import BACKEND

pytestmark = pytest.mark.skipif(BACKEND == "numpy", reason="Keras cannot fit on it")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6, 3)).astype("float32")
Y = RNG.normal(size=(40, 1)).astype("float32")


def model():
    lstm = layers.LSTM(4, name="reader")
    built = keras.Sequential([keras.Input((6, 3)), lstm, layers.Dense(1)])
    built.compile(loss="mse", optimizer="sgd")
    return built


def test_the_logs_have_what_health_and_gradient_flow_say(tmp_path) -> None:
    trained = model()
    gates = callbacks.GateHealth(X, samples=8, share=1, detail=True)
    flow = callbacks.GradientFlow(X, Y, samples=8, share=1)
    file = tmp_path / "log.csv"
    calls = [gates, flow, keras.callbacks.CSVLogger(str(file))]
    kept = trained.fit(X, Y, epochs=1, callbacks=calls, verbose=0).history
    expected = health(trace(trained, X[:8])).layers["reader"]
    assert kept["reader/half_life"][-1] == pytest.approx(np.median(expected.half_life), rel=1e-5)
    assert kept["reader/forget_gates_left_saturated"][-1] == pytest.approx(
        expected.left_saturated["forget_gates"].mean()
    )
    layer = gradient_flow(trained, X[:8], Y[:8]).layers["reader"]
    assert kept["reader/memory_length"][-1] == pytest.approx(layer.memory_length, rel=1e-4)
    assert kept["reader/gradient_left"][-1] == pytest.approx(layer.decay[-1], rel=1e-4)
    np.testing.assert_allclose(flow.history[0].layers["reader"].d_inputs, layer.d_inputs, rtol=1e-4)
    (row,) = csv.DictReader(file.read_text().splitlines())
    assert float(row["reader/half_life"]) == pytest.approx(kept["reader/half_life"][0])


def test_it_looks_as_often_as_its_share_of_the_time_allows(monkeypatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("conveyor.inspection._callbacks.time.perf_counter", lambda: clock[0])

    class Slow(callbacks.GateHealth):
        def look(self):
            clock[0] += 2.0
            return "looked", {"reader/half_life": 1.0}

    slow, kept = Slow(X, share=0.1), []
    for epoch in range(60):
        logs: dict = {}
        slow.on_epoch_begin(epoch, logs)
        clock[0] += 5.0
        slow.on_epoch_end(epoch, logs)
        kept.append(logs["reader/half_life"])
    looked = [epoch for epoch, value in enumerate(kept) if value == 1.0]
    assert looked[:4] == [0, 1, 7, 11]  # 4 s of 40, 6 s of 60
    assert list(slow.history) == looked
    assert 2.0 * (len(looked) - 1) <= 0.1 * 60 * 5.0


@pytest.mark.parametrize("share", [0, 2])
def test_a_share_that_is_none(share) -> None:
    with pytest.raises(ConveyorError, match="share of the time"):
        callbacks.GateHealth(X, share=share)


def test_samples_and_targets_that_do_not_fit() -> None:
    with pytest.raises(ConveyorError, match="samples to be a whole number"):
        callbacks.GateHealth(X, samples=0)
    with pytest.raises(ConveyorError, match="y for each of the 40 samples"):
        callbacks.GradientFlow(X, Y[:2])
