"""Zip archives from anywhere: `.keras`, `.npz` and `.pt` files are such."""

from __future__ import annotations

import zipfile
from pathlib import Path

# Numbers cannot be compressed to less; and what is smaller than this harms nobody.
_EXPANSION = 16
_HARMLESS = 64 << 20


def check_archive(path: Path) -> None:
    """Look at an archive before anything is taken out of it, for readers that check nothing.

    Raises:
        ValueError: it is cut off; or a member has not the checksum that it was written with; or
            what `check_size` refuses.
    """
    check_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # of zipfile and zlib
        raise ValueError(f"a zip archive that cannot be read ({error})") from error
    if damaged is not None:
        raise ValueError(f"{damaged} in it is damaged: its checksum is another")


def check_size(path: Path) -> None:
    """Look at the sizes of the members of an archive.

    Raises:
        ValueError: no archive, or one that is cut off; or it unpacks to many times its own size
            (a decompression bomb).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except Exception as error:
        raise ValueError(f"{path.stat().st_size:,} bytes of something else, or cut off") from error
    check_expansion(size, path)


def check_expansion(size: int, path: Path) -> None:
    """Refuse a file that says that it holds `size` bytes, and is itself far smaller.

    Raises:
        ValueError: what it says cannot be true of numbers, or is meant to fill the memory.
    """
    there = path.stat().st_size
    if size > max(_HARMLESS, _EXPANSION * there):
        raise ValueError(f"a file of {there:,} bytes that unpacks to {size:,}")
