"""Lines of text files, plain or gzip, one after the other; bad ones are told by their number."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from .._errors import ConveyorError, lesson
from ._corpus_report import CorpusReport

# A line that is longer holds no pair that could be learned from, and may not fit in memory.
LONGEST: Final = 2**20  # bytes

_GZIP: Final = b"\x1f\x8b"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


class Line(NamedTuple):
    """A line of a file; `text` is None where it could not be read, which is in the report."""

    place: str  # "pairs.tsv:17"
    text: str | None


def existing(path: str | Path) -> Path:
    """The path, of a file that is there.

    Raises:
        ConveyorError: it is not.
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing there"
        raise lesson(
            "The corpus", "a file", f"{str(path)!r} ({what})", "Write the path of a file of pairs."
        )
    return path


def lines(path: Path, report: CorpusReport) -> Iterator[Line]:
    """Every line of a file in UTF-8, without its end and without a byte order mark.

    Raises:
        ConveyorError: a file in UTF-16; gzip that breaks off.
    """
    with opened(path) as file:
        number = 0
        while raw := file.readline(LONGEST):
            number += 1
            place = f"{path.name}:{number}"
            if len(raw) == LONGEST and not raw.endswith(b"\n"):
                while len(raw) == LONGEST and not raw.endswith(b"\n"):
                    raw = file.readline(LONGEST)
                report.add("a line of more than a megabyte", place)
                yield Line(place, None)
                continue
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                report.add("not UTF-8", place, f"byte {error.start} is {raw[error.start]:#04x}")
                yield Line(place, None)
                continue
            if number == 1:
                text = text.removeprefix("\ufeff")
            yield Line(place, text.removesuffix("\n").removesuffix("\r"))


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedIOBase]:
    """The bytes of a file, unpacked if it is gzip.

    Raises:
        ConveyorError: also while it is read: gzip that is damaged, an error of the disk.
    """
    try:
        with open(path, "rb") as file:
            start = file.peek(2)[:2]
            if start in _UTF_16:
                raise lesson(
                    "The corpus",
                    "text in UTF-8",
                    f"UTF-16 in {path}",
                    f"Write iconv -f UTF-16 -t UTF-8 {path} > utf8-{path.name}.",
                )
            if start == _GZIP:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield unpacked
            else:
                yield file
    except ConveyorError:
        raise
    except (EOFError, zlib.error, OSError) as error:
        raise lesson(
            "The corpus",
            "a file that can be read to its end",
            f"{path}: {error}",
            f"Copy it again; gunzip --test {path} tells whether a .gz is whole."
            if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile))
            else "Write the path of a file that you may read.",
        ) from error
