"""What `import conveyor` gives, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import conveyor
from conveyor._vocabulary import (
    FINAL_STATE_NAMES,
    GATE_NAMES,
    GRU_GATE_NAMES,
    GRU_STATE_NAMES,
    STATE_NAMES,
    has_time_axis,
)
from frameworks import BACKEND


@pytest.mark.parametrize(
    "module", ["conveyor", "ops", "layers", "inspection", "seq2seq", "checking"]
)
def test_public_names_are_there(module) -> None:
    package = conveyor if module == "conveyor" else __import__(f"conveyor.{module}", fromlist="x")
    for name in package.__all__:
        assert getattr(package, name).__doc__, name


def test_import_brings_no_other_framework_and_changes_no_settings() -> None:
    code = (
        "import os, sys, keras\n"
        "environment, modules = dict(os.environ), set(sys.modules)\n"
        "import conveyor\n"
        "assert environment == dict(os.environ)\n"
        "others = ('jax', 'torch', 'tensorflow', 'matplotlib', 'xarray', 'babel')\n"
        "print(*(set(others) & (set(sys.modules) - modules)))"
    )
    environment = {**os.environ, "KERAS_BACKEND": BACKEND, "TF_CPP_MIN_LOG_LEVEL": "3"}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert shown.split() == []


def test_a_backend_that_is_not_installed_is_named_with_the_line_to_write() -> None:
    other = "torch" if BACKEND != "torch" else "jax"
    code = f"import sys; sys.modules[{other!r}] = None; import conveyor"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": other},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"set to run on {other}, which is not installed" in result.stderr
    assert "export KERAS_BACKEND=" in result.stderr


def test_vocabulary() -> None:
    assert len(STATE_NAMES) == 8
    assert set(GATE_NAMES) | set(FINAL_STATE_NAMES) < set(STATE_NAMES)
    assert [n for n in STATE_NAMES if not has_time_axis(n)] == list(FINAL_STATE_NAMES)
    # Keras's order of the gates: see the equations of its LSTMCell.
    assert GATE_NAMES == ("input_gates", "forget_gates", "candidates", "output_gates")
    # And of its GRUCell.
    assert GRU_GATE_NAMES == ("update_gates", "reset_gates", "candidates")
    assert set(GRU_STATE_NAMES) == {"hidden_states", "hidden_state", *GRU_GATE_NAMES}
