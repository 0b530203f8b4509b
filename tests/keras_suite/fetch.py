"""Fetch Keras's own tests of its recurrent layers; they are Keras's, so none is committed.

    python tests/keras_suite/fetch.py

They come from the installed Keras where it carries them, else from its source distribution,
and stay in .cache/keras_suite/<version>/, so a second run needs no network.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "keras_suite"

# In the order of their imports: stacked_rnn_cells_test takes its cells from rnn_test.
FILES: tuple[str, ...] = (
    "keras/src/layers/rnn/lstm_test.py",
    "keras/src/layers/rnn/gru_test.py",
    "keras/src/layers/rnn/rnn_test.py",
    "keras/src/layers/rnn/stacked_rnn_cells_test.py",
    "keras/src/layers/rnn/bidirectional_test.py",
    "keras/src/layers/core/masking_test.py",
)


def version() -> str:
    """The version of the Keras that is installed, whose tests are the ones to pass."""
    return importlib.metadata.version("keras")


def folder() -> Path:
    """Where the files lie once fetched, under their paths in Keras."""
    return CACHE / version()


def missing() -> list[str]:
    """The files that are still to fetch."""
    return [name for name in FILES if not (folder() / name).is_file()]


def fetch() -> None:
    """Bring what is missing; all of it or nothing."""
    if not missing():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        staged = Path(scratch) / "staged"
        if not copy_installed(staged):
            extract(download(Path(scratch)), staged)
        shutil.rmtree(folder(), ignore_errors=True)
        staged.rename(folder())


def copy_installed(destination: Path) -> bool:
    """Copy the files out of the installed Keras; False where its wheel came without them."""
    distribution = importlib.metadata.distribution("keras")
    sources = {name: Path(str(distribution.locate_file(name))) for name in FILES}
    if not all(source.is_file() for source in sources.values()):
        return False
    for name, source in sources.items():
        (destination / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, destination / name)
    return True


def download(destination: Path) -> Path:
    """The source distribution, by pip, from wherever pip is configured to look."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-binary", "keras", "--dest", str(destination)]
    subprocess.run([*command, f"keras=={version()}"], check=True)
    (archive,) = destination.glob("*.tar.gz")
    return archive


def extract(archive: Path, destination: Path) -> None:
    """Unpack the files, and nothing else, from a source distribution."""
    with tarfile.open(archive) as tar:
        for name in FILES:
            try:
                member = tar.getmember(f"keras-{version()}/{name}")
            except KeyError:
                raise FileNotFoundError(f"{archive.name} has no {name}") from None
            member.name = name
            tar.extract(member, destination, filter="data")


def main() -> int:
    """Fetch and say where; the exit status is 1 where that failed."""
    try:
        fetch()
    except (OSError, subprocess.CalledProcessError, tarfile.TarError) as error:
        print(f"Keras {version()}'s own tests could not be fetched: {error}", file=sys.stderr)
        return 1
    print(f"Keras {version()}'s own tests are in {folder()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
