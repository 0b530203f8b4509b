"""The command line as a user types it."""

from __future__ import annotations

import re

import keras
import pytest
from typer.testing import CliRunner

import conveyor
from conveyor.cli import app, main
from conveyor.seq2seq import Translator
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


def test_version() -> None:
    assert run("--version").strip() == f"conveyor {conveyor.__version__}"


def test_info() -> None:
    shown = run("info")
    assert re.search(rf"backend +{BACKEND} \d", shown)
    assert re.search(r"engine portable +ready", shown)
    assert re.search(r"engine native +(ready|missing: \w)", shown)
    assert "cores" in shown


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
    translator = keras.saving.load_model(out / "dates.keras")
    assert isinstance(translator, Translator)
    assert len(translator.translate(["mardi 4 mars 2025"])) == 1


def test_demo_writes_a_report_of_five_dates(demo) -> None:
    out, _ = demo
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('class="example"') == 5 or page.count("<canvas") >= 5
    assert "encoder" in page
    assert "decoder" in page
    assert not re.search(r'(?:src|href)="https?:', page)
