"""What explains, traces and watches an LSTM, where it is beyond the plain one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from conveyor import LSTM, Input
from conveyor.inspection import describe, draw_cell, explain

T, F, U = 6, 3, 5
VARIANTS = {
    "peephole": {"peephole": True},
    "coupled": {"coupled": True},
    "output_transform": {"output_transform": True},
    "projection": {"projection": 2},
    "gates": {"layer_norm": "gates"},
    "joint": {"layer_norm": "joint"},
    "cell": {"layer_norm": "cell"},
    "zoneout": {"zoneout": (0.3, 0.2)},
    "clip": {"clip": 0.7, "cell_clip": 0.5},
    "output_activation": {"output_activation": "relu"},
    "recurrent_weight_dropout": {"recurrent_weight_dropout": 0.4},
    "coupled_peephole": {"coupled": True, "peephole": True, "clip": 0.9},
    "everything": {
        "peephole": True,
        "coupled": True,
        "output_transform": True,
        "projection": 3,
        "layer_norm": ("joint", "cell"),
        "zoneout": 0.1,
        "recurrent_weight_dropout": 0.3,
        "clip": 1.2,
        "cell_clip": 0.8,
        "output_activation": "sigmoid",
    },
}
by_name = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)


def words(layer):
    return " ".join(str(explain(layer)).replace("│", " ").split())


def built(**arguments):
    layer = LSTM(U, **arguments)
    layer.build((None, T, F))
    return layer


@by_name
@pytest.mark.parametrize("more", [{}, {"use_bias": False, "initial_state": "learned"}], ids=str)
def test_explain_counts_every_weight(variant, more) -> None:
    layer = built(**variant, **more)
    (flow,) = describe(layer)
    assert flow.parameters == layer.count_params()
    count = len(flow.more_weights)
    ends = [w for w in layer.weights if not w.name.startswith("initial")][-count:] if count else []
    assert [(w.name, w.shape) for w in ends] == list(flow.more_weights.items())
    assert [r.shape[-1] for r in flow.returned] == [layer.compute_output_shape((1, T, F))[-1]]
    assert draw_cell(flow).startswith("<svg")
    assert max(map(len, str(explain(layer)).splitlines())) <= 92


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ({"peephole": True}, "f = sigmoid(W_f [h, x] + b_f + p_f * c_{t-1})"),
        ({"peephole": True}, "o = sigmoid(W_o [h, x] + b_o + p_o * c_t)"),
        ({"peephole": True}, "+ 3 * units = 4 * ((5 + 3) * 5 + 5) + 3 * 5 = 195"),
        ({"coupled": True}, "input gate i = 1 - f (5,)"),
        ({"coupled": True}, "forget, candidate, output side by side"),
        ({"coupled": True}, "3 * ((units + features) * units + units)"),
        ({"output_transform": True}, "u = c_t W5 + b5 W5 (5, 5), b5 (5,)"),
        ({"output_transform": True}, "h_t = o * tanh(u)"),
        ({"projection": 2}, "[h, x]: (projection + features,) (5,)"),
        ({"projection": 2}, "h_t = m_t P P (5, 2)"),
        ({"projection": 2}, "= 6 * (2 + 1 * 5) * 32 * 4 = 5,376 bytes"),
        ({"layer_norm": "gates"}, "z = LN(W [h, x]) * s + b, each gate by itself s (20,)"),
        ({"layer_norm": "joint"}, "z = LN(W_x x) * s_x + LN(W_h h) * s_h + b s (2, 20)"),
        ({"layer_norm": "joint"}, "f = sigmoid(z_f)"),
        ({"layer_norm": "cell"}, "n = LN(c_t) * s + s'"),
        ({"zoneout": (0.1, 0.2)}, "of h_t 0.1, of c_t 0.2 is what it was before"),
        ({"clip": 3.0}, "z within [-3, 3] in each gate"),
        ({"cell_clip": 2.0}, "c_t = f * c_{t-1} + i * g, within [-2, 2]"),
        ({"output_activation": "relu"}, "h_t = o * relu(c_t)"),
        ({"recurrent_weight_dropout": 0.3}, "In training 0.3 of recurrent_kernel is dropped"),
    ],
    ids=str,
)
def test_explain_says_it(variant, said) -> None:
    assert said in words(built(**variant))


def test_the_memory_of_a_projection_is_that_of_its_arrays() -> None:
    layer = built(projection=2, outputs=("hidden_states", "cell_states"))
    taken = sum(
        np.asarray(keras.ops.convert_to_numpy(s)).nbytes for s in layer(np.ones((32, T, F)))
    )
    assert f"= {taken:,} bytes" in words(layer)


def test_the_drawing_has_the_wires() -> None:
    (plain,) = describe(built())
    assert 'stroke-dasharray="4 4"' not in draw_cell(plain)
    (flow,) = describe(built(peephole=True, coupled=True, output_transform=True, projection=2))
    drawing = draw_cell(flow)
    for part in ('stroke-dasharray="4 4"', ">1 − f<", ">W5<", ">P<", "p (10,)", "P (5, 2)"):
        assert part in drawing
    assert "With peephole=True, coupled=True" in drawing


def test_bidirectional_of_a_projection() -> None:
    model = keras.Sequential([Input((T, F)), layers.Bidirectional(LSTM(U, projection=2))])
    assert "side by side: (batch, 4)" in words(model)
