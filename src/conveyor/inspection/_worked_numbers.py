"""How the numbers of a worked example are written."""

from __future__ import annotations

import re
from typing import Any

_TERMS = 2  # of a sum, before the rest of it is only counted


def number(value: float) -> str:
    """At most eight characters, four decimals where they tell something.

    >>> number(0.5), number(-0.00001234), number(123456.7), number(0.0)
    ('0.5000', '-1.2e-05', '1.2e+05', '0.0000')
    """
    plain = 5e-4 <= abs(value) < 1000 or value == 0
    return f"{value:.4f}" if plain else f"{value:.1e}"


def signed(value: float) -> str:
    """Within a sum or a product.

    >>> signed(-0.5)
    '(-0.5000)'
    """
    return f"({number(value)})" if value < 0 else number(value)


def terms(weights: Any, values: Any) -> str:
    """The products of a sum, those that are too many only counted."""
    shown = len(values) if len(values) <= _TERMS + 1 else _TERMS
    products = [f"{signed(w)}*{signed(v)}" for w, v in zip(weights, values, strict=True)]
    more = len(products) - shown
    return " + ".join(products[:shown] + [f"{more} more"] * (more > 0))


def within(bound: float) -> str:
    """What a clip does.

    >>> within(0.5)
    'within [-0.5, 0.5]'
    """
    return f"within [-{bound:g}, {bound:g}]"


def short(function: str) -> str:
    """The name of an activation, its numbers to four digits.

    >>> short("scaled_tanh(1.7159,0.6666666666666666)")
    'scaled_tanh(1.716,0.6667)'
    """
    return re.sub(r"\d+\.\d+", lambda found: f"{float(found[0]):.4g}", function)
