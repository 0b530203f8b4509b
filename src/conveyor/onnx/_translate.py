"""Translates the lines of standard input in ONNX Runtime: the likeliest token at each step.

    python translate.py < texts > translations

Beside it lie encoder.onnx, decoder_step.onnx and translator.json, as conveyor wrote them. It needs
numpy and onnxruntime, and sentencepiece where the vocabulary has subwords.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

PADDING, BEGIN, END, UNKNOWN, FIRST = 0, 1, 2, 3, 4
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def fold(text: str) -> str:
    """Without case, width, kind of space, and marks of direction."""
    invisible = dict.fromkeys(map(ord, "\u061c\u200e\u200f\u2066\u2067\u2068\u2069"))
    folded = unicodedata.normalize("NFKC", text.casefold()).translate(invisible)
    return " ".join(folded.split())


class Pieces:
    """Characters, or words and punctuation marks, by their numbers."""

    def __init__(self, pieces: Sequence[str], words: bool, folded: bool) -> None:
        self.pieces, self.words, self.folded = pieces, words, folded
        self.ids = {piece: n for n, piece in enumerate(pieces, FIRST)}
        marks = ""
        if words:  # accents that stand alone are no \w, but belong to their word
            every = map(chr, range(sys.maxunicode + 1))
            marks = "".join(c for c in every if unicodedata.category(c)[0] == "M")
        self.pattern = re.compile(rf" ?[\w{marks}]+| ?[^\w\s{marks}]|\s")

    def encode(self, text: str) -> list[int]:
        """The numbers of a text."""
        text = fold(text) if self.folded else text
        pieces = self.pattern.findall(f" {text}") if self.words else text
        return [self.ids.get(piece, UNKNOWN) for piece in pieces]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of numbers."""
        unknown = f" {REPLACEMENT}" if self.words else REPLACEMENT
        text = "".join(unknown if n == UNKNOWN else self.pieces[n - FIRST] for n in ids)
        return text.removeprefix(" ") if self.words else text


class Subwords:
    """Frequent parts of words, by sentencepiece, which writes a space as U+2581."""

    def __init__(self, model: bytes, folded: bool) -> None:
        from sentencepiece import SentencePieceProcessor

        self.processor = SentencePieceProcessor(model_proto=model)
        self.folded = folded

    def encode(self, text: str) -> list[int]:
        """The numbers of a text; a U+2581 of its own goes in as U+FDD0."""
        text = re.sub("[\ud800-\udfff]", REPLACEMENT, fold(text) if self.folded else text)
        text = re.sub("[\ufdd0\ufdd1]", lambda found: "\ufdd1" + found[0], text)
        ids: list[int] = self.processor.encode(text.replace("\u2581", "\ufdd0"))
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of numbers."""
        text = self.processor.decode([int(n) for n in ids])
        return re.sub("\ufdd1([\ufdd0\ufdd1])|\ufdd0", lambda found: found[1] or "\u2581", text)


def vocabulary(values: dict[str, Any]) -> Pieces | Subwords:
    """What translator.json describes."""
    if values["kind"] == "subwords":
        return Subwords(base64.b64decode(values["model"]), values["folded"])
    words = values["kind"] == "words"
    return Pieces(values["words" if words else "alphabet"], words, values["folded"])


class Translator:
    """Texts to texts.

    Args:
        folder: of the files.
    """

    def __init__(self, folder: Path) -> None:
        from onnxruntime import InferenceSession

        self.encoder = InferenceSession(folder / "encoder.onnx")
        self.step = InferenceSession(folder / "decoder_step.onnx")
        self.settings = json.loads((folder / "translator.json").read_text(encoding="utf-8"))
        self.source = vocabulary(self.settings["source"])
        self.target = vocabulary(self.settings["target"])

    def __call__(self, texts: Sequence[str]) -> list[str]:
        """The translation of each; an empty one of a text without anything but space."""
        sources = {n: self.source.encode(text) for n, text in enumerate(texts) if text.strip()}
        sources = {n: ids for n, ids in sources.items() if ids}
        written: dict[int, list[int]] = {}
        if sources:
            written = dict(zip(sources, self.search(list(sources.values())), strict=True))
        return [self.target.decode(written.get(n, ())) for n in range(len(texts))]

    def search(self, sources: Sequence[Sequence[int]]) -> list[list[int]]:
        """The likeliest token at each step, until the end or the longest that may be."""
        padded = np.zeros((len(sources), max(map(len, sources))), "int64")
        for row, source in zip(padded, sources, strict=True):
            row[: len(source)] = source
        read = run(self.encoder, {"source": padded})
        ratio, extra = self.settings["max_length_ratio"], self.settings["max_length_extra"]
        limits = [int(ratio * len(source)) + extra for source in sources]
        written: list[list[int]] = [[] for _ in sources]
        unfinished = {n for n, limit in enumerate(limits) if limit}
        tokens = np.full(len(sources), BEGIN, "int64")
        while unfinished:
            made = run(self.step, {"tokens": tokens, **read})
            read |= {n.removesuffix(".next"): v for n, v in made.items() if n.endswith(".next")}
            tokens = self.best(made["logits"], written)
            for n in sorted(unfinished):
                if tokens[n] != END:
                    written[n].append(int(tokens[n]))
                if tokens[n] == END or len(written[n]) == limits[n]:
                    unfinished.discard(n)
        return written

    def best(self, logits: Any, written: list[list[int]]) -> Any:
        """The likeliest that may be written; the end where no logit is a number."""
        logits = np.array(logits)
        logits[:, [PADDING, BEGIN, UNKNOWN]] = -np.inf
        size = self.settings["no_repeat_ngram"]
        for row, ids in zip(logits, written, strict=True):
            for start in range(len(ids) - size + 1 if size else 0):
                *before, last = ids[start : start + size]
                if before == ids[len(ids) - size + 1 :]:
                    row[last] = -np.inf
        tokens = logits.argmax(axis=-1)
        return np.where(np.max(logits, axis=-1) > -np.inf, tokens, END)


def run(session: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The outputs by their names."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, given), strict=True))


def lines() -> Iterator[str]:
    """Of standard input, which is UTF-8."""
    for line in sys.stdin.buffer:
        yield line.decode("utf-8").rstrip("\r\n")


def main() -> None:
    """Standard input to standard output."""
    parser = argparse.ArgumentParser(description="Translate lines in ONNX Runtime.")
    parser.add_argument("--batch", type=int, default=64, help="lines translated together")
    batch = max(1, parser.parse_args().batch)
    translate, texts = Translator(Path(__file__).parent), lines()
    while window := list(islice(texts, batch)):
        for text in translate(window):
            # One line a translation, whatever was learned from.
            sys.stdout.buffer.write((" ".join(text.split("\n")) + "\n").encode())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
