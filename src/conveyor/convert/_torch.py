"""Weights of torch.nn.LSTM."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .._archives import check_archive, check_expansion
from .._errors import lesson
from ._layouts import listed, pack, unpack
from ._weights import LSTMWeights


def is_state_dict(source: Any) -> bool:
    """Whether these are tensors by name, as `module.state_dict()` gives them."""
    return isinstance(source, Mapping) and any("weight_ih" in str(name) for name in source)


def arrays_of(source: Any, name: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of an `nn.LSTM`, `nn.GRU`, a cell of theirs, or of one of those in a state dict.

    Args:
        source: a module, or tensors by name.
        name: which, where there are several: what stands before `weight_ih_l0`.

    Returns:
        Arrays by the names that they have in an `nn.LSTM` or `nn.GRU`.
    """
    modules = [] if isinstance(source, Mapping) else list(source.modules())
    kinds = {type(module).__name__ for module in modules}
    others = kinds & {"RNN", "RNNCell"}
    if others and not kinds & {"LSTM", "LSTMCell", "GRU", "GRUCell"}:
        raise lesson(
            "conveyor.convert",
            "an nn.LSTM or nn.GRU",
            f"an nn.{min(others)}",
            "Pass the LSTM of the model.",
        )
    state = source if isinstance(source, Mapping) else source.state_dict()
    return choose({str(key): _numpy(value) for key, value in state.items()}, name)


def _numpy(tensor: Any) -> np.ndarray:
    if not hasattr(tensor, "detach"):
        return np.asarray(tensor) if isinstance(tensor, np.ndarray) else np.zeros(())
    tensor = tensor.detach().cpu()
    # NumPy has no bfloat16; float32 holds it exactly.
    return np.asarray((tensor.float() if "bfloat16" in str(tensor.dtype) else tensor).numpy())


_FIRST = re.compile(r"(.*?)weight_ih(_l0)?")
_OWN = re.compile(r"(weight_(ih|hh|hr)|bias_(ih|hh))_l\d+(_reverse)?")


def choose(arrays: Mapping[str, np.ndarray], name: str | None = None) -> dict[str, np.ndarray]:
    """The LSTM among arrays by name; `name` is the prefix, where there are several."""
    prefixes = [match[1] for match in map(_FIRST.fullmatch, arrays) if match]
    wanted = None if name is None else f"{name.rstrip('.')}." if name else ""
    if wanted is None and len(prefixes) == 1:
        wanted = prefixes[0]
    if wanted is None or wanted not in prefixes:
        choice = ", ".join(repr(prefix.rstrip(".")) for prefix in prefixes)
        raise lesson(
            "conveyor.convert",
            f"the name of one of {choice}" if prefixes else "the weights of an nn.LSTM or nn.GRU",
            f"name={name!r}" if prefixes else listed(arrays),
            f"Write name={prefixes[0].rstrip('.')!r}." if prefixes else "Look at its names.",
        )
    mine = {key.removeprefix(wanted): a for key, a in arrays.items() if key.startswith(wanted)}
    if "weight_ih" in mine:  # of a cell
        mine = {f"{key}_l0": array for key, array in mine.items()}
    return {key: array for key, array in mine.items() if _OWN.fullmatch(key)}


def weights_of_arrays(arrays: Mapping[str, np.ndarray]) -> LSTMWeights:
    """The weights in what `choose` gave."""
    return unpack(arrays, "torch")


def module_of(arrays: Mapping[str, np.ndarray]) -> Any:
    """An `nn.LSTM` with these arrays as they are; None where PyTorch has none, or is not there."""
    biased = any(key.startswith("bias") for key in arrays)
    both = {key.replace("_ih", "_hh") for key in arrays} | {k.replace("_hh", "_ih") for k in arrays}
    if find_spec("torch") is None or not both <= set(arrays):
        return None
    import torch

    recurrent, projection = arrays["weight_hh_l0"], arrays.get("weight_hr_l0")
    module = torch.nn.LSTM(
        arrays["weight_ih_l0"].shape[1],
        recurrent.shape[0] // 4,
        num_layers=len([k for k in arrays if re.fullmatch(r"weight_ih_l\d+", k)]),
        bias=biased,
        batch_first=True,
        bidirectional="weight_ih_l0_reverse" in arrays,
        proj_size=0 if projection is None else projection.shape[0],
        dtype=getattr(torch, np.result_type(*arrays.values()).name),
    )
    try:
        module.load_state_dict({key: torch.from_numpy(a.copy()) for key, a in arrays.items()})
    except RuntimeError:  # sizes that no nn.LSTM has; the checks of the weights say which
        return None
    return module


def torch_module(weights: LSTMWeights) -> Any:
    """An `nn.LSTM` with `batch_first=True`.

    Raises:
        ConveyorError: layers of different sizes or directions, which one nn.LSTM cannot have.
    """
    import torch

    arrays = pack(weights, "torch")
    kinds = {(len(layer), layer[0].units, layer[0].output_size) for layer in weights.layers}
    if len(kinds) > 1:
        raise lesson(
            "conveyor.convert",
            "layers of one size, as one nn.LSTM has them",
            str(weights),
            "Convert the layers one by one.",
        )
    ((directions, units, size),) = kinds
    module = torch.nn.LSTM(
        weights.features,
        units,
        num_layers=len(weights.layers),
        bias=weights.has("bias"),
        batch_first=True,
        bidirectional=directions == 2,
        proj_size=size if weights.has("projection") else 0,
        dtype=getattr(torch, weights.dtype.name),
    )
    module.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in arrays.items()})
    return module


def run(module: Any, x: np.ndarray) -> np.ndarray:
    """The hidden states of all steps."""
    import torch

    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LSTM with projections")  # slower there, and no more
        return np.asarray(module(torch.from_numpy(x))[0].numpy())


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name. Nothing is unpickled but tensors.

    Raises:
        ConveyorError: a file that is not torch's, or that holds anything else.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"reading {path} needs PyTorch: pip install torch. "
            "Or write it as safetensors where there is one."
        ) from None
    try:
        if zipfile.is_zipfile(path):
            check_archive(path)  # torch looks at no checksum
        state = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(state, Mapping) and "state_dict" in state:  # of Lightning and others
            state = state["state_dict"]
        if isinstance(state, Mapping):
            state = {str(key): _of_file(value, path) for key, value in state.items()}
    except Exception as error:  # it raises what it likes; a missing file was refused before
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise lesson(
            str(path),
            "a file of torch.save(module.state_dict(), path)",
            f"one that cannot be read as tensors alone: {reason[:200]}",
            "Write torch.save(model.state_dict(), path); nothing else is unpickled.",
        ) from error
    if not is_state_dict(state):
        held = listed(state) if isinstance(state, dict) else type(state).__name__
        raise lesson(
            str(path),
            "the state dict of an nn.LSTM or nn.GRU",
            held,
            "Write torch.save(lstm.state_dict(), path).",
        )
    return dict(state)


def _of_file(value: Any, path: Path) -> np.ndarray:
    if hasattr(value, "numel"):  # one number can stand for any shape, with strides of zero
        check_expansion(value.numel() * value.element_size(), path)
    return _numpy(value)


def write_state_dict(weights: LSTMWeights, path: Path) -> None:
    """A file for `nn.LSTM.load_state_dict(torch.load(path))`."""
    import torch

    arrays = pack(weights, "torch")
    torch.save({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, path)
