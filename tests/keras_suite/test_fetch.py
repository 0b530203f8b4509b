"""Fetching takes the named files, no others, and only once."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from . import fetch


def archive(folder: Path, *, without: str = "", link: str = "") -> Path:
    """A source distribution with each file holding its own name, and some that nobody asked for."""
    path = folder / "keras.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in (*fetch.FILES, "keras/src/layers/rnn/conv_lstm_test.py", "../outside.py"):
            if name == without:
                continue
            member = tarfile.TarInfo(f"keras-{fetch.version()}/{name}")
            if name == link:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
                tar.addfile(member)
            else:
                member.size = len(name)
                tar.addfile(member, io.BytesIO(name.encode()))
    return path


def files_in(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_extracts_the_named_files_only(tmp_path: Path) -> None:
    destination = tmp_path / "a" / "b"
    fetch.extract(archive(tmp_path), destination)
    assert files_in(tmp_path) == {"keras.tar.gz", *(f"a/b/{name}" for name in fetch.FILES)}
    assert (destination / fetch.FILES[0]).read_text() == fetch.FILES[0]


def test_says_which_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=fetch.FILES[1]):
        fetch.extract(archive(tmp_path, without=fetch.FILES[1]), tmp_path / "a")


def test_refuses_a_link_to_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(tarfile.FilterError):
        fetch.extract(archive(tmp_path, link=fetch.FILES[0]), tmp_path / "a")


def test_downloads_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads = []

    def download(destination: Path) -> Path:
        downloads.append(destination)
        return archive(destination)

    monkeypatch.setattr(fetch, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(fetch, "copy_installed", lambda _: False)
    monkeypatch.setattr(fetch, "download", download)
    assert fetch.missing() == list(fetch.FILES)
    fetch.fetch()
    fetch.fetch()
    assert len(downloads) == 1
    assert fetch.missing() == []
    assert files_in(fetch.CACHE) == {f"{fetch.version()}/{name}" for name in fetch.FILES}


def test_an_incomplete_download_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetch, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(fetch, "copy_installed", lambda _: False)
    monkeypatch.setattr(fetch, "download", lambda to: archive(to, without=fetch.FILES[-1]))
    assert fetch.main() == 1
    assert fetch.FILES[-1] in capsys.readouterr().err
    assert files_in(fetch.CACHE) == set()
