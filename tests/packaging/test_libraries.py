"""The shared libraries as other programs see them: what they give away, and what they need."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conveyor import _engines

pytestmark = pytest.mark.any_backend

INCLUDE = Path(__file__).parents[2] / "native/include/conveyor"


def library(name: str) -> str:
    for folder in _engines.__path__:
        if (path := Path(folder, name)).exists():
            return str(path)
    pytest.skip(f"{name} was not built")


def run(tool: str, *arguments: str) -> str:
    if sys.platform != "linux":
        pytest.skip("about ELF, the format of Linux")
    if shutil.which(tool) is None:
        pytest.skip(f"there is no {tool}; binutils has it")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def symbols(name: str, which: str) -> set[str]:
    """Without versions (malloc@GLIBC_2.2.5 is malloc), and without what may be absent."""
    lines = run("nm", "--dynamic", which, library(name)).splitlines()
    found = [line.split()[-2:] for line in lines]
    return {symbol.split("@")[0] for kind, symbol in found if kind not in "wv"}


def needed(name: str) -> set[str]:
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "--dynamic", library(name))))


def test_the_core_gives_away_what_its_headers_promise() -> None:
    if not INCLUDE.exists():
        pytest.skip("the headers are not beside the tests")
    promised = set()
    for header in INCLUDE.glob("*.h"):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
        promised |= set(re.findall(r"^CONVEYOR_API [^;(]*?(\w+)\(", text, re.MULTILINE))
    assert len(promised) > 15
    # XLA's types are in no header here.
    names = ("forward", "backward", "gru_forward", "gru_backward", "cross_entropy", "top_k")
    to_jax = {f"conveyor_jax_{name}" for name in names}
    assert symbols("libconveyor.so", "--defined-only") == promised | to_jax


def test_the_ops_of_tensorflow_give_away_nothing() -> None:
    # They register themselves when TensorFlow loads them.
    given = symbols("libconveyor_tensorflow.so", "--defined-only")
    assert {name for name in given if not name.startswith("conveyor_")} == set()


@pytest.mark.parametrize("name", ["libconveyor.so", "libconveyor_tensorflow.so"])
def test_no_python_no_framework_and_no_cpp_library_is_needed(name: str) -> None:
    wanted = {n for n in symbols(name, "--undefined-only") if re.match(r"_?Py|TF_|XLA_|_Z", n)}
    assert wanted == set()
    assert needed(name) <= {
        "libconveyor.so",
        "libc.so.6",
        "libm.so.6",
        "libdl.so.2",  # of older systems, as is the next
        "libpthread.so.0",
        "ld-linux-x86-64.so.2",
        "ld-linux-aarch64.so.1",
    }
