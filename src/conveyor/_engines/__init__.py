"""Where an LSTM, a GRU and a cross entropy are computed; `conveyor.ops` alone asks here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

from .._errors import lesson
from . import _cross_entropy, _native, _portable, _portable_gru, _segments, _top_k, glue
from ._cross_entropy import CrossEntropy
from ._gru_request import GRURequest, GRUStates
from ._request import Activation, Array, Decision, LSTMRequest, States
from ._variant import Variant

EngineName = Literal["auto", "native", "portable"]


@dataclass(frozen=True)
class Engine:
    """An engine, and why it cannot be used here (None where it can)."""

    name: str
    what: str
    missing: str | None


def engines() -> tuple[Engine, ...]:
    """The engines, fastest first, and why one is missing.

    >>> [engine.name for engine in engines()]
    ['native', 'portable']
    """
    return (
        Engine("native", "C++ core, one call for the whole sequence (CPU)", _native.missing()),
        Engine("portable", "keras.ops, on every backend, with every option", None),
    )


def check_name(engine: str, where: str) -> None:
    """Refuse an engine that is unknown, or not there."""
    if engine not in get_args(EngineName):
        raise lesson(
            where,
            f"engine to be one of {', '.join(map(repr, get_args(EngineName)))}",
            f"engine={engine!r}",
            'Write engine="auto" for the fastest that can do the job.',
        )
    if engine == "native":
        _refuse(_native.missing(), where)


def expect(engine: str, activation: Activation, recurrent_activation: Activation) -> Decision:
    """The engine that will run a layer, as far as that is known before it is called."""
    return _decide(engine, _native.why_never(activation, recurrent_activation))


def choose(request: LSTMRequest, engine: str, where: str) -> Decision:
    """The engine for a request, and why not a faster one.

    Raises:
        ConveyorError: an unknown engine, or one that cannot run this request.
    """
    return _choose(engine, lambda: _native.why_not(request), where)


def expect_gru(engine: str, activation: Activation, recurrent_activation: Activation) -> Decision:
    """The same as `expect` for a GRU."""
    return _decide(engine, _native.why_never_gru(activation, recurrent_activation))


def choose_gru(request: GRURequest, engine: str, where: str) -> Decision:
    """The same as `choose` for a GRU."""
    return _choose(engine, lambda: _native.why_not_gru(request), where)


def choose_cross_entropy(
    arrays: Sequence[Array], labels: Array, engine: str, where: str
) -> Decision:
    """The same for features, kernel and bias of a `CrossEntropy`."""
    return _choose(engine, lambda: _native.why_not_linear((*arrays, labels)), where)


def choose_top_k(arrays: Sequence[Array], engine: str, where: str) -> Decision:
    """The same for the largest logits of features, kernel and bias."""
    return _choose(engine, lambda: _native.why_not_linear(arrays), where)


def choose_stream(why_not_native: Callable[[], str | None], engine: str, where: str) -> Decision:
    """The same for the steps of a stream, which says itself why the native engine has none."""
    return _choose(engine, why_not_native, where)


def _choose(engine: str, why_not_native: Callable[[], str | None], where: str) -> Decision:
    check_name(engine, where)
    if engine == "portable":
        return Decision("portable", {})
    why_not = why_not_native()
    if engine == "native":
        _refuse(why_not, where)
    return _decide(engine, why_not)


def _decide(engine: str, why_not_native: str | None) -> Decision:
    if engine == "portable":
        return Decision("portable", {})
    if why_not_native is None:
        return Decision("native", {})
    return Decision("portable", {"native": why_not_native})


def _refuse(why_not: str | None, where: str) -> None:
    if why_not is not None:
        raise lesson(
            where,
            "a request that the native engine can run",
            f'engine="native": {why_not}',
            'Write engine="auto"; conveyor.engines() lists what is there.',
        )


def run(request: LSTMRequest, decision: Decision) -> States:
    """Compute the states that the request names, on the engine that was chosen."""
    if request.remat:
        engine = _segments.native if decision.engine == "native" else _segments.portable
    else:
        engine = _native.run if decision.engine == "native" else _portable.run
    return cast(States, glue.active().compiled(engine, request))


def run_together(requests: Sequence[LSTMRequest], decisions: Sequence[Decision]) -> list[States]:
    """The same for several that do not wait for each other."""
    native = all(decision.engine == "native" for decision in decisions)
    if not native or any(request.remat for request in requests):
        return [run(r, decision) for r, decision in zip(requests, decisions, strict=True)]
    return cast("list[States]", glue.active().native_together(requests))


def run_stack(requests: Sequence[LSTMRequest], decisions: Sequence[Decision]) -> list[States]:
    """The same for layers of which each reads the hidden states of the one below.

    Those are among the outputs of each but the last. Of x only the first's is read; the others
    say what shape it has.
    """
    stack = glue.active().native_stack
    native = all(decision.engine == "native" for decision in decisions)
    if stack is not None and native and not any(request.remat for request in requests):
        return cast("list[States]", stack(requests))
    found = [run(requests[0], decisions[0])]
    for request, decision in zip(requests[1:], decisions[1:], strict=True):
        found.append(run(replace(request, x=found[-1]["hidden_states"]), decision))
    return found


def run_gru(request: GRURequest, decision: Decision) -> GRUStates:
    """The same as `run` for a GRU."""
    engine = _native.run_gru if decision.engine == "native" else _portable_gru.run
    return cast(GRUStates, glue.active().compiled(engine, request))


def run_cross_entropy(
    request: CrossEntropy, arrays: Sequence[Array], labels: Array
) -> tuple[Array, ...]:
    """The loss, cross entropies and the number of rows that count."""
    return _cross_entropy.run(request, arrays, labels)


def run_top_k(arrays: Sequence[Array], k: int, decision: Decision) -> tuple[Array, ...]:
    """Values, indices and logsumexp."""
    return (_top_k.native if decision.engine == "native" else _top_k.portable)(arrays, k)


__all__ = [
    "Array",
    "CrossEntropy",
    "Decision",
    "Engine",
    "EngineName",
    "GRURequest",
    "LSTMRequest",
    "States",
    "Variant",
    "check_name",
    "choose",
    "choose_cross_entropy",
    "choose_gru",
    "choose_stream",
    "choose_top_k",
    "engines",
    "expect",
    "expect_gru",
    "run",
    "run_cross_entropy",
    "run_gru",
    "run_stack",
    "run_together",
    "run_top_k",
]
