"""The gradients of several layers, side by side or of a stack, in as few calls as can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ._request import Array


@dataclass
class Layer:
    """What the backward pass of one layer is asked; of a stack, 0 is the lowest."""

    number: int
    arriving: dict[str, Array]  # gradients of its states, but for what the layer above hands down
    wanted: list[str]  # the arrays whose gradients it has to find


# What each wanted, by name. The layers of a stack come from the top down, and each but the first
# takes the d_x of the one before as the gradient of its hidden_states.
Run = Callable[[Sequence[Layer]], Sequence[dict[str, Array]]]


def beside(
    arriving: Sequence[Mapping[str, Array]], wanted: Sequence[Sequence[str]], run: Run
) -> list[dict[str, Array]]:
    """The gradients of each of several that do not wait for each other, by name."""
    found: list[dict[str, Array]] = [{} for _ in arriving]
    layers = [
        Layer(n, dict(its), list(names))
        for n, (its, names) in enumerate(zip(arriving, wanted, strict=True))
        if its and names
    ]
    for layer, gradients in zip(layers, run(layers) if layers else (), strict=True):
        found[layer.number] = gradients
    return found


def descend(
    arriving: Sequence[Mapping[str, Array]],
    wanted: Sequence[Sequence[str]],
    run: Run,
    *,
    one_by_one: bool = False,
) -> list[dict[str, Array]]:
    """The gradients of each layer, by name; of an x, that of the lowest layer alone.

    A layer whose hidden states are read elsewhere as well begins another call: between the two
    the gradients are added.
    """
    found: list[dict[str, Array]] = [{} for _ in arriving]
    together: list[Layer] = []

    def gather() -> Array:
        for layer, gradients in zip(together, run(together), strict=True):
            found[layer.number] = gradients
        lowest = together[-1].number
        together.clear()
        return found[lowest].get("x")

    last = next((n for n, names in enumerate(wanted) if names), len(wanted))
    for n in reversed(range(last, len(arriving))):
        its = dict(arriving[n])
        if together and (one_by_one or "hidden_states" in its):
            d_x = gather()
            own = its.pop("hidden_states", None)
            its = {"hidden_states": d_x if own is None else own + d_x, **its}
        if its or together:
            above = n > last
            together.append(Layer(n, its, ["x"] * above + list(wanted[n])))
    if together:
        gather()
    for gradients in found[last + 1 :]:
        gradients.pop("x", None)
    return found
