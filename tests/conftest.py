"""One backend a process: KERAS_BACKEND says which (jax where it says nothing)."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path
from zlib import crc32

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Most of the time goes into compiling small functions that run once.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Many tests, and the processes that they start, compile the same functions. JAX writes into the
# folder in place: who reads half a file there finds a wrong checksum, and compiles.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "jax")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import hypothesis
import keras
import pytest

hypothesis.settings.register_profile(
    "conveyor",
    deadline=None,  # compiling takes its time
    max_examples=25,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("conveyor")


@pytest.fixture(autouse=True)
def _fresh_keras():
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c():
    """A shell makes what it runs in the background deaf to Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    parser.addoption("--every-case", action="store_true", help="on JAX and TensorFlow, too")


def pytest_collection_modifyitems(config, items):
    """What needs no backend runs with one of them only; few cases where all is compiled."""
    backend = keras.backend.backend()
    first = next(name for name in ("jax", "torch", "tensorflow") if find_spec(name))
    for item in items:
        names = [name for marker in item.iter_markers("only_on") for name in marker.args]
        if names and backend not in names:
            item.add_marker(pytest.mark.skip(f"about {' and '.join(names)}; this is {backend}"))
    left_out = set()
    if backend != first:
        left_out |= {item for item in items if item.get_closest_marker("any_backend")}
    if backend in ("jax", "tensorflow") and not config.getoption("every_case"):
        left_out |= _most_cases(items, backend)
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def _most_cases(items, backend):
    """Two of three, or as `one_of` says: other ones on each backend. PyTorch runs all."""
    cases = {}
    for item in items:
        here_alone = any(map(item.get_closest_marker, ("only_on", "any_backend", "every_case")))
        if hasattr(item, "callspec") and not here_alone:
            cases.setdefault((item.parent, item.originalname), []).append(item)
    left_out = set()
    for (_, name), its in cases.items():
        marker = its[0].get_closest_marker("one_of")
        block = marker.args[0] if marker else 3
        kept = crc32(f"{backend} {name}".encode()) % min(block, len(its))
        left_out |= {item for n, item in enumerate(its) if n % block != kept}
    return left_out
