"""Frozen dataclasses of settings: checked, and made from plain dicts and from text."""

from __future__ import annotations

import difflib
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from .._errors import lesson
from ._extras import yaml

T = TypeVar("T")


def from_zero(default: Any) -> Any:
    """A number that may be zero; others must be above."""
    return field(default=default, metadata={"from_zero": True})


def share(default: float) -> Any:
    """A number from 0 to below 1."""
    return field(default=default, metadata={"from_zero": True, "below": 1})


@dataclass(frozen=True, kw_only=True)
class Section:
    """Settings of one topic; each value is checked against its annotation."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for setting in fields(self):
            value = getattr(self, setting.name)
            problem = _problem(hints[setting.name], setting.metadata, value)
            if problem:
                raise lesson(
                    "Config",
                    f"{setting.name} to be {problem}",
                    f"{setting.name}={value!r}",
                    f"Leave it out for the default: {setting.name}={setting.default!r}.",
                )
            if isinstance(value, int) and float in _choices(hints[setting.name]):
                object.__setattr__(self, setting.name, float(value))  # 1 and 1.0 are one setting


def from_dict(cls: type[T], values: Any, prefix: str = "") -> T:
    """A dataclass of sections, or a section, from nested dicts.

    Raises:
        ConveyorError: a key that is no setting; the message names the nearest one.
    """
    if not isinstance(values, Mapping):
        raise lesson(
            "Config",
            f"settings by name{f' in {prefix[:-1]}' if prefix else ''}",
            repr(values),
            'Write Config.from_dict({"training": {"epochs": 10}}).',
        )
    hints = get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise _unknown(f"{prefix}{key}", [f"{prefix}{name}" for name in hints], cls)
    return cls(
        **{
            key: from_dict(hints[key], value, f"{key}.") if is_dataclass(hints[key]) else value
            for key, value in values.items()
        }
    )


def parse(cls: type, name: str, value: Any) -> Any:
    """A value as the command line gives it: the text of a number, of true, of none."""
    wanted = get_type_hints(cls).get(name)
    if not isinstance(value, str) or wanted is None or get_origin(wanted) is Literal:
        return value
    if value.lower() == "none" and type(None) in _choices(wanted):
        return None
    parsed = yaml().safe_load(value)
    if isinstance(parsed, str):  # YAML reads 2e-3 as text
        try:
            return float(parsed)
        except ValueError:
            return parsed
    return parsed


def _unknown(key: str, names: list[str], cls: type) -> Exception:
    near = difflib.get_close_matches(key, [*names, *_all_settings(cls)], n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Settings: {', '.join(names)}."
    return lesson("Config", "settings that it knows", repr(key), hint)


def _all_settings(cls: type) -> list[str]:
    """`training.epochs` for `epochs` without its topic."""
    hints = get_type_hints(cls)
    topics = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    return [f"{topic}.{name}" for topic, hint in topics.items() for name in get_type_hints(hint)]


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)


def _problem(hint: Any, metadata: Mapping[str, Any], value: Any) -> str | None:
    """What the value should have been, if it is not."""
    if get_origin(hint) is Literal:
        allowed = get_args(hint)
        return None if value in allowed else f"one of {', '.join(map(repr, allowed))}"
    choices = _choices(hint)
    or_none = " or None" if type(None) in choices else ""
    if value is None and or_none:
        return None
    if bool in choices:
        return None if isinstance(value, bool) else "True or False"
    whole = int in choices
    kind = "a whole number" if whole else "a number"
    least = ", from 0" if metadata.get("from_zero") else ", above 0"
    most = f" to below {metadata['below']}" if "below" in metadata else ""
    expected = f"{kind}{least}{most}{or_none}"
    fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not fits or not math.isfinite(cast(float, value)):
        return expected
    too_small = value < 0 or (value == 0 and not metadata.get("from_zero"))
    return expected if too_small or value >= metadata.get("below", math.inf) else None
