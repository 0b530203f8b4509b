"""What each step still holds in the memory: the exact split that LSTM and GRU have for free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import ConveyorError, lesson
from ._extras import extra
from ._kinds import GRU_KIND, Kind, kind_in
from ._tree import (
    Booleans,
    Floats,
    layers_of,
    masked_steps,
    name_of,
    reads_backward,
    variables,
    with_samples,
)

if TYPE_CHECKING:
    from xarray import Dataset, DataTree


def memory(trace: DataTree | Dataset, at: Any = None) -> Any:
    """Split the cell state into what every earlier step still holds in it.

    The cell state is a sum, c_t = f_t c_{t-1} + i_t g_t, so what step k wrote is still there at
    step T as

        contribution_k = f_T f_{T-1} ... f_{k+1} i_k g_k

    and the state before the first step as `initial` = f_T ... f_1 c_0. All of them together are
    the cell state, exactly: nothing is estimated. (Gates themselves depend on earlier steps; the
    split follows the memory, not the ways by which a step moved later gates.)

    The memory of a GRU is its hidden state, h_t = z_t h_{t-1} + (1 - z_t) g_t, which splits in the
    same way: the update gate keeps, and what it leaves open lets the candidate in.

    Args:
        trace: what `conveyor.trace` gives, or one layer of it.
        at: the step whose state is split, a value of the coordinate `time`; left out, the
            last step that counts in each sample. Steps read after it contribute 0.

    Returns:
        A DataTree with the layers of the trace (a Dataset for a Dataset), each with

        - `contribution` (sample, time, unit): what step `time` still holds; 0 at masked steps,
        - `initial` (sample, unit): what the state before the first step still holds,
        - `cell_state`, of a GRU `hidden_state` (sample, unit): the state that is split, the sum of
          both.

        Computed in float64. A state that is NaN or infinite has no parts: they are NaN.

    Raises:
        ConveyorError: variables are missing, `at` is no step of the trace, or the steps do not
            follow from each other (the trace was cut or changed).

    The equation is that of Gers, Schmidhuber & Cummins 2000, "Learning to Forget"; its sum was read
    as an attribution by Murdoch & Szlam 2017, "Automatic Rule Extraction from Long Short Term
    Memory Networks".

    >>> import numpy as np, xarray as xr
    >>> def over_time(*values):
    ...     return ("sample", "time", "unit"), np.reshape(values, (1, -1, 1))
    >>> def once(value):
    ...     return ("sample", "unit"), np.full((1, 1), value)
    >>> layer = xr.Dataset({
    ...     "input_gates": over_time(1.0, 0.5), "forget_gates": over_time(1.0, 0.25),
    ...     "candidates": over_time(0.8, -0.6), "cell_states": over_time(0.8, -0.1),
    ...     "cell_state": once(-0.1), "initial_cell_state": once(0.0),
    ... }, attrs={"direction": "forward"})
    >>> memory(layer).contribution.values.ravel()  # 0.25 * 0.8 and 0.5 * -0.6
    array([ 0.2, -0.3])
    """
    xr = extra("xarray", "memory")
    layers = layers_of(trace, "memory")
    if isinstance(trace, xr.Dataset):
        return _split(trace, at, "memory")
    tree: Any = trace
    nodes = {".": xr.Dataset(attrs=tree.attrs)}
    for node in tree.subtree:
        if (name := name_of(node)) in layers:
            nodes[node.relative_to(tree)] = _split(layers[name], at, f'memory of "{name}"')
    return xr.DataTree.from_dict(nodes, name=tree.name)


def _split(layer: Dataset, at: Any, where: str) -> Dataset:
    lone_sample = "sample" not in layer.dims
    layer, kind = with_samples(layer), kind_in(layer)
    let_in = () if kind is GRU_KIND else ("input_gates",)
    names = (kind.keeps, "candidates", kind.memory, kind.last_memory, f"initial_{kind.last_memory}")
    *states, _, initial = variables(layer, (*let_in, *names), where)
    # In the order in which the layer read.
    order = slice(None, None, -1) if reads_backward(layer, where) else slice(None)
    *opened, forget, candidates, cells = (array[:, order] for array in states)
    counts = ~masked_steps(layer)[:, order]
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, and shows
        written = (opened[0] if opened else 1 - forget) * candidates
        before = _states_between(cells, initial, counts)[:, :-1]
        if not _follow(cells, forget * before, written, counts):
            raise _steps_do_not_follow(where, str(layer.attrs.get("variant", "")), kind)
        counts &= ~_read_after(layer, at, where)[order]
        state = _states_between(cells, initial, counts)[:, -1]
        forget = np.where(counts[..., np.newaxis], forget, 1.0)
        written = np.where(counts[..., np.newaxis], written, 0.0)
        contribution = _kept(forget) * written
        left = np.prod(forget, axis=1) * initial
    # In float32 it may have overflown where float64 has not: what is no number has no parts.
    is_number = np.isfinite(state)
    contribution = np.where(is_number[:, np.newaxis], contribution, np.nan)
    left = np.where(is_number, left, np.nan)
    over_time, once = ("sample", "time", "unit"), ("sample", "unit")
    result = layer.drop_vars(list(layer.data_vars)).assign(
        {
            "contribution": (over_time, contribution[:, order]),
            "initial": (once, left),
            kind.last_memory: (once, state),
        }
    )
    result.attrs = layer.attrs | {"at": "the last step" if at is None else f"step {at}"}
    return result.isel(sample=0) if lone_sample else result


def _kept(forget: Floats) -> Floats:
    """The product of all forget gates after each step. By multiplying alone: what has gone to
    nothing is 0, where a quotient of two products would be 0 / 0."""
    kept = np.ones_like(forget)
    kept[:, :-1] = np.cumprod(forget[:, :0:-1], axis=1)[:, ::-1]
    return kept


def _states_between(cells: Floats, initial: Floats, counts: Booleans) -> Floats:
    """(S, T + 1, U): the cell state before every step and after the last, masked ones left out."""
    states = np.concatenate([initial[:, np.newaxis], cells], axis=1)
    places = np.where(counts, np.arange(1, cells.shape[1] + 1), 0)
    newest = np.maximum.accumulate(np.pad(places, ((0, 0), (1, 0))), axis=1)
    return np.take_along_axis(states, newest[..., np.newaxis], axis=1)


def _follow(cells: Floats, kept: Floats, written: Floats, counts: Booleans) -> bool:
    """Whether each state is what was kept and what was written, to the rounding of bfloat16."""
    is_close = np.abs(cells - (kept + written)) <= 0.02 * (np.abs(kept) + np.abs(written)) + 1e-6
    return bool(np.all(is_close | ~np.isfinite(cells) | ~counts[..., np.newaxis]))


def _steps_do_not_follow(where: str, variant: str, kind: Kind) -> ConveyorError:
    if "zoneout" in variant or "cell_clip" in variant:
        return lesson(
            where,
            "cell states that follow from each other, c_t = f_t c_{t-1} + i_t g_t",
            f"those of a layer with {variant}",
            "zoneout keeps a part of the old cell state, and cell_clip bounds it: the steps do not "
            "add up. trace has the states as they are.",
        )
    equation = "cell states that follow from each other, c_t = f_t c_{t-1} + i_t g_t"
    if kind is GRU_KIND:
        equation = "hidden states that follow from each other, h_t = z_t h_{t-1} + (1 - z_t) g_t"
    return lesson(
        where,
        equation,
        "a trace in which they do not",
        "Were there resets= inside the sequences? Trace these one by one. "
        "Was it cut in time? Split the whole and cut then: memory(trace[...]).isel(time=...). "
        'Is its attrs["direction"] the one in which the layer read?',
    )


def _read_after(layer: Dataset, at: Any, where: str) -> Booleans:
    """(T,): the steps that the layer had not read yet when it stood at `at`."""
    place, times = np.arange(layer.sizes["time"]), layer["time"].to_numpy()
    if at is None:
        return np.zeros(len(place), bool)
    try:
        # "2026-11-23" finds a date, but 2.5 is not to find step 2.
        wanted = np.array(at, dtype=times.dtype if times.dtype.kind in "mM" else None)
        (here,) = np.flatnonzero((times == wanted) & (wanted.ndim == 0))
    except (TypeError, ValueError):
        there = f"{times[0]} to {times[-1]}" if len(times) else "none"
        raise lesson(
            f"{where}, at=...",
            f"one step of the coordinate time: {len(times)} of them, {there}",
            repr(at),
            "Write at=trace.time.values[5], or leave it out for the last step that counts.",
        ) from None
    backward = layer.attrs["direction"] == "backward"
    after: Booleans = place < here if backward else place > here
    return after
