"""Who takes part."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from ._job import DType, Job, Mode

_SEQUENCES: tuple[Mode, ...] = ("inference", "training")
_LAYERS: tuple[Mode, ...] = (*_SEQUENCES, "fit")
_KERAS: tuple[Mode, ...] = (*_LAYERS, "stream")
_STREAMS: tuple[Mode, ...] = ("inference", "stream")
_BOTH: tuple[DType, ...] = ("float32", "bfloat16")


@dataclass(frozen=True)
class Peer:
    """An LSTM in a framework; it gets a process of its own."""

    name: str  # unique; what is printed
    what: str
    module: str  # of the worker package, which makes a job ready to run
    backend: str  # of Keras, in that process
    modes: tuple[Mode, ...]
    dtypes: tuple[DType, ...] = ("float32",)
    needs: tuple[str, ...] = ()  # packages
    variants: tuple[str, ...] = ("",)  # "" is the plain LSTM; conveyor has all
    slow: bool = False  # left to the long form

    @property
    def own(self) -> bool:
        """Whether this is conveyor, and not one of those it is compared with."""
        return self.name.startswith("conveyor/")

    @property
    def of_keras(self) -> bool:
        """Whether this is Keras's own layer."""
        return self.name.startswith("keras/")

    def missing(self) -> str | None:
        """What must be installed for it, or None."""
        absent = [package for package in self.needs if find_spec(package) is None]
        return f"{' and '.join(absent)} not installed" if absent else None

    def can(self, job: Job) -> bool:
        """Whether it has what the job asks for."""
        if job.mode not in self.modes or job.dtype not in self.dtypes:
            return False
        if self.own:
            return True
        plain = job.outputs == ("hidden_states",) and job.mask == "none"
        return plain and job.variant in self.variants


# conveyor itself first: with the first that can do a job all others must agree.
PEERS: tuple[Peer, ...] = (
    Peer(
        "conveyor/jax",
        "conveyor.ops.lstm under jax.jit",
        "_keras_lstms",
        "jax",
        _LAYERS,
        _BOTH,
        needs=("jax",),
    ),
    Peer(
        "conveyor/torch",
        "conveyor.ops.lstm on torch tensors; inference_mode",
        "_keras_lstms",
        "torch",
        _LAYERS,
        _BOTH,
        needs=("torch",),
    ),
    Peer(
        "conveyor/tensorflow",
        "conveyor.ops.lstm in a tf.function",
        "_keras_lstms",
        "tensorflow",
        _LAYERS,
        _BOTH,
        needs=("tensorflow",),
        slow=True,
    ),
    Peer(
        "conveyor/numpy",
        "conveyor.ops.lstm on NumPy arrays; conveyor.ops.LSTMStream",
        "_keras_lstms",
        "numpy",
        _STREAMS,
        slow=True,
    ),
    Peer(
        "conveyor/Stream",
        "conveyor.Stream, step by step",
        "_keras_lstms",
        "numpy",
        ("stream",),
        slow=True,
    ),
    Peer(
        "conveyor/Stream feed",
        "conveyor.Stream, all steps as one chunk",
        "_keras_lstms",
        "numpy",
        ("stream",),
        slow=True,
    ),
    Peer(
        "torch",
        "torch.nn.LSTM, batch_first; inference_mode",
        "_torch_lstm",
        "torch",
        (*_SEQUENCES, "stream"),
        _BOTH,
        needs=("torch",),
    ),
    Peer(
        "torch variant",
        "torch.nn.LSTM(proj_size=) and torch.nn.GRU, batch_first; inference_mode",
        "_torch_variants",
        "torch",
        _SEQUENCES,
        needs=("torch",),
        variants=("projection", "GRU"),
    ),
    Peer(
        "torchrecurrent",
        "torchrecurrent.PeepholeLSTM",
        "_torch_variants",
        "torch",
        _SEQUENCES,
        needs=("torch", "torchrecurrent"),
        variants=("peephole",),
    ),
    Peer(
        "haste",
        "haste_pytorch's layers on the CPU, where it runs operations of PyTorch step by step",
        "_torch_variants",
        "torch",
        _SEQUENCES,
        needs=("torch", "haste_pytorch"),
        variants=("layer_norm=joint,cell", "recurrent_weight_dropout"),
    ),
    Peer(
        "torch cell",
        "torch.nn.LSTMCell; inference_mode",
        "_torch_lstm",
        "torch",
        ("stream",),
        needs=("torch",),
    ),
    Peer(
        "jax scan",
        "jax.lax.scan by hand, the inputs of all steps projected in one product; jax.jit",
        "_jax_scan",
        "jax",
        (*_SEQUENCES, "stream"),
        _BOTH,
        needs=("jax",),
    ),
    Peer(
        "onnxruntime",
        "the ONNX operator LSTM; time-major input for free, outputs bound",
        "_onnxruntime_lstm",
        "numpy",
        _STREAMS,
        needs=("onnxruntime", "onnx"),
    ),
    Peer(
        "openvino",
        "LSTMSequence; latency hint",
        "_openvino_lstm",
        "numpy",
        _STREAMS,
        _BOTH,
        needs=("openvino",),
    ),
    Peer(
        "keras/jax",
        "keras.layers.LSTM under jax.jit; stateful=True where it streams",
        "_keras_lstms",
        "jax",
        _KERAS,
        needs=("jax",),
    ),
    Peer(
        "keras/tensorflow",
        "keras.layers.LSTM in a tf.function; stateful=True where it streams",
        "_keras_lstms",
        "tensorflow",
        _KERAS,
        needs=("tensorflow",),
        slow=True,
    ),
    Peer(
        "keras/tensorflow xla",
        "keras.layers.LSTM in a tf.function with jit_compile=True",
        "_keras_lstms",
        "tensorflow",
        _SEQUENCES,
        needs=("tensorflow",),
        slow=True,
    ),
    Peer(
        "keras/torch",
        "keras.layers.LSTM, eager, as Keras runs it; stateful=True where it streams",
        "_keras_lstms",
        "torch",
        _KERAS,
        needs=("torch",),
        slow=True,
    ),
)

BY_NAME = {peer.name: peer for peer in PEERS}


def keras_beside(own: str) -> tuple[str, ...]:
    """The peers that are Keras's own layer on the framework of one of conveyor's."""
    backend = BY_NAME[own].backend
    return tuple(peer.name for peer in PEERS if peer.of_keras and peer.backend == backend)


# Those that stream any cell, and not the plain LSTM alone.
OF_ANY_CELL = ("conveyor/Stream", "conveyor/Stream feed")
