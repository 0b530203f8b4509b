"""`.keras`, `.pt` and `.npz` files that are cut off, changed, or made to do harm."""

from __future__ import annotations

import io
import json
import os
import zipfile

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from conveyor import ConveyorError, Stream, convert
from conveyor._archives import check_archive
from conveyor.cli._look import read_arrays
from conveyor.cli._model_file import load
from conveyor.seq2seq import Translator
from conveyor.seq2seq._checkpoint import read_checkpoint, write_checkpoint

pytestmark = pytest.mark.any_backend

# Wherever conveyor reads a model.
READERS = {"commands": load, "convert": convert.weights_of, "Translator": Translator.load}


def model(**options):
    return keras.Sequential([keras.Input((None, 3)), layers.LSTM(4, **options)])


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path, contents, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "whole.keras"
    model().save(path)
    return path


def damaged(content, data):
    """Cut off, or with some bytes changed."""
    content = bytearray(content)
    if data.draw(st.booleans(), "cut"):
        return bytes(content[: data.draw(st.integers(0, len(content) - 1), "at")])
    for _ in range(data.draw(st.integers(1, 8), "changes")):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    return bytes(content)


@given(data=st.data(), reader=st.sampled_from(list(READERS)))
def test_a_damaged_model(data, reader, whole):
    content = damaged(whole.read_bytes(), data)
    path = whole.with_name("damaged.keras")
    path.write_bytes(content)
    try:
        READERS[reader](path)
    except ConveyorError as error:
        assert "damaged.keras" in str(error)  # noqa: PT017
    else:  # a date in the archive's list, say: what it holds is as it was
        assert members(path) == members(whole)


@given(data=st.data(), member=st.sampled_from(["config.json", "model.weights.h5"]))
def test_a_model_changed_by_hand(data, member, whole):
    """Its checksums are right: Keras and HDF5 see what is wrong, or it is another model."""
    contents = members(whole)
    contents[member] = damaged(contents[member], data)
    try:
        found = load(packed(whole.with_name("changed.keras"), contents))
    except ConveyorError:
        return
    assert found.count_params() < 1 << 20


def config_with(**changes):
    def change(contents):
        text = contents["config.json"].decode()
        for old, new in changes.items():
            assert f'"{old}": ' in text
            start = text.index(f'"{old}": ') + len(old) + 4
            end = min(text.index(mark, start) for mark in ",}" if mark in text[start:])
            text = text[:start] + new + text[end:]
        return {**contents, "config.json": text.encode()}

    return change


def without_end(contents):
    return {**contents, "config.json": b"[" * 100_000}


def stateful(contents):
    contents = config_with(stateful="true")(contents)
    text = contents["config.json"].replace(b"[null, null, 3]", b"[1000000000, null, 3]")
    return {**contents, "config.json": text}


def empty_weights(contents):
    """An array of a gigabyte, of which the file holds nothing."""
    file = io.BytesIO(contents["model.weights.h5"])
    with h5py.File(file, "r+") as weights:
        place = weights["layers/lstm/cell/vars"]
        del place["0"]
        place.create_dataset("0", (1 << 14, 1 << 14), "f4", chunks=(64, 64), compression="gzip")
    return {**contents, "model.weights.h5": file.getvalue()}


HOSTILE = {
    r"shape \(50000, 200000\), and the file": config_with(units="50000"),
    "positive integer": config_with(units="-4"),
    "could not be loaded": config_with(units="5"),
    r"unpacks to 64,000,000,000": stateful,
    "recursion": without_end,
    "unpacks to": empty_weights,
    "config.json": lambda contents: {"metadata.json": b"{}"},
    "model.weights.h5": lambda contents: {"config.json": contents["config.json"]},
}


@pytest.mark.parametrize("message", HOSTILE)
def test_what_a_model_file_may_claim(message, whole):
    path = packed(whole.with_name("hostile.keras"), HOSTILE[message](members(whole)))
    with pytest.raises(ConveyorError, match=f"that Keras can load[\\s\\S]*{message}"):
        load(path)


@pytest.mark.parametrize("reader", READERS)
def test_a_bomb_is_not_unpacked(reader, whole, tmp_path):
    contents = {"config.json": bytes(200 << 20), "model.weights.h5": b""}
    packed(tmp_path / "b.keras", contents, compression=zipfile.ZIP_DEFLATED)
    assert (tmp_path / "b.keras").stat().st_size < 1 << 20
    with pytest.raises(ConveyorError, match="unpacks to 209,715,200"):
        READERS[reader](tmp_path / "b.keras")


@pytest.mark.filterwarnings("ignore:Skipping invalid path")
def test_names_lead_nowhere_else(whole, tmp_path):
    names = ("../../above", f"{tmp_path}/there", "assets/../../../above")
    path = tmp_path / "one" / "two" / "model.keras"
    path.parent.mkdir(parents=True)
    load(packed(path, members(whole) | dict.fromkeys(names, b"x")))
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]


@pytest.mark.parametrize("reader", READERS)
def test_no_code_of_a_model_runs(reader, tmp_path):
    ran = str(tmp_path / "ran")
    code = layers.Lambda(lambda x: (open(ran, "w").close(), x)[1], output_shape=(3,))
    keras.Sequential([keras.Input((3,)), code]).save(tmp_path / "model.keras")
    assert not os.path.exists(ran)  # nor did writing it run it
    with pytest.raises(ConveyorError, match=r"[Ll]ambda"):
        READERS[reader](tmp_path / "model.keras")
    assert not os.path.exists(ran)


