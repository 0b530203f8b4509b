"""Small models with random weights, all different, and tokens to run them on."""

from __future__ import annotations

from typing import Any

import numpy as np

from conveyor.seq2seq import Characters, Config, ModelConfig, Seq2Seq

LETTERS = Characters("abcdefgh")  # ids 4 to 11

# One of each: every kind of attention, one layer and several, one direction and both, ...
KINDS: dict[str, dict[str, Any]] = {
    "no attention": {"attention": "none", "tied_embeddings": "none", "bridge": "last"},
    "no attention, tied": {"attention": "none", "bidirectional": False},
    "dot": {"attention": "dot", "bridge": "zero"},
    "general, 2 layers": {"attention": "general", "encoder_layers": 2, "decoder_layers": 2},
    "general, 1 to 2 layers": {"decoder_layers": 2, "residual": False},
    "concat": {"attention": "concat", "tied_embeddings": "target"},
    "additive": {"attention": "additive", "tied_embeddings": "none"},
    "input feeding": {"input_feeding": True},
    "coverage, dot": {"attention": "dot", "coverage": True},
    "coverage, additive": {"attention": "additive", "coverage": True, "decoder_layers": 2},
    "all": {"coverage": True, "input_feeding": True, "attention": "additive"},
}


def small(kind: str = "general, 2 layers", **changes: Any) -> Seq2Seq:
    """A model of this kind; its weights are large enough that everything in it matters."""
    sizes = {"units": 6, "embedding_size": 6, "output_size": 6, "attention_size": 5}
    settings = ModelConfig(**{**sizes, "dropout": 0.0, **KINDS[kind], **changes})
    model = Seq2Seq(LETTERS, LETTERS, Config(model=settings))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape).astype("float32") for w in model.get_weights()])
    return model


def tokens(rng: np.random.Generator, lengths: list[int], width: int | None = None) -> np.ndarray:
    """Random letters, padded on the right."""
    padded = np.zeros((len(lengths), width or max(lengths)), "int32")
    for row, length in zip(padded, lengths, strict=True):
        row[:length] = rng.integers(4, LETTERS.size, length)
    return padded


def targets(rng: np.random.Generator, lengths: list[int], width: int | None = None) -> np.ndarray:
    """Random letters behind a begin, padded on the right."""
    padded = tokens(rng, lengths, width)
    return np.concatenate([np.ones((len(lengths), 1), "int32"), padded], axis=1)
