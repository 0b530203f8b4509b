"""One backend a process: KERAS_BACKEND says which (jax where it says nothing)."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path

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


def pytest_collection_modifyitems(config, items):
    """What needs no backend runs with one of them only."""
    first = next(name for name in ("jax", "torch", "tensorflow") if find_spec(name))
    if keras.backend.backend() == first:
        return
    again = [item for item in items if item.get_closest_marker("any_backend")]
    config.hook.pytest_deselected(items=again)
    items[:] = [item for item in items if item not in set(again)]
