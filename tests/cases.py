"""The cases that every engine, layer and oracle is tested on.

for case in CASES:
    expected = reference_forward(**case.arguments("float32"))
    actual = ops.lstm(**case.arguments("float32"), outputs=STATE_NAMES)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

MaskKind = Literal["none", "right", "left", "holes", "row_all_masked", "all_masked"]
DropoutKind = Literal["none", "shared", "per_gate"]
ActivationName = Literal["tanh", "sigmoid", "hard_sigmoid", "relu", "linear"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One computation; only `name` has no default.

    Every number is drawn, and always in the same order, so two cases that differ in an option
    alone share their weights.
    """

    name: str
    batch: int = 3
    time_steps: int = 5
    features: int = 4
    units: int = 3
    mask: MaskKind = "none"
    initial_states: bool = False
    resets: bool = False
    go_backwards: bool = False
    dropout: DropoutKind = "none"
    recurrent_dropout: DropoutKind = "none"
    use_bias: bool = True
    activation: ActivationName = "tanh"
    recurrent_activation: ActivationName = "sigmoid"
    seed: int = 0

    def arguments(self, dtype: DTypeLike = "float64") -> dict[str, Any]:
        """The keyword arguments of the computation, arrays in `dtype`, the mask in bool."""
        b, t, f, u = self.batch, self.time_steps, self.features, self.units
        rng = np.random.default_rng(self.seed)

        # Wide enough that some gates saturate, which a hard sigmoid must be seen doing.
        x = rng.normal(scale=1.5, size=(b, t, f))
        kernel = rng.normal(size=(f, 4 * u)) / np.sqrt(f)
        recurrent_kernel = rng.normal(size=(u, 4 * u)) / np.sqrt(u)
        bias = rng.normal(size=4 * u)
        hidden_state = rng.normal(size=(b, u))
        cell_state = rng.normal(size=(b, u))
        dropout_masks = _dropout_masks(rng, (4, b, f))
        recurrent_dropout_masks = _dropout_masks(rng, (4, b, u))

        arrays: dict[str, NDArray[np.float64] | None] = {
            "x": x,
            "kernel": kernel,
            "recurrent_kernel": recurrent_kernel,
            "bias": bias if self.use_bias else None,
            "hidden_state": hidden_state if self.initial_states else None,
            "cell_state": cell_state if self.initial_states else None,
            "dropout_mask": _choose(dropout_masks, self.dropout),
            "recurrent_dropout_mask": _choose(recurrent_dropout_masks, self.recurrent_dropout),
        }
        return {
            **{key: None if a is None else a.astype(dtype) for key, a in arrays.items()},
            "mask": _mask(self.mask, rng, b, t),
            # Each way of beginning anew; a third of the steps have one.
            "resets": rng.choice([0, 0, 0, 0, 1, 2], (b, t)).astype("uint8")
            if self.resets
            else None,
            "activation": self.activation,
            "recurrent_activation": self.recurrent_activation,
            "go_backwards": self.go_backwards,
        }

    @property
    def is_small(self) -> bool:
        """Whether finite differences over every number of it take a blink."""
        return self.batch * self.time_steps * self.features * self.units <= 200

    def __str__(self) -> str:
        return self.name


