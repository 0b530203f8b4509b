"""`conveyor train`: a translator or a chatbot from files of text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .._errors import lesson
from ..seq2seq import Config, Corpus, Training, read_chatterbot, read_dialogues, read_pairs, resume
from ..seq2seq import train as learn
from ._training_report import write_report

Files = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Pairs: a .tsv, .jsonl or .tmx, or two parallel files; each also with .gz. With "
        "--dialogues: .tsv, .jsonl or .yml."
    ),
]


def train(
    pairs: Files = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the model; made, and not there before.")
    ] = None,
    dev: Annotated[
        list[Path] | None,
        typer.Option(help="Pairs to judge by; twice for two files. Default: some are held out."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings as YAML; see --show-config.")
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
    chatterbot: Annotated[
        str | None,
        typer.Option(help="Train a chatbot on chatterbot-corpus: english, or english.greetings."),
    ] = None,
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
    settings = _settings(config, set_, max_minutes)
    if show_config:
        typer.echo(settings.as_yaml(), nl=False)
        return
    console = Console()
    if resume_ is not None:
        given = {"pairs": pairs, "--out": out, "--config": config, "--set": set_}
        given |= {"--dev": dev, "--max-minutes": max_minutes, "--chatterbot": chatterbot}
        _refuse_beside_resume([name for name, value in given.items() if value], resume_)
        folder, training = resume_, resume(resume_, console=console)
    else:
        corpus = _corpus(pairs, settings, dialogues, chatterbot, languages)
        if out is None:
            raise lesson("conveyor train", "a folder for the model", "no --out", "Add --out model.")
        held_out = None if not dev else _files(dev, settings, dialogues, languages)
        folder = out
        training = learn(corpus, out, dev=held_out, config=settings, console=console)
    _close(console, folder, training, chat=dialogues or chatterbot is not None)


def _settings(config: Path | None, set_: list[str] | None, max_minutes: float | None) -> Config:
    settings = Config() if config is None else Config.from_yaml(config)
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


def _corpus(
    files: list[Path] | None,
    settings: Config,
    dialogues: bool,
    chatterbot: str | None,
    languages: tuple[str, str] | None,
) -> Corpus:
    if chatterbot is not None:
        if files:
            raise lesson(
                "conveyor train",
                "either files or --chatterbot",
                f"{files[0]} and --chatterbot {chatterbot}",
                "Leave one of them out.",
            )
        language, _, topic = chatterbot.partition(".")
        data = settings.data
        return read_chatterbot(
            language, *filter(None, [topic]), history=data.history, bad_lines=data.bad_lines
        )
    if not files:
        raise lesson(
            "conveyor train",
            "files of pairs to learn from",
            "none",
            "Write conveyor train pairs.tsv.gz --out model, or --chatterbot english.",
        )
    return _files(files, settings, dialogues, languages)


def _files(
    files: list[Path], settings: Config, dialogues: bool, languages: tuple[str, str] | None
) -> Corpus:
    data = settings.data
    if dialogues:
        return read_dialogues(*files, history=data.history, bad_lines=data.bad_lines)
    return read_pairs(*files, languages=languages, bad_lines=data.bad_lines)


def _refuse_beside_resume(given: list[str], folder: Path) -> None:
    if given:
        raise lesson(
            "conveyor train --resume",
            "nothing beside the folder: pairs and settings are those that the training began with",
            ", ".join(given),
            f"Write conveyor train --resume {folder}.",
        )


def _close(console: Console, folder: Path, training: Training, *, chat: bool) -> None:
    report = write_report(folder, training)
    use = f"conveyor chat {folder}" if chat else f"echo a sentence | conveyor translate {folder}"
    console.print(f"\nThe model:  {folder}    {use}", highlight=False, soft_wrap=True)
    if report is not None:
        console.print(f"The report: {report}    open it in a browser", highlight=False)
    if training.interrupted:
        console.print(
            f"Interrupted: conveyor train --resume {folder} goes on.",
            style="yellow",
            highlight=False,
            soft_wrap=True,
        )
