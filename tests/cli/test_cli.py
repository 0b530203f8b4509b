"""The command line as a user types it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import keras
import pytest
from typer.testing import CliRunner

import conveyor
from conveyor._engines import _library, _native, glue
from conveyor.cli import app, main
from conveyor.seq2seq import Seq2Seq, Translator
from frameworks import BACKEND

runner = CliRunner()


def run(*arguments: str) -> str:
    result = runner.invoke(app, [*arguments], env={"COLUMNS": "160", "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    return result.output


def test_help_names_the_commands() -> None:
    shown = run("--help")
    assert "demo" in shown
    assert "info" in shown


@pytest.mark.any_backend
def test_without_a_backend_it_shows_a_lesson_alone(tmp_path) -> None:
    command = tmp_path / "conveyor"
    command.write_text("from conveyor.cli import main\nmain()\n")
    (tmp_path / "tensorflow.py").write_text(
        "raise ModuleNotFoundError('No module named tensorflow', name='tensorflow')\n"
    )
    result = subprocess.run(
        [sys.executable, command, "--help"],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    first, second = result.stderr.splitlines()
    assert first.startswith("Error: Keras is set to run on tensorflow, which is not installed")
    assert second.startswith("Write ")


def test_version() -> None:
    assert run("--version").strip() == f"conveyor {conveyor.__version__}"


def test_info() -> None:
    shown = run("info")
    assert re.search(rf"backend +{BACKEND} \d", shown)
    assert re.search(r"engine portable +ready", shown)
    assert re.search(r"engine native +(ready|missing: \w)", shown)
    assert re.search(r"cores +\d+ may be used", shown)


needs_core = pytest.mark.skipif(_native.missing() is not None, reason=str(_native.missing()))


@needs_core
def test_info_lists_the_instruction_sets() -> None:
    shown = run("info")
    states = dict(re.findall(r"(\w+): (in use|ready|missing: \w.*)", shown))
    assert list(states) == list(_library.targets())
    assert [name for name, state in states.items() if state == "in use"] == [_library.target()]
    for name, lacks in _library.targets().items():
        assert states[name].startswith("missing: " + lacks if lacks else ("in use", "ready"))


@needs_core
@pytest.mark.parametrize(
    ("framework", "why"),
    [
        (0, "as many as there are cores for this process"),
        (1, f"as {BACKEND} is set"),
        (1000, f"as {BACKEND} is set"),
    ],
)
def test_info_says_how_many_threads_and_why(monkeypatch, framework: int, why: str) -> None:
    monkeypatch.setattr(_library, "_number_of_threads", None)
    monkeypatch.setattr(glue.active(), "threads", lambda: framework)
    cores = _library.threads()
    number = min(framework or cores, cores)
    assert re.search(rf"native threads +{number}, {why}", run("info"))


@needs_core
def test_info_says_that_conveyor_num_threads_was_set(monkeypatch) -> None:
    number = str(_library.threads())  # which changes nothing for the tests after this one
    monkeypatch.setenv("CONVEYOR_NUM_THREADS", number)
    monkeypatch.setattr(_library, "_loaded", None)
    monkeypatch.setattr(_library, "_number_of_threads", None)
    assert re.search(rf"native threads +{number}, as CONVEYOR_NUM_THREADS says", run("info"))


def test_info_says_why_there_is_no_native_engine(monkeypatch) -> None:
    monkeypatch.setattr(_library, "_loaded", "it was not built; install a [C++] compiler")
    shown = run("info")
    assert re.search(r"engine native +missing: it was not built; install a \[C\+\+\]", shown)
    assert "native threads" not in shown
    assert "instruction sets" not in shown


def test_unknown_option_is_an_error() -> None:
    assert runner.invoke(app, ["demo", "--fast"]).exit_code == 2


def test_a_folder_that_cannot_be_made_is_a_message_before_any_work(
    tmp_path, monkeypatch, capsys
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("sys.argv", ["conveyor", "demo", "--out", str(tmp_path / "file" / "out")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    shown = capsys.readouterr()
    assert "Error: " in shown.err
    assert "Traceback" not in shown.err
    assert not shown.out


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    pytest.importorskip("babel", reason="the demo's dates come from babel")
    out = tmp_path_factory.mktemp("demo")
    return out, run("demo", "--out", str(out), "--steps", "1")


def test_demo_says_what_it_did(demo) -> None:
    _, shown = demo
    assert "40 languages" in shown
    assert re.search(r"\d+\.\d% of the held-out dates are read exactly", shown)
    assert re.search(r"(native|portable) engine", shown)
    assert "as people write it" in shown


def test_demo_writes_a_model_that_loads(demo) -> None:
    out, _ = demo
    assert isinstance(keras.saving.load_model(out / "dates.keras"), Seq2Seq)
    assert len(Translator.load(out / "dates.keras")(["mardi 4 mars 2025"])) == 1


def test_demo_writes_a_report_of_a_date_in_each_language(demo) -> None:
    out, _ = demo
    page = (out / "report.html").read_text(encoding="utf-8")
    samples = page.partition('<ol class="samples"')[2].partition("</ol>")[0]
    titles = re.findall(r'class="sample-title" dir="auto">A date in (\w+)', samples)
    assert len(titles) == 40
    assert titles[:5] == ["French", "Portuguese", "Arabic", "Japanese", "Russian"]
    # What one batch of training taught: every date has its text, output and verdict all the same.
    assert samples.count('class="source"') == 40
    assert samples.count('class="output"') == samples.count('class="becomes"')
    assert samples.count('class="verdict') == 40
    data = json.loads(re.search(r'id="conveyor-data">(.*?)</script', page, re.S)[1])
    assert [layer["path"] for layer in data["layers"]] == ["encoder/lstm", "decoder/lstm"]
    assert {text[0] for text in data["texts"][1]} == {"<begin>"}
    assert not re.search(r'(?:src|href)="https?:', page)