def _dropout_masks(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    # A true dropout mask scales all that it keeps alike; here each scale differs, so that a
    # swapped row, feature or gate shows.
    return np.where(rng.random(shape) < 0.3, 0.0, rng.uniform(0.5, 2.0, shape))


def _choose(masks: NDArray[np.float64], kind: DropoutKind) -> NDArray[np.float64] | None:
    if kind == "none":
        return None
    return masks[0] if kind == "shared" else masks


def _mask(
    kind: MaskKind, rng: np.random.Generator, batch: int, time_steps: int
) -> NDArray[np.bool_] | None:
    """(B, T), True where a step counts."""
    if kind == "none":
        return None
    # Lengths 1..T, another one in each row while there are enough.
    lengths = 1 + (np.arange(batch) * 2 + 1) % time_steps
    steps = np.arange(time_steps)
    if kind == "right":
        return steps < lengths[:, None]
    if kind == "left":
        return steps >= time_steps - lengths[:, None]
    if kind == "all_masked":
        return np.zeros((batch, time_steps), bool)
    mask = rng.random((batch, time_steps)) < 0.5
    if kind == "row_all_masked":
        mask[:, -1] = True
        mask[batch // 2] = False
        return mask
    # A hole is a masked step between two that count; the first row is sure to have one.
    mask[0] = True
    mask[0, time_steps // 2] = False
    return mask


def _shapes() -> list[Case]:
    return [
        Case(name="plain"),
        Case(name="all_ones", batch=1, time_steps=1, features=1, units=1),
        Case(name="one_row", batch=1),
        Case(name="one_step", time_steps=1),
        Case(name="one_feature", features=1),
        Case(name="one_unit", units=1),
        Case(name="one_unit_one_feature_masked", features=1, units=1, mask="holes"),
        Case(name="one_step_initial_states", time_steps=1, initial_states=True),
        # Odd on every axis and past the width of a vector register: remainders everywhere.
        Case(name="odd", batch=7, time_steps=9, features=13, units=19, initial_states=True),
        Case(name="wide", batch=5, time_steps=4, features=33, units=67, mask="holes"),
        Case(name="many_rows", batch=37, time_steps=3, features=5, units=8, mask="right"),
        Case(name="long", batch=2, time_steps=70, features=3, units=16, mask="holes"),
        Case(name="aligned", batch=8, time_steps=6, features=16, units=32),
    ]


def _masks() -> list[Case]:
    kinds: tuple[MaskKind, ...] = ("right", "left", "holes", "row_all_masked", "all_masked")
    return [
        Case(
            name="_".join(
                [f"mask_{kind}", *["states"] * initial_states, *["backwards"] * go_backwards]
            ),
            mask=kind,
            initial_states=initial_states,
            go_backwards=go_backwards,
        )
        for kind in kinds
        for initial_states, go_backwards in ((False, False), (True, False), (True, True))
    ]


def _dropouts() -> list[Case]:
    return [
        Case(name="dropout_shared", dropout="shared"),
        Case(name="dropout_per_gate", dropout="per_gate"),
        Case(name="recurrent_dropout_shared", recurrent_dropout="shared", initial_states=True),
        Case(name="recurrent_dropout_per_gate", recurrent_dropout="per_gate", mask="holes"),
        Case(
            name="both_dropouts",
            dropout="shared",
            recurrent_dropout="per_gate",
            initial_states=True,
        ),
    ]


def _activations() -> list[Case]:
    pairs: tuple[tuple[ActivationName, ActivationName], ...] = (
        ("tanh", "hard_sigmoid"),
        ("relu", "sigmoid"),
        ("linear", "sigmoid"),
        ("sigmoid", "tanh"),
        ("hard_sigmoid", "linear"),
        ("tanh", "relu"),
    )
    return [
        Case(
            name=f"{activation}_{recurrent}",
            activation=activation,
            recurrent_activation=recurrent,
            initial_states=True,
        )
        for activation, recurrent in pairs
    ]


def _rest() -> list[Case]:
    return [
        Case(name="initial_states", initial_states=True),
        Case(name="backwards", go_backwards=True),
        Case(name="resets", resets=True),
        Case(name="resets_backwards", resets=True, initial_states=True, go_backwards=True),
        Case(name="resets_masked", resets=True, initial_states=True, mask="holes", time_steps=9),
        Case(
            name="resets_dropped",
            batch=13,
            units=19,
            resets=True,
            initial_states=True,
            dropout="shared",
            recurrent_dropout="per_gate",
        ),
        Case(name="no_bias", use_bias=False),
        Case(name="no_bias_masked", use_bias=False, mask="left", initial_states=True),
        Case(
            name="everything",
            batch=4,
            time_steps=6,
            features=3,
            units=2,
            mask="holes",
            initial_states=True,
            go_backwards=True,
            dropout="per_gate",
            recurrent_dropout="shared",
            activation="relu",
            recurrent_activation="hard_sigmoid",
            seed=1,
        ),
        Case(
            name="everything_odd",
            batch=5,
            time_steps=7,
            features=9,
            units=17,
            mask="row_all_masked",
            initial_states=True,
            go_backwards=True,
            dropout="per_gate",
            recurrent_dropout="per_gate",
            use_bias=False,
        ),
    ]


CASES: tuple[Case, ...] = (*_shapes(), *_masks(), *_dropouts(), *_activations(), *_rest())
