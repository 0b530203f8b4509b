"""The corpus in three parts, its subwords, and the batches that everybody trains on."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
# 46,619 English-French pairs: descriptions of Debian's packages and their translations.
CORPUS = ROOT.parent / "shared" / "corpora" / "debian-en-fr.tsv.gz"
PLACE = ROOT / "build" / "seq2seq"

SEED = 5  # of the shuffle
HELD_OUT = 1_000  # the last pairs of it for dev, as many before them for test
BATCHES = 60  # kept for the measurements of speed


@dataclass(frozen=True)
class Files:
    """What `prepare` makes in a folder; processes read it without importing conveyor."""

    folder: Path

    @property
    def train(self) -> Path:
        return self.folder / "train.tsv.gz"

    @property
    def dev(self) -> Path:
        return self.folder / "dev.tsv"

    @property
    def test(self) -> Path:
        return self.folder / "test.tsv"

    @property
    def vocabulary(self) -> Path:
        return self.folder / "vocabulary.json"

    def ids(self) -> dict[str, list[list[int]]]:
        """`source` and `target` of the training pairs, `test` sources; no begin, no end."""
        with np.load(self.folder / "ids.npz") as arrays:
            return {
                side: [
                    part.tolist()
                    for part in np.split(arrays[side], np.cumsum(arrays[f"{side}_lengths"])[:-1])
                ]
                for side in ("source", "target", "test")
            }

    def batches(self) -> list[dict[str, np.ndarray]]:
        """Inputs of conveyor's training in its order, padded to its few shapes."""
        with np.load(self.folder / "batches.npz") as arrays:
            return [
                {name: arrays[f"{name}_{n}"] for name in _INPUTS}
                for n in range(len(arrays.files) // len(_INPUTS))
            ]


_INPUTS = ("source", "target", "positions", "labels")


def prepare(corpus: Path = CORPUS, folder: Path = PLACE) -> Files:
    """Split, learn subwords, encode; what is there already is kept."""
    from conveyor.seq2seq._batches import Batches
    from conveyor.seq2seq._config import Config
    from conveyor.seq2seq._encoded import encode_pairs
    from conveyor.seq2seq._pairs import Pair
    from conveyor.seq2seq._vocabulary import learn_vocabularies

    files = Files(folder)
    if (folder / "batches.npz").exists():
        return files
    folder.mkdir(parents=True, exist_ok=True)
    lines = gzip.decompress(corpus.read_bytes()).decode("utf-8").splitlines()
    random.Random(SEED).shuffle(lines)
    train, test, dev = lines[: -2 * HELD_OUT], lines[-2 * HELD_OUT : -HELD_OUT], lines[-HELD_OUT:]
    files.train.write_bytes(gzip.compress(_text(train), mtime=0))
    files.test.write_bytes(_text(test))
    files.dev.write_bytes(_text(dev))

    config = Config()
    pairs = [Pair(*line.split("\t")[:2]) for line in train]
    vocabulary, _ = learn_vocabularies(pairs, config.text)
    files.vocabulary.write_text(json.dumps(vocabulary.to_dict()), encoding="utf-8")
    sizes = {"vocabulary": vocabulary.size}
    (folder / "sizes.json").write_text(json.dumps(sizes), encoding="utf-8")
    encoded = encode_pairs(pairs, vocabulary, vocabulary, config.data)
    tests = [vocabulary.encode(line.split("\t")[0]) for line in test]
    np.savez(
        folder / "ids.npz",
        source=encoded.source.tokens,
        source_lengths=encoded.source.lengths,
        target=encoded.target.tokens,
        target_lengths=encoded.target.lengths,
        test=np.array(list(itertools.chain.from_iterable(tests))),
        test_lengths=np.array([len(ids) for ids in tests]),
    )
    stream = Batches(encoded, config.data, fixed_shapes=True).stream()
    batches: dict[str, Any] = {
        f"{name}_{n}": array
        for n, batch in enumerate(itertools.islice(stream, BATCHES))
        for name, array in batch.inputs.items()
    }
    np.savez(folder / "batches.npz", **batches)
    return files


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def vocabulary_of(files: Files) -> Any:
    """conveyor's, for those who write text."""
    from conveyor.seq2seq._vocabulary import vocabulary_from_dict

    return vocabulary_from_dict(json.loads(files.vocabulary.read_text(encoding="utf-8")))


def columns(path: Path) -> tuple[list[str], list[str]]:
    """Sources and targets of a file."""
    pairs = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def trim(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A batch padded to its longest pair and no further: for who compiles nothing."""
    source, target = inputs["source"], inputs["target"]
    pairs = int((target != 0).any(axis=1).sum())
    steps = int((target != 0).sum(axis=1).max())
    row, step = np.divmod(inputs["positions"], target.shape[1])
    return {
        "source": source[:pairs, : (source != 0).sum(axis=1).max()],
        "target": target[:pairs, :steps],
        "positions": (row * steps + step).astype("int32"),
        "labels": inputs["labels"],
    }


def tokens_of(inputs: dict[str, np.ndarray]) -> int:
    """Target tokens that are learned from, ends included."""
    return int((inputs["labels"] != 0).sum())


def rounds(
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], tokens: int, seed: int
) -> Iterator[dict[str, np.ndarray]]:
    """An endless stream of batches for the peer, sorted as it likes: all pairs by target length."""
    rng = np.random.default_rng(seed)
    source_lengths, steps = (np.array([len(ids) for ids in side]) for side in (sources, targets))
    steps = steps + 1
    while True:
        order = np.lexsort((rng.random(len(steps)), source_lengths, steps))
        ends = np.cumsum(steps[order])
        cuts = [0]
        while cuts[-1] < len(order):
            before = ends[cuts[-1] - 1] if cuts[-1] else 0
            cuts.append(int(np.searchsorted(ends, before + tokens, "right")))
        parts = [order[a:b] for a, b in itertools.pairwise(cuts)]
        for n in rng.permutation(len(parts)):
            yield _inputs([sources[i] for i in parts[n]], [targets[i] for i in parts[n]])


def _inputs(
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> dict[str, np.ndarray]:
    def padded(rows: Sequence[Sequence[int]]) -> np.ndarray:
        array = np.zeros((len(rows), max(map(len, rows))), "int32")
        for n, row in enumerate(rows):
            array[n, : len(row)] = row
        return array

    following = padded([[*row, 2] for row in targets]).ravel()
    return {
        "source": padded(sources),
        "target": padded([[1, *row] for row in targets]),
        "positions": np.flatnonzero(following).astype("int32"),
        "labels": following[following != 0],
    }
