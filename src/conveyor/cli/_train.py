"""`conveyor train`: a translator or a chatbot from files of text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .._errors import lesson
from ..seq2seq import Config, Training, read_corpus, resume
from ..seq2seq import train as learn
from ..seq2seq._open import are_dialogues
from ._training_report import write_report

Files = Annotated[
    list[str] | None,
    typer.Argument(
        help="Pairs: a .tsv, .jsonl or .tmx, or two parallel files; each also with .gz. Dialogues: "
        "a .yml, with --dialogues a .tsv or .jsonl, or chatterbot:english."
    ),
]


def train(
    pairs: Files = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the model; made, and not there before.")
    ] = None,
    dev: Annotated[
        list[str] | None,
        typer.Option(help="Pairs to judge by; twice for two files. Default: some are held out."),
    ] = None,
    no_dev: Annotated[
        bool,
        typer.Option("--no-dev", help="Hold nothing out: learn every pair, keep the last model."),
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="Settings as YAML; --show-config writes them all.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting: training.epochs=10. May be repeated."),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            help="Train no longer than this; the schedule fits itself to it. Evaluation does not "
            "count.",
            min=0.01,
        ),
    ] = None,
    dialogues: Annotated[
        bool, typer.Option("--dialogues", help="The files hold dialogues: train a chatbot.")
    ] = False,
    languages: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Source and target in a .tmx or .jsonl of several.", metavar="EN FR"),
    ] = None,
    resume_: Annotated[
        Path | None, typer.Option("--resume", help="Go on with the training in this folder.")
    ] = None,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print all settings as YAML and do nothing.")
    ] = False,
) -> None:
    """Train a translator, or a chatbot, on your own text.

    conveyor train pairs.tsv.gz --out model --max-minutes 10

    Whatever happens to it, kill -9 and a full disk included, the folder stays whole:
    conveyor train --resume model goes on. Ctrl-C ends it after the batch at hand.
    """
    chat = dialogues or are_dialogues(*(pairs or []))
    settings = _settings(config, set_, max_minutes, chat)
    if show_config:
        typer.echo(settings.as_yaml(), nl=False)
        return
    console = Console()
    if resume_ is not None:
        given: dict[str, Any] = {
            "pairs": pairs,
            "--out": out,
            "--config": config,
            "--set": set_,
            "--dev": dev,
            "--no-dev": no_dev,
        }
        given |= {"--max-minutes": max_minutes}
        _refuse_beside_resume([name for name, value in given.items() if value], resume_)
        folder, training = resume_, resume(resume_, console=console)
    else:
        if not pairs:
            raise lesson(
                "conveyor train",
                "files of pairs or dialogues to learn from",
                "none",
                "Write conveyor train pairs.tsv.gz --out model.",
            )
        if out is None:
            raise lesson("conveyor train", "a folder for the model", "no --out", "Add --out model.")
        if dev and no_dev:
            raise lesson(
                "conveyor train", "--dev or --no-dev", "both", f"Write --dev {' --dev '.join(dev)}."
            )
        kind: dict[str, Any] = {"dialogues": dialogues, "languages": languages}
        corpus = read_corpus(*pairs, config=settings.data, **kind)
        held_out = read_corpus(*dev, config=settings.data, **kind) if dev else None
        judged_by: Any = [] if no_dev else held_out
        folder = out
        training = learn(corpus, out, dev=judged_by, config=settings, console=console)
    _close(console, folder, training)


def _settings(
    config: Path | None, set_: list[str] | None, max_minutes: float | None, chat: bool
) -> Config:
    settings = Config.for_dialogues() if chat else Config()
    if config is not None:
        settings = Config.from_yaml(config, settings)
    changes: dict[str, object] = {}
    for text in set_ or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise lesson(
                "conveyor train",
                "a setting and its value after --set",
                repr(text),
                "Write --set training.epochs=10.",
            )
        changes[name.strip()] = value.strip()
    if max_minutes is not None:
        changes["training.max_minutes"] = max_minutes
        changes.setdefault("training.epochs", None)
    return settings.with_settings(changes)


def _refuse_beside_resume(given: list[str], folder: Path) -> None:
    if given:
        raise lesson(
            "conveyor train --resume",
            "nothing beside the folder: pairs and settings are those that the training began with",
            ", ".join(given),
            f"Write conveyor train --resume {folder}.",
        )


def _close(console: Console, folder: Path, training: Training) -> None:
    report = write_report(folder, training)
    console.print(
        f"\nThe model:  {folder}    echo a sentence | conveyor translate {folder}, "
        f"or conveyor chat {folder}",
        highlight=False,
        soft_wrap=True,
    )
    if report is not None:
        console.print(f"The report: {report}    open it in a browser", highlight=False)
    if training.interrupted:
        console.print(
            f"Interrupted: conveyor train --resume {folder} goes on.",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