# --------------------------------------------------------------------------- .pt


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_a_changed_number_in_torchs_file(torch, tmp_path):
    """torch.load looks at no checksum."""
    path = convert.save(model().layers[0], tmp_path / "w.pt", verbose=False)
    content = path.read_bytes()
    number = convert.weights_of(path).layers[0][0].kernel[0, 0].tobytes()
    place = content.index(number)
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(ConveyorError, match="checksum"):
        convert.weights_of(path)


def test_one_number_for_a_shape_of_any_size(torch, tmp_path):
    state = torch.nn.LSTM(3, 4).state_dict()
    wide = torch.zeros(1, dtype=torch.bfloat16).expand(16, 1 << 36)
    torch.save(dict(state) | {"weight_ih_l0": wide}, tmp_path / "w.pt")
    with pytest.raises(ConveyorError, match="unpacks to"):
        convert.weights_of(tmp_path / "w.pt")


def test_other_kinds_of_tensors(torch, tmp_path):
    state = torch.nn.LSTM(3, 4).state_dict()
    for other in (
        torch.eye(4).to_sparse(),
        torch.empty(16, 3, device="meta"),
        torch.zeros(16, 3, dtype=torch.complex64),
        torch.zeros(16, 3, dtype=torch.int64),
        torch.zeros(16, 2, 2),
        torch.zeros(()),
    ):
        torch.save(dict(state) | {"weight_ih_l0": other}, tmp_path / "w.pt")
        with pytest.raises(ConveyorError):
            convert.weights_of(tmp_path / "w.pt")


class Harm:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("old", [True, False])
def test_no_pickle_is_run(torch, tmp_path, old):
    state = dict(torch.nn.LSTM(3, 4).state_dict()) | {"harm": Harm(str(tmp_path / "harm"))}
    torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(ConveyorError, match="tensors alone"):
        convert.weights_of(tmp_path / "w.pt")
    assert not (tmp_path / "harm").exists()


# -------------------------------------------------------------------------- .npz


def array_header(shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    stream = Stream(model())
    stream.step(np.ones(3, "float32"), session="a")
    return stream, stream.save(tmp_path_factory.mktemp("sessions") / "whole.npz")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(folder, 1, {"learner/0": np.ones((2, 3), "float32")}, {"step": 1})
    return next(folder.iterdir())


@given(data=st.data())
def test_damaged_sessions(data, sessions):
    stream, path = sessions
    other = path.with_name("damaged.npz")
    other.write_bytes(damaged(path.read_bytes(), data))
    before = stream.states("a")
    try:
        stream.load(other)
    except ConveyorError:
        pass
    else:
        assert members(other) == members(path)
    np.testing.assert_equal(stream.states("a"), before)


@given(data=st.data())
def test_a_damaged_checkpoint(data, checkpoint):
    whole = checkpoint.read_bytes()
    contents = members(checkpoint)
    checkpoint.write_bytes(damaged(whole, data))
    try:
        found = read_checkpoint(checkpoint.parent, "resume")
    except ConveyorError as error:
        assert "damaged" in str(error)  # noqa: PT017
    else:
        assert found.state["step"] == 1
        assert members(checkpoint) == contents
    finally:
        checkpoint.write_bytes(whole)


def test_what_an_array_may_claim(sessions, checkpoint, tmp_path):
    stream, path = sessions
    first = next(name for name in members(path) if "hidden" in name)
    huge = {first: array_header((1, 1 << 50))}
    bomb = {first: array_header((1, 1 << 26)) + bytes(1 << 28)}
    squeezed = {"compression": zipfile.ZIP_DEFLATED}
    for change, options in ((huge, {}), (bomb, squeezed)):
        packed(tmp_path / "s.npz", members(path) | change, **options)
        with pytest.raises(ConveyorError, match=r"stream\.save"):
            stream.load(tmp_path / "s.npz")
        packed(tmp_path / "step-000000001.npz", members(checkpoint) | change, **options)
        with pytest.raises(ConveyorError, match="damaged"):
            read_checkpoint(tmp_path, "resume")
    assert stream.sessions == ["a"]


@pytest.mark.parametrize("about", [3, [], {}, {"format": "conveyor.stream"}, None])
def test_sessions_that_are_none(about, sessions, tmp_path):
    stream, path = sessions
    array = io.BytesIO()
    np.save(array, np.frombuffer(json.dumps(about).encode(), np.uint8))
    packed(tmp_path / "s.npz", members(path) | {"about.npy": array.getvalue()})
    with pytest.raises(ConveyorError, match=r"stream\.save"):
        stream.load(tmp_path / "s.npz")


@given(data=st.data())
def test_damaged_arrays_for_the_commands(data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "data.npz"
    np.savez_compressed(path, x=np.arange(60.0).reshape(5, 4, 3))
    path.write_bytes(damaged(path.read_bytes(), data))
    try:
        x, _ = read_arrays(path)
    except ConveyorError:
        return
    found = x if isinstance(x, np.ndarray) else next(iter(x.values()))
    np.testing.assert_array_equal(found, np.arange(60.0).reshape(5, 4, 3))


def test_a_wrong_checksum_and_no_archive(checkpoint, tmp_path):
    content = bytearray(checkpoint.read_bytes())
    content[content.index(np.ones(6, "float32").tobytes())] ^= 1
    for wrong in (content, b"", b"PK\3\4", content[:-1]):
        (tmp_path / "a.zip").write_bytes(wrong)
        with pytest.raises(ValueError, match=r"checksum|cut off"):
            check_archive(tmp_path / "a.zip")
