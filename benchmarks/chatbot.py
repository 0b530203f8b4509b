"""A chatbot from the English part of chatterbot-corpus: what it answers of what it was taught.

    python benchmarks/chatbot.py --minutes 5 --out build/chatbot

It is trained by `conveyor train`, and asked by `conveyor chat` in processes of their own: every
prompt that begins a dialogue, once alone, and once in one long conversation in random order. An
answer is right if it is one of those that the corpus has for this prompt.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from conveyor.seq2seq import read_chatterbot

LANGUAGE = "english"


def taught() -> tuple[dict[str, set[str]], dict[str, list[str]]]:
    """The answers to each prompt, and the prompts of each topic."""
    answers: dict[str, set[str]] = defaultdict(set)
    prompts: dict[str, list[str]] = defaultdict(list)
    for pair in read_chatterbot(LANGUAGE, history=0):
        answers[pair.source].add(pair.target)
    for pair in read_chatterbot(LANGUAGE, history=99):
        first = pair.source in answers and pair.source not in prompts[pair.tags[0]]
        if first:  # longer ones have the turns before
            prompts[pair.tags[0]].append(pair.source)
    return answers, prompts


def conveyor(*arguments: str, said: str | None = None) -> list[str]:
    """What a command prints."""
    command = [sys.executable, "-c", "from conveyor.cli import main; main()", *arguments]
    out = subprocess.PIPE if said is not None else None
    done = subprocess.run(command, input=said, text=True, stdout=out, check=True)
    return (done.stdout or "").splitlines()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/chatbot"))
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    if options.out.exists():
        shutil.rmtree(options.out)
    settings = [part for text in options.set for part in ("--set", text)]
    conveyor(
        *("train", f"chatterbot:{LANGUAGE}", "--no-dev", "--out", str(options.out)),
        *("--max-minutes", str(options.minutes), *settings),
    )
    answers, topics = taught()
    prompts = [(topic, prompt) for topic, some in topics.items() for prompt in some]
    random.Random(0).shuffle(prompts)
    asked = {
        "alone": "".join(f"/new\n{prompt}\n" for _, prompt in prompts),
        "in one conversation": "".join(f"{prompt}\n" for _, prompt in prompts),
    }
    right: dict[tuple[str, str], int] = defaultdict(int)
    for way, said in asked.items():
        heard = conveyor("chat", str(options.out), said=said)
        for (topic, prompt), answer in zip(prompts, heard, strict=True):
            right[topic, way] += answer in answers[prompt]
    table = Table("topic", "prompts", *asked)
    for topic, some in sorted(topics.items()):
        table.add_row(topic, str(len(some)), *(f"{right[topic, way]}" for way in asked))
    every = [sum(right[topic, way] for topic in topics) for way in asked]
    table.add_row(
        "all", str(len(prompts)), *(f"{n} ({n / len(prompts):.1%})" for n in every), style="bold"
    )
    Console().print(table)


if __name__ == "__main__":
    main()
