"""The arguments that make one layer a stack: what is refused, and what each part is made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from .._errors import lesson
from ._checks import check_rate

MERGE_MODES = ("concat", "sum", "mul", "ave", None)
OF_A_STACK = ("num_layers", "bidirectional", "merge_mode", "inter_layer_dropout")

_STATES = ("hidden_states", "hidden_state", "cell_state")


def check_stack(given: Mapping[str, Any], where: str) -> None:
    """Refuse what is no stack, and arguments that say nothing or contradict each other."""
    num_layers, bidirectional = given["num_layers"], given["bidirectional"]
    if not hasattr(num_layers, "__index__") or isinstance(num_layers, bool) or num_layers < 1:
        raise lesson(
            where,
            "num_layers to be a positive integer, of LSTMs one above the other",
            f"num_layers={num_layers!r}",
            "Write num_layers=2, or leave it out for one.",
        )
    if not isinstance(bidirectional, bool):
        raise lesson(
            where,
            "bidirectional to be True or False",
            f"bidirectional={bidirectional!r}",
            "Write bidirectional=True. How the directions are joined says merge_mode.",
        )
    _check_merge_mode(given["merge_mode"], bidirectional, where)
    rate = check_rate(given["inter_layer_dropout"], "inter_layer_dropout", where)
    if rate and num_layers == 1:
        raise lesson(
            where,
            "several layers for inter_layer_dropout, which drops between them",
            f"inter_layer_dropout={rate} and num_layers=1",
            f"Write num_layers=2, or dropout={rate} for the input of the layer.",
        )
    if bidirectional and given["go_backwards"]:
        raise lesson(
            where,
            "either bidirectional=True or go_backwards=True",
            "both",
            "Two directions read both ways already. In place of keras.layers.Bidirectional "
            "around it, bidirectional=True is enough.",
        )
    if bidirectional and given["stateful"]:
        raise lesson(
            where,
            "either bidirectional=True or stateful=True",
            "both",
            "The direction that reads backward ends at the first step of a batch, where the next "
            "batch does not go on. Leave one of them out.",
        )


def _check_merge_mode(merge_mode: object, bidirectional: bool, where: str) -> None:
    known = merge_mode is None or (isinstance(merge_mode, str) and merge_mode in MERGE_MODES)
    if not known:
        raise lesson(
            where,
            "merge_mode to be 'concat', 'sum', 'mul', 'ave' or None",
            f"merge_mode={merge_mode!r}",
            'Write merge_mode="concat", or None for both directions by themselves.',
        )
    if merge_mode != "concat" and not bidirectional:
        raise lesson(
            where,
            "two directions for merge_mode, which says how they are joined",
            f"merge_mode={merge_mode!r} and bidirectional=False",
            "Write bidirectional=True, or leave merge_mode out.",
        )


def is_stack(given: Mapping[str, Any]) -> bool:
    """Whether there is more than one cell."""
    return bool(given["num_layers"] > 1 or given["bidirectional"])


def arguments_of_parts(given: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """What the LSTM of each layer and direction is made with.

    Args:
        given: all arguments of the whole, by name, `kwargs` among them.

    Whatever is not named here goes to each part as it is.
    """
    common = {name: value for name, value in given.items() if name not in OF_A_STACK}
    others = common.pop("kwargs")
    common |= {name: others[name] for name in ("dtype", "trainable") if name in others}
    directions = 2 if given["bidirectional"] else 1
    num_layers = int(given["num_layers"])
    return [
        [
            {
                **common,
                **_own_seeds(common, n * directions + d),
                **({} if n == num_layers - 1 else _below_the_top(given)),
                "activity_regularizer": None,  # it is that of what the whole returns
                "go_backwards": bool(d) or given["go_backwards"],
                "name": part_name(n, d, directions),
            }
            for d in range(directions)
        ]
        for n in range(num_layers)
    ]


def part_name(layer: int, direction: int, directions: int) -> str:
    """`layer_0`, or `layer_0_forward` and `layer_0_backward`: numbers as in `layer.cells[0]`.

    >>> part_name(1, 0, 1), part_name(1, 1, 2)
    ('layer_1', 'layer_1_backward')
    """
    return f"layer_{layer}" + ("" if directions == 1 else ("_forward", "_backward")[direction])


def _below_the_top(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "outputs": _STATES if given["return_state"] else _STATES[:1],
        "return_sequences": False,
        "return_state": False,
        "zero_output_for_mask": False,
    }


def _own_seeds(given: Mapping[str, Any], n: int) -> dict[str, Any]:
    """Seeds for the n-th part: with the same, it would begin with the weights of the first."""
    own = {
        name: _reseeded(value, n) for name, value in given.items() if name.endswith("_initializer")
    }
    return {**own, "seed": seed_of_part(given["seed"], n)}


def seed_of_part(seed: Any, n: int) -> Any:
    """Another for each part, and the same again for the same."""
    return (seed + n * 0x9E3779B1) % 2**31 if isinstance(seed, int) and n else seed


def _reseeded(initializer: Any, n: int) -> Any:
    initializer = keras.initializers.get(initializer)
    if n == 0 or not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    seed = getattr(initializer, "seed", None)
    if seed is None or isinstance(seed, keras.random.SeedGenerator):  # which goes on by itself
        return initializer
    config = initializer.get_config()
    return type(initializer).from_config({**config, "seed": seed_of_part(config.get("seed"), n)})
