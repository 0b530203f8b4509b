"""What one gate of the first unit is a function of, term by term."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from ._layer_norm import normalise
from ._worked_numbers import number, short, signed, terms, within
from ._worked_step import peepholes_of

if TYPE_CHECKING:
    from ._worked_example import WorkedExample
    from ._worked_gru import WorkedGRUExample

    Example: TypeAlias = WorkedExample | WorkedGRUExample

Line = tuple[str, str, str]  # what is summed, its terms, and what comes out


def one_sum(
    example: Example, gate: str = "forget", letter: str = "f", summed: str = "z_f"
) -> Iterator[Line]:
    """z of the first unit in one gate: what is summed, its terms, and what comes out."""
    size, z = example.flow.hidden_size, float(example.preactivations[gate][0])
    weight, bias = example.weights[gate]
    products = {}
    for of, weights, values in (
        ("h", weight[0, :size], example.hidden_state_before),
        ("x", weight[0, size:], example.x),
    ):
        products[of] = float(weights @ values)
        yield f"W_{letter}[0] on {of}", terms(weights, values), number(products[of])
    totals = [*products.values()]
    lstm = cast("WorkedExample", example)  # a GRU has none of what is asked for below
    if example.flow.variant.norms:
        totals = yield from _normalised(lstm, products, gate, letter)
    for mark, one in zip(("", "'"), () if bias is None else np.atleast_2d(bias), strict=False):
        totals.append(float(one[0]))
        yield f"b{mark}_{letter}[0]", "", number(totals[-1])
    if example.flow.variant.peephole:
        p = peepholes_of(lstm.more_weights["peephole_kernel"], example.weights)[gate]
        totals.append(float(lstm.more[f"{gate}_peephole"][0]))
        of_c = f"{signed(p[0])}*{signed(lstm.cell_state_before[0])}"
        yield f"p_{letter}[0] on c", of_c, number(totals[-1])
    yield f"{summed}[0]", " + ".join(map(signed, totals)), number(sum(totals))
    if example.flow.variant.clip is not None:
        yield f"{summed}[0]", within(example.flow.variant.clip), number(z)
    gated, function = float(example.gates[gate][0]), short(example.flow.recurrent_activation)
    yield f"{letter}[0]", f"{function}({number(z)})", number(gated)


def _normalised(
    example: WorkedExample, products: dict[str, float], gate: str, letter: str
) -> Generator[Line, None, list[float]]:
    """With a layer normalisation of the gates; the terms that are left to add up."""
    norms, more = example.flow.variant.norms, example.more
    if "gates" in norms:
        a = float(more[f"{gate}_product"][0])
        yield f"a_{letter}[0]", " + ".join(map(signed, products.values())), number(a)
        parts = {"": (a, more[f"{gate}_product"])}
    elif "joint" in norms:
        of_all = {
            of: np.concatenate([more[f"{each}_product_of_{of}"] for each in example.weights])
            for of in products
        }
        parts = {"'": (products["h"], of_all["h"]), "": (products["x"], of_all["x"])}
    else:
        return [*products.values()]
    scale = np.atleast_2d(example.more_weights["gate_scale"])
    scales = np.split(scale, len(example.weights), axis=-1)[[*example.weights].index(gate)]
    left = []
    for mark, (one, every) in parts.items():
        norm, s = normalise(every), float(scales[1 if mark else 0, 0])
        n = (one - float(norm.mean[0])) / float(norm.deviation[0])
        how = f"({signed(one)} - {signed(norm.mean[0])}) / {signed(norm.deviation[0])}"
        yield f"n{mark}_{letter}[0]", how, number(n)
        left.append(n * s)
        yield (
            f"n{mark}_{letter}[0] * s{mark}_{letter}[0]",
            f"{signed(n)}*{signed(s)}",
            number(n * s),
        )
    return left
