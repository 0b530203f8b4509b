"""Files are whole or not there, on a full disk too."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from conveyor import ConveyorError
from conveyor.seq2seq._checkpoint import FORMAT, assign_values, read_checkpoint, write_checkpoint
from conveyor.seq2seq._files import WholeRecords, replacing, write_json
from conveyor.seq2seq._lock import locked
from full_disk import full_disk

pytestmark = pytest.mark.any_backend

ARRAYS = {"learner/0": np.arange(6, dtype="float32").reshape(2, 3), "optimizer/0": np.int64(7)}


def test_an_error_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"text": "é"})

    def break_off() -> None:
        with replacing(path) as part:
            part.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert json.loads(path.read_text(encoding="utf-8")) == {"text": "é"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_comes_back_and_takes_the_place_of_the_one_before(tmp_path):
    folder = tmp_path / "checkpoint"
    assert read_checkpoint(folder, "resume") is None
    write_checkpoint(folder, 3, ARRAYS, {"step": 3, "loss": 0.1 + 0.2})
    write_checkpoint(folder, 12, ARRAYS, {"step": 12})
    assert len(list(folder.iterdir())) == 1
    checkpoint = read_checkpoint(folder, "resume")
    assert checkpoint.state == {"format": FORMAT, "step": 12}
    assert set(checkpoint.arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(checkpoint.arrays[name], array, strict=True)


@pytest.mark.parametrize("room", [0, 100, 700])
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch, room):
    write_checkpoint(tmp_path, 1, ARRAYS, {"step": 1})
    with full_disk(monkeypatch, room), pytest.raises(OSError, match="No space") as error:
        write_checkpoint(tmp_path, 2, ARRAYS, {"step": 2})
    assert error.value.errno == errno.ENOSPC
    assert len(list(tmp_path.iterdir())) == 1
    assert read_checkpoint(tmp_path, "resume").state["step"] == 1


def test_damage_and_other_formats_are_refused(tmp_path):
    write_checkpoint(tmp_path, 1, ARRAYS, {})
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    place = whole.index(ARRAYS["learner/0"].tobytes())
    for damaged in (
        whole[:-1],
        whole[: len(whole) // 2],
        b"",
        whole[:place] + b"\1" + whole[place + 1 :],  # one byte of an array: its checksum tells
    ):
        path.write_bytes(damaged)
        with pytest.raises(ConveyorError, match="damaged"):
            read_checkpoint(tmp_path, "resume")
    write_checkpoint(tmp_path, 2, ARRAYS, {"format": FORMAT + 1})
    with pytest.raises(ConveyorError, match=f"format {FORMAT + 1}"):
        read_checkpoint(tmp_path, "resume")


def test_variables_of_another_model_are_refused():
    class Variable:
        shape = (2, 2)

    with pytest.raises(ConveyorError, match="other shapes"):
        assign_values([Variable()], "learner", ARRAYS, "resume")


def test_records_are_whole_when_the_disk_fills_up(tmp_path, monkeypatch):
    path = tmp_path / "records"
    with full_disk(monkeypatch, 9) as disk:
        records = WholeRecords(path)
        assert records.append(b"first\n")
        assert not records.append(b"second\n")
        assert path.read_bytes() == b"first\n"
        disk.room = 9
        assert records.append(b"third\n")
        records.close()
    assert path.read_bytes() == b"first\nthird\n"


def test_one_training_a_folder(tmp_path):
    with (
        locked(tmp_path, "train"),
        pytest.raises(ConveyorError, match=f"process {os.getpid()}"),
        locked(tmp_path, "train"),
    ):
        pass
    with locked(tmp_path, "train"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="the process that is killed locks as Unix does")
def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = (
        "import fcntl, os, sys, time\n"
        "lock = open(sys.argv[1], 'w')\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        'print(\'{"process": %d, "host": "here"}\' % os.getpid(), file=lock, flush=True)\n'
        "print('locked', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code, str(tmp_path / ".lock")],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "locked\n"
        with (
            pytest.raises(ConveyorError, match=f"process {process.pid} on here"),
            locked(tmp_path, "train"),
        ):
            pass
        process.kill()
        process.wait()
    with locked(tmp_path, "train"):
        pass
