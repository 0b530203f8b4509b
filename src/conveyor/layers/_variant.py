"""What an LSTM may have beyond the plain one: the arguments of layer and cell, checked."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, fields
from typing import Any

import keras

from .._errors import lesson
from .._vocabulary import AnyStateName
from ..ops._variants import check_variant
from ._stack_arguments import OF_A_STACK

_NORMS = ("gates", "joint", "cell")


@dataclass(frozen=True)
class CellVariant:
    """The arguments by their names, each neutral by default; `conveyor.LSTM` explains them."""

    peephole: bool = False
    coupled: bool = False
    output_transform: bool = False
    projection: int | None = None
    layer_norm: str | tuple[str, ...] | None = None
    zoneout: tuple[float, float] = (0.0, 0.0)  # of hidden and cell state
    recurrent_weight_dropout: float = 0.0
    clip: float | None = None
    cell_clip: float | None = None
    output_activation: Any = None

    @property
    def gates(self) -> int:
        """How many the kernels hold, the candidate among them."""
        return 3 if self.coupled else 4

    @property
    def norms(self) -> tuple[str, ...]:
        """What is normalised, of "gates", "joint" and "cell"."""
        one = self.layer_norm
        return () if one is None else (one,) if isinstance(one, str) else one

    @property
    def draws(self) -> bool:
        """Whether training needs random numbers for it."""
        return any(self.zoneout) or self.recurrent_weight_dropout > 0

    def beyond_plain(self) -> tuple[str, ...]:
        """The arguments that are not neutral, as they would be written.

        >>> CellVariant(peephole=True, projection=3).beyond_plain()
        ('peephole=True', 'projection=3')
        """
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        activation = given.pop("output_activation")
        named = [f"{n}={v!r}" for n, v in given.items() if v != getattr(CellVariant, n)]
        if activation is not None:  # which may compare with anything
            named.append(f"output_activation={getattr(activation, '__name__', activation)!r}")
        return tuple(named)

    def get_config(self) -> dict[str, Any]:
        """What gives it back as arguments, in the types that a file holds."""
        config = {f.name: getattr(self, f.name) for f in fields(self)}
        hidden, cell = self.zoneout
        config["zoneout"] = hidden if hidden == cell else [hidden, cell]
        if isinstance(self.layer_norm, tuple):
            config["layer_norm"] = list(self.layer_norm)
        if self.output_activation is not None:
            config["output_activation"] = keras.activations.serialize(self.output_activation)
        return config


PLAIN = CellVariant()


def variant_of(cell: Any) -> CellVariant:
    """That of a cell of conveyor or of Keras, whose are plain."""
    variant: CellVariant = getattr(cell, "variant", PLAIN)
    return variant


def size_of(layer: Any, name: AnyStateName) -> int:
    """The last axis of a state: `units`, and of hidden states those of a projection."""
    sizes = layer.cell.state_size
    hidden, cell = (sizes, sizes) if isinstance(sizes, int) else sizes  # one: that of a GRU
    return int(hidden if name.startswith("hidden") else cell)


def weight_shapes(variant: CellVariant, units: int) -> dict[str, tuple[int, ...]]:
    """The weights behind those of the plain LSTM, in their order.

    >>> weight_shapes(CellVariant(peephole=True, coupled=True, projection=3), 5)
    {'peephole_kernel': (10,), 'projection_kernel': (5, 3)}
    """
    v, wide = variant, variant.gates * units
    shapes: dict[str, tuple[int, ...]] = {}
    if v.peephole:
        shapes["peephole_kernel"] = (wide - units,)
    if v.output_transform:
        shapes |= {"output_kernel": (units, units), "output_bias": (units,)}
    if v.projection is not None:
        shapes["projection_kernel"] = (units, v.projection)
    if "gates" in v.norms:
        shapes["gate_scale"] = (wide,)
    if "joint" in v.norms:
        shapes["gate_scale"] = (2, wide)
    if "cell" in v.norms:
        shapes |= {"cell_scale": (units,), "cell_shift": (units,)}
    return shapes


def as_variant(arguments: dict[str, Any], units: int, where: str) -> CellVariant:
    """The arguments of a layer as one value; `PLAIN` itself where all are neutral.

    Raises:
        ConveyorError: numbers outside their bounds, names that are unknown, and combinations that
            cannot be meant.
    """
    for name in ("peephole", "coupled", "output_transform"):
        if type(arguments[name]).__name__ not in ("bool", "bool_"):
            raise lesson(
                where, f"{name} to be True or False", f"{name}={arguments[name]!r}", _WRITE[name]
            )
    check_variant({"clip": arguments["clip"], "cell_clip": arguments["cell_clip"]}, where)
    activation = arguments["output_activation"]
    variant = CellVariant(
        peephole=bool(arguments["peephole"]),
        coupled=bool(arguments["coupled"]),
        output_transform=bool(arguments["output_transform"]),
        projection=_projection(arguments["projection"], where),
        layer_norm=_layer_norm(arguments["layer_norm"], units, where),
        zoneout=_zoneout(arguments["zoneout"], where),
        recurrent_weight_dropout=_part(
            arguments["recurrent_weight_dropout"],
            "recurrent_weight_dropout",
            "the fraction of the recurrent kernel to drop, 0 or more and below 1",
            where,
        ),
        clip=_number(arguments["clip"]),
        cell_clip=_number(arguments["cell_clip"]),
        output_activation=None if activation is None else keras.activations.get(activation),
    )
    return variant if variant.beyond_plain() else PLAIN


_WRITE = {
    "peephole": "Write peephole=True; its weights begin with zeros and are learned.",
    "coupled": "Write coupled=True for an input gate of 1 - f.",
    "output_transform": "Write output_transform=True; its weights begin as the plain LSTM.",
}


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _projection(size: Any, where: str) -> int | None:
    if size is None:
        return None
    whole = isinstance(size, numbers.Integral) and not isinstance(size, bool)
    if not whole or size < 1:
        raise lesson(
            where,
            "projection to be a positive integer, the size of the hidden state",
            f"projection={size!r}",
            "Write projection=64, or leave it out for a hidden state of as many numbers as units.",
        )
    return int(size)


def _zoneout(parts: Any, where: str) -> tuple[float, float]:
    several = isinstance(parts, (list, tuple))
    if several and len(parts) != 2:
        raise lesson(
            where,
            "zoneout to be one number, or the pair (hidden, cell)",
            f"{len(parts)} of them",
            "Write zoneout=(0.05, 0.1).",
        )
    wanted = "the probability of a unit to keep its old state, 0 or more and below 1"
    hidden, cell = parts if several else (parts, parts)
    return _part(hidden, "zoneout", wanted, where), _part(cell, "zoneout", wanted, where)


def _part(value: Any, name: str, wanted: str, where: str) -> float:
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_real or not 0 <= value < 1:
        raise lesson(where, f"{name} to be {wanted}", f"{name}={value!r}", f"Write {name}=0.1.")
    return float(value)


def _layer_norm(names: Any, units: int, where: str) -> str | tuple[str, ...] | None:
    if names is None:
        return None
    several = (names,) if isinstance(names, str) else names
    known = isinstance(several, (list, tuple)) and bool(several)
    known = known and all(isinstance(n, str) and n in _NORMS for n in several)
    if not known or len(set(several)) < len(several) or {"gates", "joint"} <= set(several):
        raise lesson(
            where,
            'layer_norm to be "gates" or "joint", "cell", or one of the first two with "cell"',
            f"layer_norm={names!r}",
            'Write layer_norm=("joint", "cell") for that of Ba, Kiros & Hinton 2016, '
            'layer_norm="gates" for each gate by itself.',
        )
    if units == 1 and "joint" not in several:
        raise lesson(
            where,
            f"units to be more than 1 for layer_norm={names!r}",
            "units=1: the mean of one number is that number, and nothing is left of it",
            'Write more units, or layer_norm="joint", whose mean is over all gates.',
        )
    return several[0] if len(several) == 1 else tuple(sorted(several, key="joint gates cell".find))


def _setting(name: str) -> Any:
    return property(lambda self: getattr(self.variant, name), doc=f"`{name}` of the arguments.")


class Settings:
    """The arguments as attributes, as Keras has its own; of a layer those of its cell."""

    variant: CellVariant = PLAIN
    peephole = _setting("peephole")
    coupled = _setting("coupled")
    output_transform = _setting("output_transform")
    projection = _setting("projection")
    layer_norm = _setting("layer_norm")
    zoneout = _setting("zoneout")
    recurrent_weight_dropout = _setting("recurrent_weight_dropout")
    clip = _setting("clip")
    cell_clip = _setting("cell_clip")
    output_activation = _setting("output_activation")


def refuse_of_lstm(given: dict[str, Any], where: str) -> None:
    """Refuse what an LSTM may have among the other arguments of a GRU."""
    names = (*(field.name for field in fields(CellVariant)), *OF_A_STACK)
    for name in names:
        if name in given:
            raise lesson(
                where,
                "arguments of a GRU",
                f"{name}={given[name]!r}, which conveyor.LSTM has",
                f"Write conveyor.LSTM(units, {name}={given[name]!r}), or leave it out.",
            )
